"""Groups and group snapshots."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "group_type",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("name", sa.String(255), nullable=False, unique=True),
        sa.Column("description", sa.String(255)),
        sa.Column("is_public", sa.Boolean(), nullable=False),
        sa.Column("group_specs", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger()),
    )
    op.create_table(
        "volume_group",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("user_id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(255)),
        sa.Column("description", sa.String(255)),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("group_type_id", sa.String(36), sa.ForeignKey("group_type.id"), nullable=False),
        sa.Column("volume_types", sa.JSON(), nullable=False),
        sa.Column("availability_zone", sa.String(255), nullable=False),
        sa.Column("group_snapshot_id", sa.String(36)),
        sa.Column("source_group_id", sa.String(36)),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger()),
        sa.Column("reason", sa.Text()),
    )
    op.create_index("volume_group_by_project", "volume_group", ["project_id", "created_at", "id"])
    op.create_index("volume_group_by_type", "volume_group", ["group_type_id"])
    op.create_table(
        "group_snapshot",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("user_id", sa.String(64), nullable=False),
        sa.Column("group_id", sa.String(36), sa.ForeignKey("volume_group.id"), nullable=False),
        sa.Column("group_type_id", sa.String(36), nullable=False),
        sa.Column("name", sa.String(255)),
        sa.Column("description", sa.String(255)),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger()),
        sa.Column("reason", sa.Text()),
    )
    op.create_index("group_snapshot_by_project", "group_snapshot", ["project_id", "created_at", "id"])
    op.create_index("group_snapshot_by_group", "group_snapshot", ["group_id"])
