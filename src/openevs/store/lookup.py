"""Finding records, as nearly every request does."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from openevs.store.database import Tx
from openevs.store.prepared import Prepared

R = TypeVar("R")


class Lookup(Generic[R]):
    """One SELECT whose parameters are texts, and what makes records of its rows."""

    def __init__(self, statement: sa.Select[Any], make: Callable[[list[Any]], R]) -> None:
        self._prepared, self._make = Prepared(statement), make

    def first(self, tx: Tx, **values: str) -> R | None:
        """Return the first row, or None."""
        row = self._prepared.first(tx, values)
        return None if row is None else self._make(row)

    def all(self, tx: Tx, **values: str) -> list[R]:
        """Return every row."""
        return [self._make(row) for row in self._prepared.all(tx, values)]
