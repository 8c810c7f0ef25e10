"""Consistency groups and their snapshots as the API writes them: groups and group snapshots under older names."""

from typing import Any, Final

from msgspec import Struct

from openevs.api.wire.groups import GROUP_LIST, GROUP_SNAPSHOT_LIST, GroupUpdate
from openevs.api.wire.times import wire_time
from openevs.domain.group import Group, GroupSnapshot


class ConsistencyGroupCreate(Struct):
    """The body of a create, in its envelope `consistencygroup`."""

    volume_types: str
    """Ids or names, with commas between them."""
    name: str | None = None
    description: str | None = None
    availability_zone: str | None = None


class ConsistencyGroupCopy(Struct):
    """The body of a create from a source, in its envelope `consistencygroup-from-src`."""

    name: str | None = None
    description: str | None = None
    cgsnapshot_id: str | None = None
    source_cgid: str | None = None


class ConsistencyGroupUpdate(GroupUpdate):
    """The body of an update, in its envelope `consistencygroup`. Volumes are ids with commas between them."""


class ConsistencyGroupDelete(Struct):
    """The body of a delete, in its envelope `consistencygroup`."""

    force: bool | str | int = False


class CgSnapshotCreate(Struct):
    """The body of a create, in its envelope `cgsnapshot`."""

    consistencygroup_id: str
    name: str | None = None
    description: str | None = None


CONSISTENCY_GROUP_LIST: Final = GROUP_LIST._replace(
    filters={name: GROUP_LIST.filters[name] for name in ("id", "name", "status", "description", "availability_zone")},
    strict_since=None,
)
CG_SNAPSHOT_LIST: Final = GROUP_SNAPSHOT_LIST._replace(
    filters={"consistencygroup_id": "group_id", "id": "id", "name": "name", "status": "status"},
    strict_since=None,
    pages_since=0,
)


def consistency_group_detail(group: Group) -> dict[str, Any]:
    """Return what show and the long list show."""
    return {
        "id": group.id,
        "status": group.status,
        "availability_zone": group.availability_zone,
        "created_at": wire_time(group.created_at),
        "name": group.name,
        "description": group.description,
        "volume_types": group.volume_types,
    }


def cg_snapshot_detail(made: GroupSnapshot) -> dict[str, Any]:
    """Return what show and the long list show."""
    return {
        "id": made.id,
        "consistencygroup_id": made.group_id,
        "status": made.status,
        "created_at": wire_time(made.created_at),
        "name": made.name,
        "description": made.description,
    }
