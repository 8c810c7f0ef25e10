"""Volumes in the database."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from openevs.domain.lifecycle import Move
from openevs.domain.model import Volume
from openevs.store.database import Tx
from openevs.store.listing import Condition, count_rows
from openevs.store.lookup import Lookup, find_owned
from openevs.store.moves import hold_row, move_row, update_row
from openevs.store.tables import volume as table

_ONE = Lookup(sa.select(*table.c).where(table.c.id == sa.bindparam("id")), Volume._make)


def insert_volume(tx: Tx, volume: Volume) -> Volume:
    """Add a volume."""
    tx.execute(sa.insert(table), volume._asdict())
    return volume


def find_volume(tx: Tx, volume_id: str, project_id: str | None = None) -> Volume:
    """Return a volume; with a project, those of others do not exist. Raises NotFound."""
    return find_owned(tx, _ONE, "volume", volume_id, project_id)


def move_volume(
    tx: Tx,
    volume_id: str,
    move: Move,
    now: datetime,
    *,
    project_id: str | None = None,
    also: Mapping[str, Any] | None = None,
) -> Volume:
    """Change a volume's status. Raises NotFound, WrongStatus."""
    return move_row(tx, table, Volume._make, volume_id, move, now, project_id=project_id, also=also)


def hold_volume(tx: Tx, volume_id: str, statuses: frozenset[str], action: str, project_id: str | None = None) -> Volume:
    """Return the volume if its status is one of `statuses`, and keep it so until the transaction ends.
    Raises NotFound, WrongStatus."""
    return hold_row(tx, table, Volume._make, volume_id, statuses, action, project_id=project_id)


def update_volume(tx: Tx, volume_id: str, project_id: str | None, now: datetime, values: Mapping[str, Any]) -> Volume:
    """Change columns other than the status. Raises NotFound."""
    return update_row(tx, table, Volume._make, volume_id, now, values, project_id=project_id)


def delete_volume_row(tx: Tx, volume_id: str) -> None:
    """Forget a volume whose bytes are gone."""
    tx.execute(sa.delete(table).where(table.c.id == volume_id))


def count_volumes(tx: Tx, where: Sequence[Condition]) -> int:
    """Return how many volumes `where` selects."""
    return count_rows(tx, table, where)


def summarize_volumes(tx: Tx, where: Sequence[Condition]) -> tuple[int, int, list[dict[str, str]]]:
    """Return number, total GiB and the metadata of the volumes that `where` selects."""
    rows = tx.execute(sa.select(table.c.size_gib, table.c.metadata).where(*where)).all()
    return len(rows), sum(row.size_gib for row in rows), [row.metadata for row in rows if row.metadata]
