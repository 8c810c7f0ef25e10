"""Groups, group snapshots and group types as the API writes them."""

from collections.abc import Sequence
from typing import Any, Final

from msgspec import UNSET, Struct, UnsetType, field

from openevs.api.call import Call
from openevs.api.policy import allowed
from openevs.api.wire.bodies import flag
from openevs.api.wire.lists import Listing, same
from openevs.api.wire.times import wire_time
from openevs.domain.group import Group, GroupSnapshot, GroupType

SOURCES_SINCE: Final = 14
LIST_VOLUME_SINCE: Final = 25
REPLICATION_SINCE: Final = 38
PROJECT_SINCE: Final = 58


class GroupCreate(Struct):
    """The body of a create, in its envelope `group`."""

    group_type: str
    volume_types: list[str]
    name: str | None = None
    description: str | None = None
    availability_zone: str | None = None


class GroupUpdate(Struct):
    """The body of an update, in its envelope `group`. Volumes are ids with commas between them."""

    name: str | UnsetType | None = UNSET
    description: str | UnsetType | None = UNSET
    add_volumes: str | UnsetType | None = UNSET
    remove_volumes: str | UnsetType | None = UNSET


class GroupCopy(Struct):
    """What `create-from-src` has: one of the two sources."""

    name: str | None = None
    description: str | None = None
    group_snapshot_id: str | None = None
    source_group_id: str | None = None


class GroupDelete(Struct):
    """What `delete` has."""

    delete_volumes: bool | str | int = field(default=False, name="delete-volumes")


class StatusReset(Struct):
    """What `reset_status` has."""

    status: str


class GroupSnapshotCreate(Struct):
    """The body of a create, in its envelope `group_snapshot`."""

    group_id: str
    name: str | None = None
    description: str | None = None


class GroupTypeCreate(Struct):
    """The body of a create, in its envelope `group_type`."""

    name: str
    description: str | None = None
    is_public: bool | str | int = True
    group_specs: dict[str, Any] | None = None


class GroupTypeUpdate(Struct):
    """The body of an update, in its envelope `group_type`."""

    name: str | None = None
    description: str | None = None
    is_public: bool | str | int | None = None


class GroupSpecsBody(Struct):
    """The body of a change of several specs."""

    group_specs: dict[str, str | None]


_SORT: Final = same("id name status description created_at updated_at project_id user_id")
GROUP_LIST: Final = Listing(
    filters={
        "group_type": "group_type_id",
        **same("id name status description group_type_id availability_zone group_snapshot_id source_group_id"),
        **same("project_id user_id list_volume"),
    },
    like={"name": "name_like"},
    sort_keys={**_SORT, **same("group_type_id availability_zone")},
)
GROUP_SNAPSHOT_LIST: Final = Listing(
    filters=same("id name status description group_id group_type_id project_id user_id"),
    like={"name": "name_like"},
    sort_keys={**_SORT, **same("group_id group_type_id")},
    pages_since=29,
)
GROUP_TYPE_LIST: Final = Listing(
    filters={"is_public": "is_public"},
    sort_keys=same("id name description is_public created_at updated_at"),
    strict_since=None,
)


def group_summary(group: Group) -> dict[str, Any]:
    """Return what the short list, and the answer to a create, show."""
    return {"id": group.id, "name": group.name}


def group_detail(call: Call, group: Group, volume_ids: Sequence[str]) -> dict[str, Any]:
    """Return what show and the long list show, by microversion."""
    view: dict[str, Any] = {
        "id": group.id,
        "status": group.status,
        "availability_zone": group.availability_zone,
        "created_at": wire_time(group.created_at),
        "name": group.name,
        "description": group.description,
        "group_type": group.group_type_id,
        "volume_types": group.volume_types,
    }
    if call.at_least(SOURCES_SINCE):
        view |= {"group_snapshot_id": group.group_snapshot_id, "source_group_id": group.source_group_id}
    if call.at_least(LIST_VOLUME_SINCE) and flag("list_volume", call.query.get("list_volume", "false")):
        view["volumes"] = list(volume_ids)
    if call.at_least(REPLICATION_SINCE):
        view["replication_status"] = "disabled"
    return view | _operators(call, "group:group_project_attribute", group)


def group_snapshot_summary(made: GroupSnapshot) -> dict[str, Any]:
    """Return what the short list shows."""
    return {"id": made.id, "name": made.name}


def group_snapshot_detail(call: Call, made: GroupSnapshot) -> dict[str, Any]:
    """Return what show and the long list show."""
    view = {
        "id": made.id,
        "group_id": made.group_id,
        "group_type_id": made.group_type_id,
        "status": made.status,
        "created_at": wire_time(made.created_at),
        "name": made.name,
        "description": made.description,
    }
    return view | _operators(call, "group:group_snapshot_project_attribute", made)


def _operators(call: Call, rule: str, row: Group | GroupSnapshot) -> dict[str, Any]:
    """Return what an operator sees, and why an error is one."""
    shown: dict[str, Any] = {}
    if call.at_least(PROJECT_SINCE) and allowed(call.caller, rule):
        shown["project_id"] = row.project_id
    if row.reason is not None:
        shown["openevs:reason"] = row.reason
    return shown


def group_type_view(call: Call, found: GroupType) -> dict[str, Any]:
    """Return a group type; its specs are an operator's business."""
    view: dict[str, Any] = {
        "id": found.id,
        "name": found.name,
        "description": found.description,
        "is_public": found.is_public,
    }
    if allowed(call.caller, "group:access_group_types_specs"):
        view["group_specs"] = found.group_specs
    return view
