"""Users, projects, roles, tokens, access keys."""

import sqlalchemy as sa

from openevs.store.tables.base import Instant, metadata

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
