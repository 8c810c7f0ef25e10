"""Volume types and what belongs to them."""

import sqlalchemy as sa

from openevs.store.tables.base import Instant, metadata

volume_type = sa.Table(
    "volume_type",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False, unique=True),
    sa.Column("description", sa.String(255)),
    sa.Column("is_public", sa.Boolean, nullable=False),
    sa.Column("extra_specs", sa.JSON, nullable=False),
    sa.Column("qos_specs_id", sa.String(36)),
    sa.Column("encryption", sa.JSON(none_as_null=True)),
    sa.Column("created_at", Instant, nullable=False, server_default="0"),
    sa.Index("volume_type_by_qos_specs", "qos_specs_id"),
)

type_access = sa.Table(
    "type_access",
    metadata,
    sa.Column("type_id", sa.String(36), sa.ForeignKey("volume_type.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("project_id", sa.String(64), primary_key=True),
)
"""Projects that may use a type that is not public."""

default_type = sa.Table(
    "default_type",
    metadata,
    sa.Column("project_id", sa.String(64), primary_key=True),
    sa.Column("type_id", sa.String(36), sa.ForeignKey("volume_type.id"), nullable=False),
)
"""Type of a project's volumes for which none was asked, where it is not everybody's."""

qos_specs = sa.Table(
    "qos_specs",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False, unique=True),
    sa.Column("consumer", sa.String(16), nullable=False),
    sa.Column("specs", sa.JSON, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
)
