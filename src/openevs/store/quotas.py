"""Quotas: what each project may use, and uses. Usage changes only together with the row that it counts."""

from collections.abc import Mapping
from typing import Final

import sqlalchemy as sa

from openevs.domain.errors import QuotaExceeded
from openevs.domain.quota import UNLIMITED
from openevs.store.database import Tx
from openevs.store.prepared import Prepared, insert_row
from openevs.store.tables import backup, group, operation, quota_limit, quota_usage, snapshot, volume

_ADD = Prepared(
    sa.update(quota_usage)
    .where(quota_usage.c.project_id == sa.bindparam("p"), quota_usage.c.resource == sa.bindparam("r"))
    .where(
        sa.or_(
            sa.bindparam("unlimited", type_=sa.Boolean),
            quota_usage.c.in_use + sa.bindparam("by") <= sa.bindparam("most"),
        )
    )
    .values(in_use=quota_usage.c.in_use + sa.bindparam("by"))
)
_ROW = sa.select(quota_usage.c.in_use).where(
    quota_usage.c.project_id == sa.bindparam("p"), quota_usage.c.resource == sa.bindparam("r")
)
_LIMITS = Prepared(
    sa.select(quota_limit.c.project_id, quota_limit.c.resource, quota_limit.c.hard_limit).where(
        quota_limit.c.project_id.in_((sa.bindparam("p"), sa.bindparam("c")))
    )
)
_USAGE = sa.select(quota_usage.c.resource, quota_usage.c.in_use).where(quota_usage.c.project_id == sa.bindparam("p"))

_GROWING = (
    sa.select(volume.c.project_id, volume.c.volume_type, operation.c.input)
    .join(volume, volume.c.id == operation.c.resource_id)
    .where(operation.c.kind == "extend_volume", operation.c.finished_at.is_(None))
)
_GROUPS = sa.select(group.c.project_id, sa.func.count()).group_by(group.c.project_id)


def class_key(name: str) -> str:
    """Return the id under which the limits of a class of projects stand among those of projects."""
    return f"class:{name}"


DEFAULT_CLASS: Final = class_key("default")


def limits_of(tx: Tx, project_id: str) -> dict[str, int]:
    """Return the limits that were set for this project, or else for the class that all belong to; others have their
    default."""
    limits: dict[str, dict[str, int]] = {project_id: {}, DEFAULT_CLASS: {}}
    for owner, resource, limit in _LIMITS.all(tx, {"p": project_id, "c": DEFAULT_CLASS}):
        limits[owner][resource] = limit
    return limits[DEFAULT_CLASS] | limits[project_id]


def usage_of(tx: Tx, project_id: str) -> dict[str, int]:
    """Return what the project uses."""
    return {row.resource: row.in_use for row in tx.execute(_USAGE, {"p": project_id})}


def take_quota(
    tx: Tx, project_id: str, usage: Mapping[str, int], defaults: Mapping[str, int], one_gib: int = 0
) -> None:
    """Count `usage` against the project's quotas: all of it, or none: QuotaExceeded is to end the transaction.
    `one_gib`: the size of the one volume that it is for, which has a limit of its own."""
    limits = {**defaults, **limits_of(tx, project_id)}
    largest = limits.get("per_volume_gigabytes", UNLIMITED)
    if largest != UNLIMITED and one_gib > largest:
        raise QuotaExceeded("per_volume_gigabytes", one_gib, 0, largest)
    for resource, by in usage.items():
        _change(tx, project_id, resource, by, limits.get(resource, UNLIMITED))


def give_quota(tx: Tx, project_id: str, usage: Mapping[str, int]) -> None:
    """Give usage back; never refused."""
    for resource, by in usage.items():
        _change(tx, project_id, resource, -by, UNLIMITED)


def _change(tx: Tx, project_id: str, resource: str, by: int, most: int) -> None:
    values = {"p": project_id, "r": resource, "by": by, "most": most, "unlimited": most == UNLIMITED or by <= 0}
    if _ADD.change(tx, values):
        return
    found = tx.execute(_ROW, {"p": project_id, "r": resource}).scalar()
    in_use = found or 0
    if most != UNLIMITED and in_use + by > most:
        raise QuotaExceeded(resource, by, in_use, most)
    insert_row(tx, quota_usage, {"project_id": project_id, "resource": resource, "in_use": by})


def set_limits(tx: Tx, project_id: str, limits: Mapping[str, int]) -> None:
    """Set limits for a project, or for a class of them (`class_key`)."""
    for resource, limit in limits.items():
        where = sa.and_(quota_limit.c.project_id == project_id, quota_limit.c.resource == resource)
        if not tx.execute(sa.update(quota_limit).where(where).values(hard_limit=limit)).rowcount:
            row = {"project_id": project_id, "resource": resource, "hard_limit": limit}
            insert_row(tx, quota_limit, row)


def reset_limits(tx: Tx, project_id: str) -> None:
    """Return a project to the defaults."""
    tx.execute(sa.delete(quota_limit).where(quota_limit.c.project_id == project_id))


def recount(tx: Tx) -> dict[tuple[str, str], tuple[int, int]]:
    """Set every usage to what the rows say; return what was wrong, as `wrong_usage` does.

    Usage and rows change in one transaction, so this finds nothing unless the database was edited by hand.
    """
    wrong = wrong_usage(tx)
    for (project_id, resource), (recorded, true) in wrong.items():
        _change(tx, project_id, resource, true - recorded, UNLIMITED)
    return wrong


def wrong_usage(tx: Tx) -> dict[tuple[str, str], tuple[int, int]]:
    """Return every usage that is not what the rows say: (project, resource) → (recorded, true)."""
    true: dict[tuple[str, str], int] = {}
    for table, name in ((volume, "volumes"), (snapshot, "snapshots")):
        query = sa.select(table.c.project_id, table.c.volume_type, sa.func.count(), sa.func.sum(table.c.size_gib))
        if table is snapshot:
            query = query.where(snapshot.c.owner == "user")  # what a backup takes for itself is not counted
        for project_id, volume_type, number, gib in tx.execute(query.group_by(table.c.project_id, table.c.volume_type)):
            for resource, amount in ((name, number), ("gigabytes", int(gib))):
                for key in ((project_id, resource), (project_id, f"{resource}_{volume_type}")):
                    true[key] = true.get(key, 0) + amount
    query = sa.select(backup.c.project_id, sa.func.count(), sa.func.sum(backup.c.size_gib))
    for project_id, number, gib in tx.execute(query.group_by(backup.c.project_id)):
        true |= {(project_id, "backups"): number, (project_id, "backup_gigabytes"): int(gib)}
    for project_id, number in tx.execute(_GROUPS):
        true[project_id, "groups"] = number
    for project_id, volume_type, work in tx.execute(_GROWING):
        # Growth counts from its request on; the row has its new size only at the end.
        for resource in ("gigabytes", f"gigabytes_{volume_type}"):
            key = (project_id, resource)
            true[key] = true.get(key, 0) + work["new_size_gib"] - work["old_size_gib"]
    recorded = {(r.project_id, r.resource): r.in_use for r in tx.execute(sa.select(quota_usage))}
    both = {key: (recorded.get(key, 0), true.get(key, 0)) for key in true.keys() | recorded.keys()}
    return {key: (was, is_) for key, (was, is_) in both.items() if was != is_}
