"""Volumes in the database."""

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa

from openevs.domain.model import Volume
from openevs.store.database import Tx
from openevs.store.listing import Condition
from openevs.store.rows import Rows
from openevs.store.tables import volume as table

_ROWS: Final = Rows(table, Volume._make)
insert_volume = _ROWS.insert
find_volume = _ROWS.find
move_volume = _ROWS.move
hold_volume = _ROWS.hold
update_volume = _ROWS.update
delete_volume_row = _ROWS.delete
count_volumes = _ROWS.count


def summarize_volumes(tx: Tx, where: Sequence[Condition]) -> tuple[int, int, list[dict[str, str]]]:
    """Return number, total GiB and the metadata of the volumes that `where` selects."""
    rows = tx.execute(sa.select(table.c.size_gib, table.c.metadata).where(*where)).all()
    return len(rows), sum(row.size_gib for row in rows), [row.metadata for row in rows if row.metadata]
