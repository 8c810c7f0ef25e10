"""Backups."""

import sqlalchemy as sa

from openevs.store.tables.base import Instant, metadata

backup = sa.Table(
    "backup",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("project_id", sa.String(64), nullable=False),
    sa.Column("user_id", sa.String(64), nullable=False),
    sa.Column("volume_id", sa.String(36), nullable=False),
    sa.Column("snapshot_id", sa.String(36)),
    sa.Column("parent_id", sa.String(36)),
    sa.Column("name", sa.String(255)),
    sa.Column("description", sa.String(255)),
    sa.Column("size_gib", sa.Integer, nullable=False),
    sa.Column("status", sa.String(32), nullable=False),
    sa.Column("container", sa.String(255)),
    sa.Column("availability_zone", sa.String(255)),
    sa.Column("metadata", sa.JSON, nullable=False),
    sa.Column("volume_metadata", sa.JSON, nullable=False),
    sa.Column("bootable", sa.Boolean, nullable=False),
    sa.Column("fail_reason", sa.Text),
    sa.Column("data_timestamp", Instant, nullable=False),
    sa.Column("object_count", sa.Integer, nullable=False),
    sa.Column("bytes_read", sa.BigInteger, nullable=False),
    sa.Column("bytes_stored", sa.BigInteger, nullable=False),
    sa.Column("vault_id", sa.String(36), nullable=False),
    sa.Column("record", sa.Text),
    sa.Column("base_snapshot_id", sa.String(36)),
    sa.Column("restore_volume_id", sa.String(36)),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("updated_at", Instant),
    sa.Index("backup_by_project", "project_id", "created_at", "id"),
    sa.Index("backup_by_volume", "volume_id"),
    sa.Index("backup_by_parent", "parent_id"),
    sa.Index("backup_by_vault_id", "vault_id"),
)
