"""User messages."""

import sqlalchemy as sa

from openevs.store.tables.base import Instant, metadata

message = sa.Table(
    "message",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("project_id", sa.String(64), nullable=False),
    sa.Column("event_id", sa.String(255), nullable=False),
    sa.Column("resource_type", sa.String(64), nullable=False),
    sa.Column("resource_uuid", sa.String(36)),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("level", sa.String(16), nullable=False),
    sa.Column("request_id", sa.String(64)),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("guaranteed_until", Instant, nullable=False),
    sa.Index("message_by_project", "project_id", "created_at", "id"),
    sa.Index("message_by_age", "guaranteed_until"),
)
