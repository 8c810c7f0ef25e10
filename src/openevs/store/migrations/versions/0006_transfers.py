"""Transfers, user messages, and what an operator has switched off."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "transfer",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("volume_id", sa.String(36), sa.ForeignKey("volume.id", ondelete="CASCADE"), nullable=False),
        sa.Column("name", sa.String(255)),
        sa.Column("key_digest", sa.String(64), nullable=False),
        sa.Column("no_snapshots", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
    )
    op.create_index("transfer_by_project", "transfer", ["project_id", "created_at", "id"])
    op.create_index("transfer_by_volume", "transfer", ["volume_id"])
    op.create_table(
        "message",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("event_id", sa.String(255), nullable=False),
        sa.Column("resource_type", sa.String(64), nullable=False),
        sa.Column("resource_uuid", sa.String(36)),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("level", sa.String(16), nullable=False),
        sa.Column("request_id", sa.String(64)),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("guaranteed_until", sa.BigInteger(), nullable=False),
    )
    op.create_index("message_by_project", "message", ["project_id", "created_at", "id"])
    op.create_index("message_by_age", "message", ["guaranteed_until"])
    op.create_table(
        "part",
        sa.Column("host", sa.String(255), primary_key=True),
        sa.Column("binary", sa.String(64), primary_key=True),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("disabled_reason", sa.String(255)),
        sa.Column("frozen", sa.Boolean(), nullable=False),
    )
    op.add_column("volume", sa.Column("backend", sa.String(255)))
    op.add_column("volume", sa.Column("migration_status", sa.String(32)))
