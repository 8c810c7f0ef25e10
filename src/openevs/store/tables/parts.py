"""What an operator has switched off."""

import sqlalchemy as sa

from openevs.store.tables.base import metadata

part = sa.Table(
    "part",
    metadata,
    sa.Column("host", sa.String(255), primary_key=True),
    sa.Column("binary", sa.String(64), primary_key=True),
    sa.Column("disabled", sa.Boolean, nullable=False),
    sa.Column("disabled_reason", sa.String(255)),
    sa.Column("frozen", sa.Boolean, nullable=False),
)
"""A part of the service that has no row is as it is made: neither disabled nor frozen."""
