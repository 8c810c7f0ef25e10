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
    "id": _equal("id"),
    "ids": _one_of("id"),
    "name": _equal("name"),
    "status": _equal("status"),
    "volume_id": _equal("volume_id"),
    "project_id": _equal("project_id"),
    "user_id": _equal("user_id"),
    "name_like": _contains("name"),
    "status_like": _contains("status"),
    "volume_id_like": _contains("volume_id"),
    "description_like": _contains("description"),
    "availability_zone": _zone_of_volume,
    "group_snapshot_id": _equal("group_snapshot_id"),
    "consumes_quota": _every_one,
    "metadata": metadata_condition,
    "nothing": lambda table, value: sa.false(),
    **_TIMES,
}


def _on_server(table: sa.Table, value: object) -> Condition:
    return table.c.id.in_(sa.select(attachment.c.volume_id).where(attachment.c.instance_uuid == value))


VOLUME_FILTERS: dict[str, Filter] = {
    "id": _equal("id"),
    "ids": _one_of("id"),
    "name": _equal("name"),
    "status": _equal("status"),
    "project_id": _equal("project_id"),
    "user_id": _equal("user_id"),
    "size_gib": _equal("size_gib"),
    "bootable": _equal("bootable"),
    "multiattach": _equal("multiattach"),
    "volume_type": _equal("volume_type"),
    "type_id": _equal("type_id"),
    "availability_zone": _equal("availability_zone"),
    "snapshot_id": _equal("snapshot_id"),
    "source_volid": _equal("source_volid"),
    "server_id": _on_server,
    "group_id": _equal("group_id"),
    "image_metadata": lambda table, value: metadata_condition(table, value, "image_metadata"),
    "consumes_quota": _every_one,
    "migration_status": _equal("migration_status"),
    "name_like": _contains("name"),
    "status_like": _contains("status"),
    "description_like": _contains("description"),
    "metadata": metadata_condition,
    "nothing": lambda table, value: sa.false(),
    **_TIMES,
}

ATTACHMENT_FILTERS: dict[str, Filter] = {
    "id": _equal("id"),
    "ids": _one_of("id"),
    "volume_id": _equal("volume_id"),
    "instance_id": _equal("instance_uuid"),
    "status": _equal("status"),
    "attach_status": _equal("status"),
    "project_id": _equal("project_id"),
    "nothing": lambda table, value: sa.false(),
}

BACKUP_FILTERS: dict[str, Filter] = {
    **{name: _equal(name) for name in ("id", "name", "status", "volume_id", "snapshot_id", "project_id", "user_id")},
    "ids": _one_of("id"),
    "name_like": _contains("name"),
    "status_like": _contains("status"),
    "volume_id_like": _contains("volume_id"),
    "description_like": _contains("description"),
    "metadata": metadata_condition,
    **_TIMES,
}

GROUP_FILTERS: dict[str, Filter] = {
    "id": _equal("id"),
    "ids": _one_of("id"),
    "name_like": _contains("name"),
    **{
        name: _equal(name)
        for name in (
            "name", "status", "description", "group_type_id", "availability_zone", "group_snapshot_id",
            "source_group_id", "project_id", "user_id",
        )
    },
    "generic": lambda table, value: table.c.group_type_id != RESERVED_TYPE_ID,
    # A wish about the answer, which stands among the filters.
    "list_volume": lambda table, value: sa.true(),
}  # fmt: skip

GROUP_SNAPSHOT_FILTERS: dict[str, Filter] = {
    "generic": lambda table, value: table.c.group_type_id != RESERVED_TYPE_ID,
    "id": _equal("id"),
    "ids": _one_of("id"),
    "name_like": _contains("name"),
    **{
        name: _equal(name)
        for name in ("name", "status", "description", "group_id", "group_type_id", "project_id", "user_id")
    },
}

TRANSFER_FILTERS: dict[str, Filter] = {
    "id": _equal("id"),
    "ids": _one_of("id"),
    "name": _equal("name"),
    "volume_id": _equal("volume_id"),
    "project_id": _equal("project_id"),
}

MESSAGE_FILTERS: dict[str, Filter] = {
    "id": _equal("id"),
    "ids": _one_of("id"),
    "message_level": _equal("level"),
    **{name: _equal(name) for name in ("resource_uuid", "resource_type", "event_id", "request_id")},
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
