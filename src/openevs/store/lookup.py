"""Finding rows by a key, as nearly every request does: a statement compiled once and run on the driver's own cursor.

What SQLAlchemy does around one execution costs several times what finding a row by its key costs. Everything else goes
through it; this is for the few statements that are run thousands of times a second and never change.
"""

from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import sqlalchemy as sa

from openevs.store.database import Tx

R = TypeVar("R")
Convert = Callable[[Any], Any]


class _Compiled(NamedTuple):
    sql: str
    names: Sequence[str] | None
    """Order of the parameters; None where the driver takes them by name."""
    converts: list[tuple[int, Convert]]
    """Columns whose values the driver does not return as they are meant, and what makes them so."""


class Lookup(Generic[R]):
    """One SELECT whose parameters are texts. Making it costs nothing; its first use compiles it."""

    def __init__(self, statement: sa.Select[Any], make: Callable[[list[Any]], R]) -> None:
        self._statement, self._make = statement, make
        self._compiled: dict[str, _Compiled] = {}

    def first(self, tx: Tx, **values: str) -> R | None:
        """Return the first row, or None."""
        compiled = self._compiled.get(tx.dialect.name) or self._compile(tx.dialect)
        row = tx.driver.execute(compiled.sql, _arguments(compiled, values)).fetchone()
        return None if row is None else self._record(compiled, row)

    def all(self, tx: Tx, **values: str) -> list[R]:
        """Return every row."""
        compiled = self._compiled.get(tx.dialect.name) or self._compile(tx.dialect)
        rows = tx.driver.execute(compiled.sql, _arguments(compiled, values)).fetchall()
        return [self._record(compiled, row) for row in rows]

    def _record(self, compiled: _Compiled, row: Sequence[Any]) -> R:
        fields = list(row)
        for at, convert in compiled.converts:
            fields[at] = convert(fields[at])
        return self._make(fields)

    def _compile(self, dialect: sa.Dialect) -> _Compiled:
        compiled = self._statement.compile(dialect=dialect)
        types = [column.type.dialect_impl(dialect) for column in self._statement.selected_columns]
        found = [(at, each.result_processor(dialect, None)) for at, each in enumerate(types)]
        names = getattr(compiled, "positiontup", None)
        made = _Compiled(str(compiled), names, [(at, convert) for at, convert in found if convert is not None])
        self._compiled[dialect.name] = made
        return made


def _arguments(compiled: _Compiled, values: dict[str, str]) -> Any:
    return values if compiled.names is None else [*map(values.__getitem__, compiled.names)]
