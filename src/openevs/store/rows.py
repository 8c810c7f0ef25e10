"""The rows of a resource's table, as its records.

`move` is the one way in which a status is written: a conditional UPDATE made from a `Move` (`domain/lifecycle.py`).
`hold` writes none, and `update` is for everything else. In each of them, rows of other projects do not exist if a
`project_id` is given.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Generic, Protocol, TypeVar

import sqlalchemy as sa

from openevs.domain.errors import NotFound, WrongStatus
from openevs.domain.lifecycle import PREVIOUS, Move
from openevs.store.database import Tx
from openevs.store.listing import Condition, count_rows
from openevs.store.lookup import Lookup
from openevs.store.prepared import Prepared, insert_row, new_values


class Owned(Protocol):
    """A record of some project's, in the order of its table's columns."""

    @property
    def project_id(self) -> str: ...

    def _asdict(self) -> dict[str, Any]: ...


R = TypeVar("R", bound=Owned)


class Rows(Generic[R]):
    """One table, and what makes a record of a row of it."""

    def __init__(self, table: sa.Table, make: Callable[[Any], R]) -> None:
        self.table = table
        self._make = make
        self._kind = str(table.info.get("kind", table.name))
        self._one = Lookup(sa.select(*table.c).where(table.c.id == sa.bindparam("id")), make)

    def insert(self, tx: Tx, record: R) -> R:
        """Add a row."""
        insert_row(tx, self.table, record._asdict())
        return record

    def find(self, tx: Tx, row_id: str, project_id: str | None = None) -> R:
        """Return the row with this id. Raises NotFound."""
        found = self._one.first(tx, id=row_id)
        if found is None or (project_id is not None and found.project_id != project_id):
            raise NotFound(self._kind, row_id)
        return found

    def move(
        self,
        tx: Tx,
        row_id: str,
        move: Move,
        now: datetime,
        *,
        project_id: str | None = None,
        also: Mapping[str, Any] | None = None,
    ) -> R:
        """Change the status as `move` says, and `also` other columns, in one statement; return the row as it is then.
        Raises NotFound, or WrongStatus naming what was found."""
        copies = {"status": "previous_status"} if move.to == PREVIOUS else {}
        if move.remember:
            copies["previous_status"] = "status"
        values: dict[str, Any] = {} if move.to == PREVIOUS else {"status": move.to}
        if "updated_at" in self.table.c:
            values["updated_at"] = now
        return self._change(tx, row_id, move.froms, move.action, project_id, {**values, **(also or {})}, copies)

    def hold(self, tx: Tx, row_id: str, statuses: frozenset[str], action: str, project_id: str | None = None) -> R:
        """Return the row if its status is one of `statuses`, and keep it so until the transaction ends.

        It is an UPDATE that changes nothing, so that on a database with several writers nobody else can move it
        meanwhile. Raises NotFound, WrongStatus."""
        return self._change(tx, row_id, statuses, action, project_id, {}, {"status": "status"})

    def update(self, tx: Tx, row_id: str, project_id: str | None, now: datetime, values: Mapping[str, Any]) -> R:
        """Change columns other than the status, and return the row as it is then. Raises NotFound."""
        row = self._set(tx, row_id, None, project_id, {**values, "updated_at": now}, {})
        if row is None:
            raise NotFound(self._kind, row_id)
        return self._make(row)

    def delete(self, tx: Tx, row_id: str) -> None:
        """Forget a row of which nothing is left elsewhere. Not there is success."""
        tx.execute(sa.delete(self.table).where(self.table.c.id == row_id))

    def count(self, tx: Tx, where: Sequence[Condition]) -> int:
        """Return how many rows `where` selects."""
        return count_rows(tx, self.table, where)

    def _change(
        self,
        tx: Tx,
        row_id: str,
        statuses: frozenset[str],
        action: str,
        project_id: str | None,
        values: Mapping[str, Any],
        copies: Mapping[str, str],
    ) -> R:
        row = self._set(tx, row_id, statuses, project_id, values, copies)
        if row is not None:
            return self._make(row)
        query = sa.select(self.table.c.status, self.table.c.project_id).where(self.table.c.id == row_id)
        found = tx.execute(query).first()
        if found is None or (project_id is not None and found.project_id != project_id):
            raise NotFound(self._kind, row_id)
        raise WrongStatus(self._kind, row_id, found.status, statuses, action)

    def _set(
        self,
        tx: Tx,
        row_id: str,
        statuses: frozenset[str] | None,
        project_id: str | None,
        values: Mapping[str, Any],
        copies: Mapping[str, str],
    ) -> list[Any] | None:
        """Set columns to values, and others to what other columns have; return the row, if there is one such."""
        prepared = _setting(self.table, statuses, project_id is not None, tuple(values), tuple(copies.items()))
        return prepared.first(tx, {**values, "its_id": row_id, "its_project_id": project_id})


@cache
def _setting(
    table: sa.Table,
    statuses: frozenset[str] | None,
    of_project: bool,
    names: tuple[str, ...],
    copies: tuple[tuple[str, str], ...],
) -> Prepared:
    statement = sa.update(table).where(table.c.id == sa.bindparam("its_id"))
    if statuses is not None:
        # As literals: a list of values would be expanded at each execution.
        statement = statement.where(table.c.status.in_([sa.literal(status) for status in sorted(statuses)]))
    if of_project:
        statement = statement.where(table.c.project_id == sa.bindparam("its_project_id"))
    copied = {name: table.c[source] for name, source in copies}
    return Prepared(statement.values({**new_values(table, names), **copied}).returning(*table.c))
