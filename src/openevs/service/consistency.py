"""Consistency groups: groups of one reserved type, under the names and with the fields that they had before groups.

The calls for consistency groups take every group; those for groups refuse the ones of the reserved type, and do not
list them. A group's type never changes, so it may be asked for before the transaction that changes the group.
"""

from collections.abc import Iterable
from typing import Final

from openevs.domain.errors import InvalidInput, NotSupported
from openevs.domain.group import RESERVED_TYPE, RESERVED_TYPE_ID, Group, GroupSnapshot
from openevs.domain.model import Caller
from openevs.service.deps import Deps
from openevs.service.group_snapshots import get_group_snapshot
from openevs.service.groups import get_group
from openevs.service.queries import ListQuery
from openevs.store import groups as store

RESERVED: Final = "the group type {name} is reserved for consistency groups, which have calls of their own."


def check_generic(row: Group | GroupSnapshot) -> None:
    """Refuse a consistency group, or a snapshot of one. Raises NotSupported."""
    if row.group_type_id == RESERVED_TYPE_ID:
        raise NotSupported(f"{row.id}: {RESERVED.format(name=RESERVED_TYPE)}")


async def check_generic_group(deps: Deps, caller: Caller, group_id: str) -> None:
    """Refuse a consistency group. Raises NotFound, NotSupported."""
    check_generic((await get_group(deps, caller, group_id))[0])


async def check_generic_group_snapshot(deps: Deps, caller: Caller, group_snapshot_id: str) -> None:
    """Refuse a snapshot of a consistency group. Raises NotFound, NotSupported."""
    check_generic(await get_group_snapshot(deps, caller, group_snapshot_id))


def check_generic_type(word: str) -> None:
    """Refuse to make a group of the reserved type, given its id or its name. Raises InvalidInput."""
    if word in (RESERVED_TYPE, RESERVED_TYPE_ID):
        raise InvalidInput("group_type", RESERVED.format(name=RESERVED_TYPE))


def only_generic(query: ListQuery) -> ListQuery:
    """Return the query of a list without consistency groups, or without their snapshots."""
    return query._replace(filters={**query.filters, "generic": True})


async def consistency_groups(deps: Deps, group_ids: Iterable[str | None]) -> frozenset[str]:
    """Return which of these groups are consistency groups."""
    ids = {group_id for group_id in group_ids if group_id is not None}
    if not ids:
        return frozenset()
    return await deps.db.read(store.groups_of_type, ids, RESERVED_TYPE_ID)
