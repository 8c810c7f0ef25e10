"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make everything."""
    make_event()
    make_idempotency()
    make_operation()
    make_project()
    make_quota_limit()
    make_quota_usage()
    make_role()
    make_setting()
    make_user_account()
    make_volume()
    make_volume_type()
    make_access_key()
    make_attachment()
    make_operation_claim()
    make_role_assignment()
    make_snapshot()
    make_token()


def make_event() -> None:
    """Table `event`."""
    op.create_table(
        "event",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, autoincrement=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("resource_kind", sa.String(32), nullable=False),
        sa.Column("resource_id", sa.String(36), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("operation_id", sa.String(36)),
        sa.Column("request_id", sa.String(64)),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_index("event_by_resource", "event", ["resource_id", "seq"])


def make_idempotency() -> None:
    """Table `idempotency`."""
    op.create_table(
        "idempotency",
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("client_token", sa.String(255), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "client_token"),
    )
    op.create_index("idempotency_by_age", "idempotency", ["created_at"])


def make_operation() -> None:
    """Table `operation`."""
    op.create_table(
        "operation",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, autoincrement=True),
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("resource_kind", sa.String(32), nullable=False),
        sa.Column("resource_id", sa.String(36), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("run_after", sa.BigInteger(), nullable=False),
        sa.Column("lease_owner", sa.String(64)),
        sa.Column("lease_until", sa.BigInteger()),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("input", sa.JSON(), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("request_id", sa.String(64)),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("operation_by_resource", "operation", ["resource_id"])
    op.create_index(
        "operation_open",
        "operation",
        ["run_after"],
        sqlite_where=sa.text("state IN ('queued', 'running')"),
        postgresql_where=sa.text("state IN ('queued', 'running')"),
    )


def make_project() -> None:
    """Table `project`."""
    op.create_table(
        "project",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )


def make_quota_limit() -> None:
    """Table `quota_limit`."""
    op.create_table(
        "quota_limit",
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("resource", sa.String(300), nullable=False),
        sa.Column("hard_limit", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "resource"),
    )


def make_quota_usage() -> None:
    """Table `quota_usage`."""
    op.create_table(
        "quota_usage",
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("resource", sa.String(300), nullable=False),
        sa.Column("in_use", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "resource"),
    )


def make_role() -> None:
    """Table `role`."""
    op.create_table(
        "role",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )


def make_setting() -> None:
    """Table `setting`."""
    op.create_table(
        "setting",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )


def make_user_account() -> None:
    """Table `user_account`."""
    op.create_table(
        "user_account",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("password_hash", sa.String(255), nullable=False),
        sa.Column("email", sa.String(255)),
        sa.Column("description", sa.Text()),
        sa.Column("default_project_id", sa.String(64)),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("password_changed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )


def make_volume() -> None:
    """Table `volume`."""
    op.create_table(
        "volume",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("user_id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(255)),
        sa.Column("description", sa.String(255)),
        sa.Column("size_gib", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("previous_status", sa.String(32)),
        sa.Column("volume_type", sa.String(255), nullable=False),
        sa.Column("availability_zone", sa.String(255), nullable=False),
        sa.Column("bootable", sa.Boolean(), nullable=False),
        sa.Column("readonly", sa.Boolean(), nullable=False),
        sa.Column("multiattach", sa.Boolean(), nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("snapshot_id", sa.String(36)),
        sa.Column("source_volid", sa.String(36)),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger()),
        sa.Column("reason", sa.Text()),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("volume_by_project", "volume", ["project_id", "created_at", "id"])


def make_volume_type() -> None:
    """Table `volume_type`."""
    op.create_table(
        "volume_type",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("description", sa.String(255)),
        sa.Column("is_public", sa.Boolean(), nullable=False),
        sa.Column("extra_specs", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )


def make_access_key() -> None:
    """Table `access_key`."""
    op.create_table(
        "access_key",
        sa.Column("access", sa.String(32), nullable=False),
        sa.Column("secret", sa.String(64), nullable=False),
        sa.Column("user_id", sa.String(64), nullable=False),
        sa.Column("project_id", sa.String(64)),
        sa.Column("description", sa.String(255), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("access"),
        sa.ForeignKeyConstraint(["user_id"], ["user_account.id"], ondelete="CASCADE"),
    )
    op.create_index("access_key_by_user", "access_key", ["user_id", "created_at"])


def make_attachment() -> None:
    """Table `attachment`."""
    op.create_table(
        "attachment",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("volume_id", sa.String(36), nullable=False),
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("instance_uuid", sa.String(64)),
        sa.Column("host_name", sa.String(255)),
        sa.Column("mountpoint", sa.String(255)),
        sa.Column("mode", sa.String(4), nullable=False),
        sa.Column("connector", sa.JSON()),
        sa.Column("connection_info", sa.JSON()),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("attached_at", sa.BigInteger()),
        sa.Column("detached_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id"),
        sa.ForeignKeyConstraint(["volume_id"], ["volume.id"]),
    )
    op.create_index("attachment_by_project", "attachment", ["project_id", "created_at"])
    op.create_index("attachment_by_volume", "attachment", ["volume_id"])


def make_operation_claim() -> None:
    """Table `operation_claim`."""
    op.create_table(
        "operation_claim",
        sa.Column("resource_kind", sa.String(32), nullable=False),
        sa.Column("resource_id", sa.String(36), nullable=False),
        sa.Column("operation_id", sa.String(36), nullable=False),
        sa.PrimaryKeyConstraint("resource_kind", "resource_id"),
        sa.ForeignKeyConstraint(["operation_id"], ["operation.id"]),
    )
    op.create_index("operation_claim_by_operation", "operation_claim", ["operation_id"])


def make_role_assignment() -> None:
    """Table `role_assignment`."""
    op.create_table(
        "role_assignment",
        sa.Column("user_id", sa.String(64), nullable=False),
        sa.Column("target_kind", sa.String(16), nullable=False),
        sa.Column("target_id", sa.String(64), nullable=False),
        sa.Column("role_id", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "target_kind", "target_id", "role_id"),
        sa.ForeignKeyConstraint(["role_id"], ["role.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["user_id"], ["user_account.id"], ondelete="CASCADE"),
    )


def make_snapshot() -> None:
    """Table `snapshot`."""
    op.create_table(
        "snapshot",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("user_id", sa.String(64), nullable=False),
        sa.Column("volume_id", sa.String(36), nullable=False),
        sa.Column("name", sa.String(255)),
        sa.Column("description", sa.String(255)),
        sa.Column("size_gib", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("progress", sa.String(8), nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("owner", sa.String(16), nullable=False),
        sa.Column("volume_type", sa.String(255), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger()),
        sa.Column("taken_at", sa.BigInteger()),
        sa.Column("cut_ms", sa.Float()),
        sa.Column("stall_ms", sa.Float()),
        sa.Column("reason", sa.Text()),
        sa.PrimaryKeyConstraint("id"),
        sa.ForeignKeyConstraint(["volume_id"], ["volume.id"]),
    )
    op.create_index("snapshot_by_project", "snapshot", ["project_id", "created_at", "id"])
    op.create_index("snapshot_by_volume", "snapshot", ["volume_id", "created_at"])


def make_token() -> None:
    """Table `token`."""
    op.create_table(
        "token",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("user_id", sa.String(64), nullable=False),
        sa.Column("project_id", sa.String(64)),
        sa.Column("domain_id", sa.String(64)),
        sa.Column("methods", sa.String(64), nullable=False),
        sa.Column("audit_id", sa.String(64), nullable=False),
        sa.Column("issued_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest"),
        sa.ForeignKeyConstraint(["user_id"], ["user_account.id"], ondelete="CASCADE"),
    )
    op.create_index("token_by_expiry", "token", ["expires_at"])
    op.create_index("token_by_user", "token", ["user_id"])
