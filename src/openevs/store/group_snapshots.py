"""Group snapshots in the database."""

from typing import Final

import sqlalchemy as sa

from openevs.domain.group import GroupSnapshot
from openevs.domain.model import Snapshot
from openevs.store.database import Tx
from openevs.store.rows import Rows
from openevs.store.tables import group_snapshot as table
from openevs.store.tables import snapshot

_ROWS: Final = Rows(table, GroupSnapshot._make)
insert_group_snapshot = _ROWS.insert
find_group_snapshot = _ROWS.find
move_group_snapshot = _ROWS.move
update_group_snapshot = _ROWS.update
delete_group_snapshot_row = _ROWS.delete
count_group_snapshots = _ROWS.count


def snapshots_of_group_snapshot(tx: Tx, group_snapshot_id: str) -> list[Snapshot]:
    """Return every snapshot of a group snapshot."""
    query = sa.select(*snapshot.c).where(snapshot.c.group_snapshot_id == group_snapshot_id)
    return [Snapshot._make(row) for row in tx.execute(query.order_by(snapshot.c.created_at, snapshot.c.id))]
