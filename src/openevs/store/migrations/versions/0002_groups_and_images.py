"""Volumes and snapshots can belong to a group; a volume has metadata of its image."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    op.add_column("volume", sa.Column("group_id", sa.String(36)))
    op.add_column("volume", sa.Column("image_metadata", sa.JSON(), nullable=False, server_default="{}"))
    op.create_index("volume_by_group", "volume", ["group_id"])
    op.add_column("snapshot", sa.Column("group_snapshot_id", sa.String(36)))
    op.create_index("snapshot_by_group_snapshot", "snapshot", ["group_snapshot_id"])
