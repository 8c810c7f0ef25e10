"""Group types in the database."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from openevs.domain.errors import Conflict, NotFound
from openevs.domain.group import GroupType
from openevs.store.database import Tx
from openevs.store.listing import Condition, Page, list_page
from openevs.store.prepared import insert_row
from openevs.store.tables import group_type as table


def ensure_group_type(tx: Tx, wanted: GroupType) -> None:
    """Add a group type unless one of its id is there; that one stays as it is."""
    if tx.execute(sa.select(table.c.id).where(table.c.id == wanted.id)).first() is None:
        insert_group_type(tx, wanted)


def insert_group_type(tx: Tx, made: GroupType) -> GroupType:
    """Add a group type. Raises Conflict if there is one of its name."""
    _check_name(tx, made.name, made.id)
    insert_row(tx, table, made._asdict())
    return made


def find_group_type(tx: Tx, group_type_id: str, *, hidden: bool) -> GroupType:
    """Return a group type; one that is not public only if `hidden` ones are seen. Raises NotFound."""
    return _found(tx, table.c.id == group_type_id, group_type_id, hidden)


def find_group_type_by_name(tx: Tx, name: str, *, hidden: bool) -> GroupType:
    """Return a group type by its name. Raises NotFound."""
    return _found(tx, table.c.name == name, name, hidden)


def _found(tx: Tx, where: Condition, word: str, hidden: bool) -> GroupType:
    row = tx.execute(sa.select(*table.c).where(where)).first()
    if row is None or not (row.is_public or hidden):
        raise NotFound("group type", word)
    return GroupType._make(row)


def update_group_type(tx: Tx, group_type_id: str, now: datetime, values: Mapping[str, Any]) -> GroupType:
    """Change a group type. Raises NotFound, Conflict (another one has the name)."""
    if "name" in values:
        _check_name(tx, values["name"], group_type_id)
    statement = sa.update(table).where(table.c.id == group_type_id).values({**values, "updated_at": now})
    row = tx.execute(statement.returning(*table.c)).first()
    if row is None:
        raise NotFound("group type", group_type_id)
    return GroupType._make(row)


def _check_name(tx: Tx, name: str, own_id: str) -> None:
    if tx.execute(sa.select(table.c.id).where(table.c.name == name, table.c.id != own_id)).first():
        raise Conflict(f"There is already a group type with the name {name}.")


def delete_group_type_row(tx: Tx, group_type_id: str) -> None:
    """Remove a group type of which there are no groups."""
    tx.execute(sa.delete(table).where(table.c.id == group_type_id))


def list_group_types(tx: Tx, where: Sequence[Condition], page: Page) -> list[GroupType]:
    """Return one page of group types."""
    return list_page(tx, table, GroupType._make, where, page)
