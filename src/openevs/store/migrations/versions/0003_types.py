"""Volume types can be many: access, QoS specs, encryption, defaults of projects; a volume knows its type's id."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables, and add the columns."""
    op.add_column("volume_type", sa.Column("qos_specs_id", sa.String(36)))
    op.add_column("volume_type", sa.Column("encryption", sa.JSON()))
    op.add_column("volume_type", sa.Column("created_at", sa.BigInteger(), nullable=False, server_default="0"))
    op.create_index("volume_type_by_qos_specs", "volume_type", ["qos_specs_id"])
    op.create_table(
        "type_access",
        sa.Column("type_id", sa.String(36), nullable=False),
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.ForeignKeyConstraint(["type_id"], ["volume_type.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("type_id", "project_id"),
    )
    op.create_table(
        "default_type",
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("type_id", sa.String(36), nullable=False),
        sa.ForeignKeyConstraint(["type_id"], ["volume_type.id"]),
        sa.PrimaryKeyConstraint("project_id"),
    )
    op.create_table(
        "qos_specs",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("consumer", sa.String(16), nullable=False),
        sa.Column("specs", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.add_column("volume", sa.Column("type_id", sa.String(36)))
    op.create_index("volume_by_type", "volume", ["type_id"])
    op.execute("UPDATE volume SET type_id = (SELECT id FROM volume_type WHERE name = volume.volume_type)")
