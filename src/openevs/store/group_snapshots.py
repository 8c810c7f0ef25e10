"""Group snapshots in the database."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from openevs.domain.group import GroupSnapshot
from openevs.domain.lifecycle import Move
from openevs.domain.model import Snapshot
from openevs.store.database import Tx
from openevs.store.listing import Condition, count_rows
from openevs.store.lookup import Lookup, find_owned
from openevs.store.moves import move_row
from openevs.store.tables import group_snapshot as table
from openevs.store.tables import snapshot

_ONE = Lookup(sa.select(*table.c).where(table.c.id == sa.bindparam("id")), GroupSnapshot._make)


def insert_group_snapshot(tx: Tx, made: GroupSnapshot) -> GroupSnapshot:
    """Add a group snapshot."""
    tx.execute(sa.insert(table), made._asdict())
    return made


def find_group_snapshot(tx: Tx, group_snapshot_id: str, project_id: str | None = None) -> GroupSnapshot:
    """Return a group snapshot; with a project, those of others do not exist. Raises NotFound."""
    return find_owned(tx, _ONE, "group snapshot", group_snapshot_id, project_id)


def move_group_snapshot(
    tx: Tx,
    group_snapshot_id: str,
    move: Move,
    now: datetime,
    *,
    project_id: str | None = None,
    also: Mapping[str, Any] | None = None,
) -> GroupSnapshot:
    """Change a group snapshot's status. Raises NotFound, WrongStatus."""
    return move_row(tx, table, GroupSnapshot._make, group_snapshot_id, move, now, project_id=project_id, also=also)


def delete_group_snapshot_row(tx: Tx, group_snapshot_id: str) -> None:
    """Forget a group snapshot whose snapshots are gone."""
    tx.execute(sa.delete(table).where(table.c.id == group_snapshot_id))


def count_group_snapshots(tx: Tx, where: Sequence[Condition]) -> int:
    """Return how many group snapshots `where` selects."""
    return count_rows(tx, table, where)


def snapshots_of_group_snapshot(tx: Tx, group_snapshot_id: str) -> list[Snapshot]:
    """Return every snapshot of a group snapshot."""
    query = sa.select(*snapshot.c).where(snapshot.c.group_snapshot_id == group_snapshot_id)
    return [Snapshot._make(row) for row in tx.execute(query.order_by(snapshot.c.created_at, snapshot.c.id))]
