"""Groups in the database."""

from collections.abc import Collection, Sequence
from typing import Final

import sqlalchemy as sa

from openevs.domain.group import Group
from openevs.domain.model import Volume
from openevs.store.database import Tx
from openevs.store.rows import Rows
from openevs.store.tables import group as table
from openevs.store.tables import volume

_ROWS: Final = Rows(table, Group._make)
insert_group = _ROWS.insert
find_group = _ROWS.find
move_group = _ROWS.move
hold_group = _ROWS.hold
update_group = _ROWS.update
delete_group_row = _ROWS.delete
count_groups = _ROWS.count


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
