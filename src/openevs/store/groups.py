"""Groups in the database."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from openevs.domain.group import Group
from openevs.domain.lifecycle import Move
from openevs.domain.model import Volume
from openevs.store.database import Tx
from openevs.store.listing import Condition, count_rows
from openevs.store.lookup import Lookup, find_owned
from openevs.store.moves import hold_row, move_row, update_row
from openevs.store.tables import group as table
from openevs.store.tables import volume

_ONE = Lookup(sa.select(*table.c).where(table.c.id == sa.bindparam("id")), Group._make)


def insert_group(tx: Tx, group: Group) -> Group:
    """Add a group."""
    tx.execute(sa.insert(table), group._asdict())
    return group


def find_group(tx: Tx, group_id: str, project_id: str | None = None) -> Group:
    """Return a group; with a project, those of others do not exist. Raises NotFound."""
    return find_owned(tx, _ONE, "group", group_id, project_id)


def move_group(
    tx: Tx,
    group_id: str,
    move: Move,
    now: datetime,
    *,
    project_id: str | None = None,
    also: Mapping[str, Any] | None = None,
) -> Group:
    """Change a group's status. Raises NotFound, WrongStatus."""
    return move_row(tx, table, Group._make, group_id, move, now, project_id=project_id, also=also)


def hold_group(tx: Tx, group_id: str, statuses: frozenset[str], action: str, project_id: str | None = None) -> Group:
    """Return the group if its status is one of `statuses`, and keep it so until the transaction ends.
    Raises NotFound, WrongStatus."""
    return hold_row(tx, table, Group._make, group_id, statuses, action, project_id=project_id)


def update_group(tx: Tx, group_id: str, now: datetime, values: Mapping[str, Any]) -> Group:
    """Change columns other than the status. Raises NotFound."""
    return update_row(tx, table, Group._make, group_id, now, values)


def delete_group_row(tx: Tx, group_id: str) -> None:
    """Forget a group that has no volumes."""
    tx.execute(sa.delete(table).where(table.c.id == group_id))


def count_groups(tx: Tx, where: Sequence[Condition]) -> int:
    """Return how many groups `where` selects."""
    return count_rows(tx, table, where)


def groups_of_type(tx: Tx, group_ids: Collection[str], group_type_id: str) -> frozenset[str]:
    """Return which of these groups are of a type."""
    query = sa.select(table.c.id).where(table.c.id.in_(sorted(group_ids)), table.c.group_type_id == group_type_id)
    return frozenset(tx.execute(query).scalars())


def volumes_of_group(tx: Tx, group_id: str) -> list[Volume]:
    """Return every volume of a group, oldest first."""
    query = sa.select(*volume.c).where(volume.c.group_id == group_id).order_by(volume.c.created_at, volume.c.id)
    return [Volume._make(row) for row in tx.execute(query)]


def volume_ids_by_group(tx: Tx, group_ids: Sequence[str]) -> dict[str, list[str]]:
    """Return the ids of the volumes of each of these groups."""
    query = sa.select(volume.c.group_id, volume.c.id).where(volume.c.group_id.in_(group_ids))
    found: dict[str, list[str]] = {}
    for group_id, volume_id in tx.execute(query.order_by(volume.c.created_at, volume.c.id)):
        found.setdefault(group_id, []).append(volume_id)
    return found
