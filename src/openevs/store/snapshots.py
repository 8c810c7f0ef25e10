"""Snapshots in the database."""

from typing import Final

import sqlalchemy as sa

from openevs.domain.model import Snapshot
from openevs.store.database import Tx
from openevs.store.lookup import Lookup
from openevs.store.rows import Rows
from openevs.store.tables import snapshot as table

_ROWS: Final = Rows(table, Snapshot._make)
insert_snapshot = _ROWS.insert
find_snapshot = _ROWS.find
move_snapshot = _ROWS.move
update_snapshot = _ROWS.update
delete_snapshot_row = _ROWS.delete
count_snapshots = _ROWS.count
_OF_VOLUME = Lookup(
    sa.select(*table.c).where(table.c.volume_id == sa.bindparam("id")).order_by(table.c.created_at), Snapshot._make
)
_NUMBER_OF_VOLUME = Lookup(
    sa.select(sa.func.count()).select_from(table).where(table.c.volume_id == sa.bindparam("id")),
    lambda row: int(row[0]),
)


def snapshots_of(tx: Tx, volume_id: str) -> list[Snapshot]:
    """Return every snapshot of a volume, oldest first."""
    return _OF_VOLUME.all(tx, id=volume_id)


def count_snapshots_of(tx: Tx, volume_id: str) -> int:
    """Return how many snapshots a volume has."""
    return _NUMBER_OF_VOLUME.first(tx, id=volume_id) or 0
