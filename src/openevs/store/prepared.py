"""Statements that never change: compiled once, and run on the driver's own cursor.

What SQLAlchemy does around one execution (building the statement, finding its compiled form, wrapping the result) costs
several times what finding or changing a row by its key costs. What every request and every operation runs is prepared
here; everything else goes through SQLAlchemy.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import sqlalchemy as sa

from openevs.store.database import Tx

Convert = Callable[[Any], Any]


class _Parameter(NamedTuple):
    name: str
    required: bool
    """Whether it is given each time; else its value is part of the statement."""
    value: Any
    convert: Convert | None
    """What makes a value one for the driver."""


class _Compiled(NamedTuple):
    sql: str
    named: bool
    """Whether the driver takes the parameters by name."""
    parameters: list[_Parameter]
    converts: Sequence[tuple[int, Convert]]
    """Columns whose values the driver does not return as they are meant, and what makes them so."""


class Prepared:
    """One statement. Making it costs nothing; its first use compiles it. Its methods raise what SQLAlchemy raises."""

    def __init__(self, statement: sa.Select[Any] | sa.Insert | sa.Update | sa.Delete) -> None:
        self._statement = statement
        self._by_dialect: dict[str, _Compiled] = {}

    def first(self, tx: Tx, values: Mapping[str, Any]) -> list[Any] | None:
        """Return the first row that it gives, or None."""
        compiled = self._compiled(tx)
        row = _run(tx, compiled, values).fetchone()
        return None if row is None else _fields(compiled, row)

    def all(self, tx: Tx, values: Mapping[str, Any]) -> list[list[Any]]:
        """Return every row that it gives."""
        compiled = self._compiled(tx)
        return [_fields(compiled, row) for row in _run(tx, compiled, values).fetchall()]

    def change(self, tx: Tx, values: Mapping[str, Any]) -> int:
        """Return how many rows it has changed."""
        count: int = _run(tx, self._compiled(tx), values).rowcount
        return count

    def _compiled(self, tx: Tx) -> _Compiled:
        found = self._by_dialect.get(tx.dialect.name)
        if found is None:
            found = self._by_dialect[tx.dialect.name] = _compile(self._statement, tx.dialect)
        return found


def insert_row(tx: Tx, table: sa.Table, values: Mapping[str, Any]) -> None:
    """Add one row, with a value for each column that is named."""
    _insertion(table, tuple(values)).change(tx, values)


@cache
def _insertion(table: sa.Table, names: tuple[str, ...]) -> Prepared:
    return Prepared(sa.insert(table).values(new_values(table, names)))


def new_values(table: sa.Table, names: Sequence[str], prefix: str = "") -> dict[str, sa.BindParameter[Any]]:
    """Return a parameter for each of these columns, named as it is, with a prefix."""
    return {name: sa.bindparam(prefix + name, type_=table.c[name].type) for name in names}


def _run(tx: Tx, compiled: _Compiled, values: Mapping[str, Any]) -> Any:
    arguments: Any = [
        (values[name] if convert is None else convert(values[name])) if required else value
        for name, required, value, convert in compiled.parameters
    ]
    if compiled.named:
        arguments = {each.name: argument for each, argument in zip(compiled.parameters, arguments, strict=True)}
    try:
        return tx.driver.execute(compiled.sql, arguments)
    except tx.dialect.loaded_dbapi.Error as error:
        raise sa.exc.DBAPIError.instance(compiled.sql, None, error, tx.dialect.loaded_dbapi.Error) from error


def _fields(compiled: _Compiled, row: Sequence[Any]) -> list[Any]:
    fields = list(row)
    for at, convert in compiled.converts:
        fields[at] = convert(fields[at])
    return fields


def _compile(statement: sa.Select[Any] | sa.Insert | sa.Update | sa.Delete, dialect: sa.Dialect) -> _Compiled:
    compiled: Any = statement.compile(dialect=dialect)
    order = getattr(compiled, "positiontup", None)
    parameters = [_parameter(compiled.binds[name], name, dialect) for name in order or compiled.params]
    processors = [
        each.type.dialect_impl(dialect).result_processor(dialect, None) for each in statement.exported_columns
    ]
    converts = [(at, convert) for at, convert in enumerate(processors) if convert is not None]
    return _Compiled(str(compiled), order is None, parameters, converts)


def _parameter(bind: sa.BindParameter[Any], name: str, dialect: sa.Dialect) -> _Parameter:
    convert = bind.type.dialect_impl(dialect).bind_processor(dialect)
    value = bind.value if convert is None or bind.required else convert(bind.value)
    return _Parameter(name, bind.required, value, convert)
