"""Snapshots in the database."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from openevs.domain.lifecycle import Move
from openevs.domain.model import Snapshot
from openevs.store.database import Tx
from openevs.store.listing import Condition, count_rows
from openevs.store.lookup import Lookup, find_owned
from openevs.store.moves import move_row, update_row
from openevs.store.tables import snapshot as table

_ONE = Lookup(sa.select(*table.c).where(table.c.id == sa.bindparam("id")), Snapshot._make)
_OF_VOLUME = Lookup(
    sa.select(*table.c).where(table.c.volume_id == sa.bindparam("id")).order_by(table.c.created_at), Snapshot._make
)


def insert_snapshot(tx: Tx, snapshot: Snapshot) -> Snapshot:
    """Add a snapshot."""
    tx.execute(sa.insert(table), snapshot._asdict())
    return snapshot


def find_snapshot(tx: Tx, snapshot_id: str, project_id: str | None = None) -> Snapshot:
    """Return a snapshot; with a project, those of others do not exist. Raises NotFound."""
    return find_owned(tx, _ONE, "snapshot", snapshot_id, project_id)


def move_snapshot(
    tx: Tx,
    snapshot_id: str,
    move: Move,
    now: datetime,
    *,
    project_id: str | None = None,
    also: Mapping[str, Any] | None = None,
) -> Snapshot:
    """Change a snapshot's status. Raises NotFound, WrongStatus."""
    return move_row(tx, table, Snapshot._make, snapshot_id, move, now, project_id=project_id, also=also)


def update_snapshot(
    tx: Tx, snapshot_id: str, project_id: str | None, now: datetime, values: Mapping[str, Any]
) -> Snapshot:
    """Change columns other than the status. Raises NotFound."""
    return update_row(tx, table, Snapshot._make, snapshot_id, now, values, project_id=project_id)


def delete_snapshot_row(tx: Tx, snapshot_id: str) -> None:
    """Forget a snapshot whose bytes are gone."""
    tx.execute(sa.delete(table).where(table.c.id == snapshot_id))


def snapshots_of(tx: Tx, volume_id: str) -> list[Snapshot]:
    """Return every snapshot of a volume, oldest first."""
    return _OF_VOLUME.all(tx, id=volume_id)


def count_snapshots_of(tx: Tx, volume_id: str) -> int:
    """Return how many snapshots a volume has."""
    return count_rows(tx, table, [table.c.volume_id == volume_id])


def count_snapshots(tx: Tx, where: Sequence[Condition]) -> int:
    """Return how many snapshots `where` selects."""
    return count_rows(tx, table, where)
