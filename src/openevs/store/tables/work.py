"""Operations, their claims and their history; what clients have asked for once; facts about the installation."""

import sqlalchemy as sa

from openevs.store.tables.base import Instant, Seq, metadata

operation = sa.Table(
    "operation",
    metadata,
    sa.Column("seq", Seq, primary_key=True, autoincrement=True),
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
    sa.Column("seq", Seq, primary_key=True, autoincrement=True),
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
