"""Pages of a table: filters, sorting by several keys, and paging by marker or by offset.

A marker pages by value (`WHERE (created_at, id) < …`), so the thousandth page costs what the first one costs. An offset
has to be counted off; that is done on the index alone, and only the page's own rows are then read.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

import sqlalchemy as sa

from openevs.domain.errors import NotFound
from openevs.store.database import Tx

R = TypeVar("R")
Condition = sa.ColumnElement[bool]
Direction = Literal["asc", "desc"]


class Page(NamedTuple):
    """Which part of a list is wanted."""

    limit: int
    offset: int = 0
    marker: str | None = None
    sort: tuple[tuple[str, Direction], ...] = (("created_at", "desc"),)
    """Column names and directions; `id` is added as the last key, so that the order is total."""


def list_page(tx: Tx, table: sa.Table, make: Callable[[Any], R], where: Sequence[Condition], page: Page) -> list[R]:
    """Return the rows of one page. Raises NotFound if the marker is not one of the rows that `where` selects."""
    keys = _sort_keys(table, page.sort)
    conditions = list(where)
    if page.marker is not None:
        conditions.append(_after(tx, table, keys, where, page.marker))
    order = [key.desc() if direction == "desc" else key.asc() for key, direction in keys]
    if page.offset:
        ids = sa.select(table.c.id).where(*conditions).order_by(*order).limit(page.limit).offset(page.offset)
        query = sa.select(*table.c).where(table.c.id.in_(ids.subquery().select())).order_by(*order)
    else:
        query = sa.select(*table.c).where(*conditions).order_by(*order).limit(page.limit)
    return [make(row) for row in tx.execute(query).all()]


def count_rows(tx: Tx, table: sa.Table, where: Sequence[Condition]) -> int:
    """Return how many rows `where` selects."""
    return tx.execute(sa.select(sa.func.count()).select_from(table).where(*where)).scalar_one()


def _sort_keys(table: sa.Table, sort: Sequence[tuple[str, Direction]]) -> list[tuple[sa.ColumnElement[Any], Direction]]:
    keys: list[tuple[sa.ColumnElement[Any], Direction]] = []
    for name, direction in sort:
        if name == "id":
            break
        column = table.c[name]
        # NULL sorts differently on every database, and equals nothing, not even a marker's NULL: it counts as empty.
        if not column.nullable:
            keys.append((column, direction))
        elif isinstance(column.type, sa.String):
            keys.append((sa.func.coalesce(column, ""), direction))
        else:
            keys.append((sa.func.coalesce(column, table.c.created_at), direction))
    last = next((direction for name, direction in sort if name == "id"), sort[-1][1])
    keys.append((table.c.id, last))
    return keys


def _after(
    tx: Tx,
    table: sa.Table,
    keys: Sequence[tuple[sa.ColumnElement[Any], Direction]],
    where: Sequence[Condition],
    marker: str,
) -> Condition:
    columns = [key.label(f"k{i}") for i, (key, _) in enumerate(keys)]
    found = tx.execute(sa.select(*columns).where(table.c.id == marker, *where[:1])).first()
    if found is None:
        raise NotFound("marker", marker)
    values = [sa.bindparam(None, value, key.type) for (key, _), value in zip(keys, found, strict=True)]
    directions = {direction for _, direction in keys}
    if len(directions) == 1:
        left, right = sa.tuple_(*(key for key, _ in keys)), sa.tuple_(*values)
        return left < right if directions == {"desc"} else left > right
    alternatives = []
    for i, (key, direction) in enumerate(keys):
        equal = [earlier == value for (earlier, _), value in zip(keys[:i], values[:i], strict=True)]
        beyond = key < values[i] if direction == "desc" else key > values[i]
        alternatives.append(sa.and_(*equal, beyond))
    return sa.or_(*alternatives)


def metadata_condition(table: sa.Table, wanted: Mapping[str, str], column: str = "metadata") -> Condition:
    """Return the condition that every given key has the given value."""
    if any('"' in key for key in wanted):
        return sa.false()  # no key has one, and it would end the path
    return sa.and_(sa.true(), *(table.c[column][key].as_string() == value for key, value in wanted.items()))
