"""Backups."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "backup",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("user_id", sa.String(64), nullable=False),
        sa.Column("volume_id", sa.String(36), nullable=False),
        sa.Column("snapshot_id", sa.String(36)),
        sa.Column("parent_id", sa.String(36)),
        sa.Column("name", sa.String(255)),
        sa.Column("description", sa.String(255)),
        sa.Column("size_gib", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("container", sa.String(255)),
        sa.Column("availability_zone", sa.String(255)),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("volume_metadata", sa.JSON(), nullable=False),
        sa.Column("bootable", sa.Boolean(), nullable=False),
        sa.Column("fail_reason", sa.Text()),
        sa.Column("data_timestamp", sa.BigInteger(), nullable=False),
        sa.Column("object_count", sa.Integer(), nullable=False),
        sa.Column("bytes_read", sa.BigInteger(), nullable=False),
        sa.Column("bytes_stored", sa.BigInteger(), nullable=False),
        sa.Column("vault_id", sa.String(36), nullable=False),
        sa.Column("record", sa.Text()),
        sa.Column("base_snapshot_id", sa.String(36)),
        sa.Column("restore_volume_id", sa.String(36)),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("backup_by_project", "backup", ["project_id", "created_at", "id"])
    op.create_index("backup_by_volume", "backup", ["volume_id"])
    op.create_index("backup_by_parent", "backup", ["parent_id"])
    op.create_index("backup_by_vault_id", "backup", ["vault_id"])
