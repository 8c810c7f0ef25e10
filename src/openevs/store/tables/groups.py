"""Group types, groups, group snapshots. `group` is a word of SQL's own, so the table has another name than the API's
resource; `kind` is what refusals call a row."""

import sqlalchemy as sa

from openevs.store.tables.base import Instant, metadata

group_type = sa.Table(
    "group_type",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False, unique=True),
    sa.Column("description", sa.String(255)),
    sa.Column("is_public", sa.Boolean, nullable=False),
    sa.Column("group_specs", sa.JSON, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("updated_at", Instant),
    info={"kind": "group type"},
)

group = sa.Table(
    "volume_group",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("project_id", sa.String(64), nullable=False),
    sa.Column("user_id", sa.String(64), nullable=False),
    sa.Column("name", sa.String(255)),
    sa.Column("description", sa.String(255)),
    sa.Column("status", sa.String(32), nullable=False),
    sa.Column("group_type_id", sa.String(36), sa.ForeignKey("group_type.id"), nullable=False),
    sa.Column("volume_types", sa.JSON, nullable=False),
    sa.Column("availability_zone", sa.String(255), nullable=False),
    sa.Column("group_snapshot_id", sa.String(36)),
    sa.Column("source_group_id", sa.String(36)),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("updated_at", Instant),
    sa.Column("reason", sa.Text),
    sa.Index("volume_group_by_project", "project_id", "created_at", "id"),
    sa.Index("volume_group_by_type", "group_type_id"),
    info={"kind": "group"},
)

group_snapshot = sa.Table(
    "group_snapshot",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("project_id", sa.String(64), nullable=False),
    sa.Column("user_id", sa.String(64), nullable=False),
    sa.Column("group_id", sa.String(36), sa.ForeignKey("volume_group.id"), nullable=False),
    sa.Column("group_type_id", sa.String(36), nullable=False),
    sa.Column("name", sa.String(255)),
    sa.Column("description", sa.String(255)),
    sa.Column("status", sa.String(32), nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("updated_at", Instant),
    sa.Column("reason", sa.Text),
    sa.Index("group_snapshot_by_project", "project_id", "created_at", "id"),
    sa.Index("group_snapshot_by_group", "group_id"),
    info={"kind": "group snapshot"},
)
