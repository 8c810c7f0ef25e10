"""Every table. Columns of a record's table stand in the order of its named tuple in `domain/model.py`.

Times are integers, microseconds since 1970 in UTC: they sort, compare and index alike on every database. Metadata and
other small documents are JSON in the row: they are always read and written with it.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Instant(sa.types.TypeDecorator[datetime]):
    """An aware UTC datetime, kept as integer microseconds since 1970."""

    impl = sa.BigInteger
    cache_ok = True

    # Processors rather than `process_…` methods, which cost a call more for each value: a list has thousands.
    def bind_processor(self, dialect: Any) -> Callable[[datetime | None], int | None]:
        return _to_integer

    def result_processor(self, dialect: Any, coltype: Any) -> Callable[[int | None], datetime | None]:
        return _from_integer


def _to_integer(value: datetime | None) -> int | None:
    return None if value is None else (value - EPOCH) // _MICROSECOND


def _from_integer(value: int | None) -> datetime | None:
    return None if value is None else EPOCH + timedelta(0, 0, value)


metadata = sa.MetaData()
_Seq = sa.BigInteger().with_variant(sa.Integer, "sqlite")

volume = sa.Table(
    "volume",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("project_id", sa.String(64), nullable=False),
    sa.Column("user_id", sa.String(64), nullable=False),
    sa.Column("name", sa.String(255)),
    sa.Column("description", sa.String(255)),
    sa.Column("size_gib", sa.Integer, nullable=False),
    sa.Column("status", sa.String(32), nullable=False),
    sa.Column("previous_status", sa.String(32)),
    sa.Column("volume_type", sa.String(255), nullable=False),
    sa.Column("availability_zone", sa.String(255), nullable=False),
    sa.Column("bootable", sa.Boolean, nullable=False),
    sa.Column("readonly", sa.Boolean, nullable=False),
    sa.Column("multiattach", sa.Boolean, nullable=False),
    sa.Column("metadata", sa.JSON, nullable=False),
    sa.Column("snapshot_id", sa.String(36)),
    sa.Column("source_volid", sa.String(36)),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("updated_at", Instant),
    sa.Column("reason", sa.Text),
    sa.Index("volume_by_project", "project_id", "created_at", "id"),
)

snapshot = sa.Table(
    "snapshot",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("project_id", sa.String(64), nullable=False),
    sa.Column("user_id", sa.String(64), nullable=False),
    sa.Column("volume_id", sa.String(36), sa.ForeignKey("volume.id"), nullable=False),
    sa.Column("name", sa.String(255)),
    sa.Column("description", sa.String(255)),
    sa.Column("size_gib", sa.Integer, nullable=False),
    sa.Column("status", sa.String(32), nullable=False),
    sa.Column("progress", sa.String(8), nullable=False),
    sa.Column("metadata", sa.JSON, nullable=False),
    sa.Column("owner", sa.String(16), nullable=False),
    sa.Column("volume_type", sa.String(255), nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("updated_at", Instant),
    sa.Column("taken_at", Instant),
    sa.Column("cut_ms", sa.Float),
    sa.Column("stall_ms", sa.Float),
    sa.Column("reason", sa.Text),
    sa.Index("snapshot_by_project", "project_id", "created_at", "id"),
    sa.Index("snapshot_by_volume", "volume_id", "created_at"),
)

attachment = sa.Table(
    "attachment",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("volume_id", sa.String(36), sa.ForeignKey("volume.id"), nullable=False),
    sa.Column("project_id", sa.String(64), nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("instance_uuid", sa.String(64)),
    sa.Column("host_name", sa.String(255)),
    sa.Column("mountpoint", sa.String(255)),
    sa.Column("mode", sa.String(4), nullable=False),
    sa.Column("connector", sa.JSON(none_as_null=True)),
    sa.Column("connection_info", sa.JSON(none_as_null=True)),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("attached_at", Instant),
    sa.Column("detached_at", Instant),
    sa.Index("attachment_by_volume", "volume_id"),
    sa.Index("attachment_by_project", "project_id", "created_at"),
)

volume_type = sa.Table(
    "volume_type",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False, unique=True),
    sa.Column("description", sa.String(255)),
    sa.Column("is_public", sa.Boolean, nullable=False),
    sa.Column("extra_specs", sa.JSON, nullable=False),
)

quota_usage = sa.Table(
    "quota_usage",
    metadata,
    sa.Column("project_id", sa.String(64), primary_key=True),
    sa.Column("resource", sa.String(300), primary_key=True),
    sa.Column("in_use", sa.BigInteger, nullable=False),
)

quota_limit = sa.Table(
    "quota_limit",
    metadata,
    sa.Column("project_id", sa.String(64), primary_key=True),
    sa.Column("resource", sa.String(300), primary_key=True),
    sa.Column("hard_limit", sa.BigInteger, nullable=False),
)

operation = sa.Table(
    "operation",
    metadata,
    sa.Column("seq", _Seq, primary_key=True, autoincrement=True),
    sa.Column("id", sa.String(36), nullable=False, unique=True),
    sa.Column("kind", sa.String(64), nullable=False),
    sa.Column("project_id", sa.String(64), nullable=False),
    sa.Column("resource_kind", sa.String(32), nullable=False),
    sa.Column("resource_id", sa.String(36), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("step", sa.Integer, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("run_after", Instant, nullable=False),
    sa.Column("lease_owner", sa.String(64)),
    sa.Column("lease_until", Instant),
    sa.Column("fence", sa.Integer, nullable=False),
    sa.Column("input", sa.JSON, nullable=False),
    sa.Column("facts", sa.JSON, nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("request_id", sa.String(64)),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("finished_at", Instant),
    # Tokens of destructive engine calls are made from `seq`: it must never be handed out twice, so AUTOINCREMENT.
    sqlite_autoincrement=True,
)
sa.Index(
    "operation_open",
    operation.c.run_after,
    sqlite_where=operation.c.state.in_(("queued", "running")),
    postgresql_where=operation.c.state.in_(("queued", "running")),
)
sa.Index("operation_by_resource", operation.c.resource_id)

operation_claim = sa.Table(
    "operation_claim",
    metadata,
    sa.Column("resource_kind", sa.String(32), primary_key=True),
    sa.Column("resource_id", sa.String(36), primary_key=True),
    sa.Column("operation_id", sa.String(36), sa.ForeignKey("operation.id"), nullable=False),
    sa.Index("operation_claim_by_operation", "operation_id"),
)

event = sa.Table(
    "event",
    metadata,
    sa.Column("seq", _Seq, primary_key=True, autoincrement=True),
    sa.Column("at", Instant, nullable=False),
    sa.Column("project_id", sa.String(64), nullable=False),
    sa.Column("resource_kind", sa.String(32), nullable=False),
    sa.Column("resource_id", sa.String(36), nullable=False),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("operation_id", sa.String(36)),
    sa.Column("request_id", sa.String(64)),
    sa.Column("detail", sa.JSON, nullable=False),
    sa.Index("event_by_resource", "resource_id", "seq"),
)

idempotency = sa.Table(
    "idempotency",
    metadata,
    sa.Column("project_id", sa.String(64), primary_key=True),
    sa.Column("client_token", sa.String(255), primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("result", sa.Text, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Index("idempotency_by_age", "created_at"),
)

setting = sa.Table(
    "setting",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
"""Facts about the installation itself: the pool it belongs to."""

# Identity -------------------------------------------------------------------------------------------------------

project = sa.Table(
    "project",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False, unique=True),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("enabled", sa.Boolean, nullable=False),
)

user = sa.Table(
    "user_account",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False, unique=True),
    sa.Column("password_hash", sa.String(255), nullable=False),
    sa.Column("email", sa.String(255)),
    sa.Column("description", sa.Text),
    sa.Column("default_project_id", sa.String(64)),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("password_changed_at", Instant, nullable=False),
)

role = sa.Table(
    "role",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False, unique=True),
)

role_assignment = sa.Table(
    "role_assignment",
    metadata,
    sa.Column("user_id", sa.String(64), sa.ForeignKey("user_account.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("target_kind", sa.String(16), primary_key=True),
    sa.Column("target_id", sa.String(64), primary_key=True),
    sa.Column("role_id", sa.String(64), sa.ForeignKey("role.id", ondelete="CASCADE"), primary_key=True),
)

token = sa.Table(
    "token",
    metadata,
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("user_id", sa.String(64), sa.ForeignKey("user_account.id", ondelete="CASCADE"), nullable=False),
    sa.Column("project_id", sa.String(64)),
    sa.Column("domain_id", sa.String(64)),
    sa.Column("methods", sa.String(64), nullable=False),
    sa.Column("audit_id", sa.String(64), nullable=False),
    sa.Column("issued_at", Instant, nullable=False),
    sa.Column("expires_at", Instant, nullable=False),
    sa.Index("token_by_expiry", "expires_at"),
    sa.Index("token_by_user", "user_id"),
)
"""Only the SHA-256 of a token is kept: reading the database does not let anybody in."""

access_key = sa.Table(
    "access_key",
    metadata,
    sa.Column("access", sa.String(32), primary_key=True),
    sa.Column("secret", sa.String(64), nullable=False),
    sa.Column("user_id", sa.String(64), sa.ForeignKey("user_account.id", ondelete="CASCADE"), nullable=False),
    sa.Column("project_id", sa.String(64)),
    sa.Column("description", sa.String(255), nullable=False),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Index("access_key_by_user", "user_id", "created_at"),
)
"""The secret is kept as it is, unlike a password: an HMAC can only be verified by who has the key itself (ADR 10)."""
