"""Changing one row. `move_row` is the one way in which a status is written: a conditional UPDATE made from a `Move`
(`domain/lifecycle.py`). `hold_row` writes none, and `update_row` is for everything else."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa

from openevs.domain.errors import NotFound, WrongStatus
from openevs.domain.lifecycle import PREVIOUS, Move
from openevs.store.database import Tx

R = TypeVar("R")


def move_row(
    tx: Tx,
    table: sa.Table,
    make: Callable[[Any], R],
    row_id: str,
    move: Move,
    now: datetime,
    *,
    project_id: str | None = None,
    also: Mapping[str, Any] | None = None,
) -> R:
    """Change the status as `move` says, and `also` other columns, in one statement; return the row as it is then.

    With a `project_id`, rows of other projects do not exist. Raises NotFound, or WrongStatus naming what was found.
    """
    target = table.c.previous_status if move.to == PREVIOUS else move.to
    values: dict[str, Any] = {"status": target, **(also or {})}
    if "updated_at" in table.c:
        values["updated_at"] = now
    if move.remember:
        values["previous_status"] = table.c.status
    return make(_change(tx, table, row_id, move.froms, move.action, project_id, values))


def hold_row(
    tx: Tx,
    table: sa.Table,
    make: Callable[[Any], R],
    row_id: str,
    statuses: frozenset[str],
    action: str,
    *,
    project_id: str | None = None,
) -> R:
    """Return the row if its status is one of `statuses`, and keep it so until the transaction ends.

    It is an UPDATE that changes nothing, so that on a database with several writers nobody else can move it meanwhile.
    With a `project_id`, rows of other projects do not exist. Raises NotFound, WrongStatus.
    """
    return make(_change(tx, table, row_id, statuses, action, project_id, {"status": table.c.status}))


def update_row(
    tx: Tx,
    table: sa.Table,
    make: Callable[[Any], R],
    row_id: str,
    now: datetime,
    values: Mapping[str, Any],
    *,
    project_id: str | None = None,
) -> R:
    """Change columns other than the status, and return the row as it is then. With a `project_id`, rows of other
    projects do not exist. Raises NotFound."""
    statement = sa.update(table).where(table.c.id == row_id).values({**values, "updated_at": now})
    if project_id is not None:
        statement = statement.where(table.c.project_id == project_id)
    row = tx.execute(statement.returning(*table.c)).first()
    if row is None:
        raise NotFound(_kind(table), row_id)
    return make(row)


def _change(
    tx: Tx,
    table: sa.Table,
    row_id: str,
    statuses: frozenset[str],
    action: str,
    project_id: str | None,
    values: Mapping[str, Any],
) -> sa.Row[Any]:
    statement = sa.update(table).where(table.c.id == row_id, table.c.status.in_(sorted(statuses)))
    if project_id is not None:
        statement = statement.where(table.c.project_id == project_id)
    row = tx.execute(statement.values(values).returning(*table.c)).first()
    if row is None:
        raise _why_not(tx, table, row_id, statuses, action, project_id)
    return row


def _why_not(
    tx: Tx, table: sa.Table, row_id: str, statuses: frozenset[str], action: str, project_id: str | None
) -> NotFound | WrongStatus:
    query = sa.select(table.c.status, table.c.project_id).where(table.c.id == row_id)
    found = tx.execute(query).first()
    if found is None or (project_id is not None and found.project_id != project_id):
        return NotFound(_kind(table), row_id)
    return WrongStatus(_kind(table), row_id, found.status, statuses, action)


def _kind(table: sa.Table) -> str:
    return str(table.info.get("kind", table.name))
