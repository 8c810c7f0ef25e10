"""Quotas."""

import sqlalchemy as sa

from openevs.store.tables.base import metadata

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
