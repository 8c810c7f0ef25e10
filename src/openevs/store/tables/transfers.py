"""Transfers of volumes between projects."""

import sqlalchemy as sa

from openevs.store.tables.base import Instant, metadata

transfer = sa.Table(
    "transfer",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("project_id", sa.String(64), nullable=False),
    sa.Column("volume_id", sa.String(36), sa.ForeignKey("volume.id", ondelete="CASCADE"), nullable=False),
    sa.Column("name", sa.String(255)),
    sa.Column("key_digest", sa.String(64), nullable=False),
    sa.Column("no_snapshots", sa.Boolean, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Index("transfer_by_project", "project_id", "created_at", "id"),
    sa.Index("transfer_by_volume", "volume_id"),
)
