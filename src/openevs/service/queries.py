"""Lists, and their filters: which there are, and what each selects. Names are ours; the API's stand in
`api/wire/lists.py`."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

import sqlalchemy as sa

from openevs.domain.group import RESERVED_TYPE_ID
from openevs.domain.model import Caller
from openevs.service.deps import Deps
from openevs.store.database import Tx
from openevs.store.listing import Condition, Page, count_rows, list_page, metadata_condition
from openevs.store.tables import attachment, volume

Filter = Callable[[sa.Table, Any], Condition]
R = TypeVar("R")


class ListQuery(NamedTuple):
    """One list, as it is asked for."""

    page: Page
    filters: Mapping[str, Any] = {}
    """Filter name → value; every name is a key of the resource's table of filters."""
    all_projects: bool = False
    """Also those of other projects; only an administrator's wish counts."""
    with_count: bool = False


def _equal(column: str) -> Filter:
    return lambda table, value: table.c[column] == value


def _contains(column: str) -> Filter:
    return lambda table, value: table.c[column].contains(str(value), autoescape=True)


def _equals(columns: str) -> dict[str, Filter]:
    """Return a filter by equality for each of these columns, which have blanks between them."""
    return {column: _equal(column) for column in columns.split()}


def _likes(columns: str) -> dict[str, Filter]:
    return {f"{column}_like": _contains(column) for column in columns.split()}


def _one_of(column: str) -> Filter:
    return lambda table, values: table.c[column].in_(list(values))


def _time(column: str, operator: str) -> Filter:
    compare: dict[str, Callable[[Any, datetime], Condition]] = {
        "gt": lambda c, v: c > v,
        "gte": lambda c, v: c >= v,
        "lt": lambda c, v: c < v,
        "lte": lambda c, v: c <= v,
        "eq": lambda c, v: c == v,
        "neq": lambda c, v: c != v,
    }
    return lambda table, value: compare[operator](table.c[column], value)


def _every_one(table: sa.Table, value: object) -> Condition:
    # Every volume and snapshot counts towards a quota.
    return sa.true() if value else sa.false()


def _zone_of_volume(table: sa.Table, value: object) -> Condition:
    return table.c.volume_id.in_(sa.select(volume.c.id).where(volume.c.availability_zone == value))


_TIMES: dict[str, Filter] = {
    f"{column}_{operator}": _time(column, operator)
    for column in ("created_at", "updated_at")
    for operator in ("gt", "gte", "lt", "lte", "eq", "neq")
}

SNAPSHOT_FILTERS: dict[str, Filter] = {
    **_equals("id name status volume_id project_id user_id group_snapshot_id"),
    **_likes("name status volume_id description"),
    "ids": _one_of("id"),
    "availability_zone": _zone_of_volume,
    "consumes_quota": _every_one,
    "metadata": metadata_condition,
    "nothing": lambda table, value: sa.false(),
    **_TIMES,
}


def _on_server(table: sa.Table, value: object) -> Condition:
    return table.c.id.in_(sa.select(attachment.c.volume_id).where(attachment.c.instance_uuid == value))


VOLUME_FILTERS: dict[str, Filter] = {
    **_equals("id name status project_id user_id size_gib bootable multiattach volume_type type_id availability_zone"),
    **_equals("snapshot_id source_volid group_id migration_status"),
    **_likes("name status description"),
    "ids": _one_of("id"),
    "server_id": _on_server,
    "image_metadata": lambda table, value: metadata_condition(table, value, "image_metadata"),
    "consumes_quota": _every_one,
    "metadata": metadata_condition,
    "nothing": lambda table, value: sa.false(),
    **_TIMES,
}

ATTACHMENT_FILTERS: dict[str, Filter] = {
    **_equals("id volume_id status project_id"),
    "ids": _one_of("id"),
    "instance_id": _equal("instance_uuid"),
    "attach_status": _equal("status"),
    "nothing": lambda table, value: sa.false(),
}

BACKUP_FILTERS: dict[str, Filter] = {
    **_equals("id name status volume_id snapshot_id project_id user_id"),
    **_likes("name status volume_id description"),
    "ids": _one_of("id"),
    "metadata": metadata_condition,
    **_TIMES,
}

_GENERIC: dict[str, Filter] = {"generic": lambda table, value: table.c.group_type_id != RESERVED_TYPE_ID}

GROUP_FILTERS: dict[str, Filter] = {
    **_equals("id name status description group_type_id availability_zone group_snapshot_id source_group_id"),
    **_equals("project_id user_id"),
    **_likes("name"),
    "ids": _one_of("id"),
    **_GENERIC,
    # A wish about the answer, which stands among the filters.
    "list_volume": lambda table, value: sa.true(),
}

GROUP_SNAPSHOT_FILTERS: dict[str, Filter] = {
    **_equals("id name status description group_id group_type_id project_id user_id"),
    **_likes("name"),
    "ids": _one_of("id"),
    **_GENERIC,
}

TRANSFER_FILTERS: dict[str, Filter] = {**_equals("id name volume_id project_id"), "ids": _one_of("id")}

MESSAGE_FILTERS: dict[str, Filter] = {
    **_equals("id resource_uuid resource_type event_id request_id"),
    "ids": _one_of("id"),
    "message_level": _equal("level"),
}


def conditions(table: sa.Table, known: Mapping[str, Filter], caller: Caller, query: ListQuery) -> list[Condition]:
    """Return what a row must satisfy; the first condition is always the one on the project."""
    everywhere = query.all_projects and caller.is_admin
    where: list[Condition] = [sa.true() if everywhere else table.c.project_id == caller.project_id]
    where += [known[name](table, value) for name, value in query.filters.items()]
    return where


def read_page(
    tx: Tx,
    table: sa.Table,
    make: Callable[[Any], R],
    known: Mapping[str, Filter],
    caller: Caller,
    query: ListQuery,
) -> tuple[list[R], int | None]:
    """Return one page of a list and, if asked for, how many there are in all. Raises NotFound (marker)."""
    where = conditions(table, known, caller, query)
    return list_page(tx, table, make, where, query.page), count_rows(tx, table, where) if query.with_count else None


async def list_rows(
    deps: Deps,
    table: sa.Table,
    make: Callable[[Any], R],
    known: Mapping[str, Filter],
    caller: Caller,
    query: ListQuery,
) -> tuple[list[R], int | None]:
    """As `read_page`, in a transaction of its own."""

    def read(tx: Tx) -> tuple[list[R], int | None]:
        return read_page(tx, table, make, known, caller, query)

    read.__name__ = f"list_{table.name}s"
    return await deps.db.read(read)
