"""Volume types and what belongs to them."""

import sqlalchemy as sa

from openevs.store.tables.base import metadata

volume_type = sa.Table(
    "volume_type",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False, unique=True),
    sa.Column("description", sa.String(255)),
    sa.Column("is_public", sa.Boolean, nullable=False),
    sa.Column("extra_specs", sa.JSON, nullable=False),
)
