"""Groups of volumes (microversion 3.13), and making one from another (3.14)."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from msgspec import UNSET, UnsetType

from openevs.api.call import Call, Reply, Route
from openevs.api.handlers.actions import Action, run_action
from openevs.api.wire.bodies import check_uuid, flag, given, parse
from openevs.api.wire.groups import (
    GROUP_LIST,
    GroupCopy,
    GroupCreate,
    GroupDelete,
    GroupUpdate,
    StatusReset,
    group_detail,
    group_summary,
)
from openevs.api.wire.lists import list_query, page_reply
from openevs.domain.errors import InvalidInput
from openevs.service import groups as service
from openevs.service.consistency import (
    check_generic,
    check_generic_group,
    check_generic_group_snapshot,
    check_generic_type,
    only_generic,
)
from openevs.service.copying import NewCopy, copy_group
from openevs.service.groups import GroupChange, NewGroup


async def post_group(call: Call) -> Reply:
    """Make a group."""
    body = parse(call, "group", GroupCreate)
    if not body.group_type.strip():
        raise InvalidInput("group_type", "it may not be empty.")
    check_generic_type(body.group_type.strip())
    if not body.volume_types or len(set(body.volume_types)) < len(body.volume_types):
        raise InvalidInput("volume_types", "it must have at least one type, and none twice.")
    new = NewGroup(
        body.group_type.strip(), body.volume_types, body.name, body.description, body.availability_zone or None
    )
    return Reply({"group": group_summary(await service.create_group(call.deps, call.caller, new))})


async def list_groups(call: Call, *, detailed: bool = False) -> Reply:
    """List groups."""
    query = only_generic(list_query(call, GROUP_LIST))
    rows, members, count = await service.list_groups(call.deps, call.caller, query)
    views = [group_detail(call, row, members.get(row.id, ())) if detailed else group_summary(row) for row in rows]
    return page_reply(call, query, "groups", views, count, links_name="group_links")


async def list_groups_detail(call: Call) -> Reply:
    """List groups with details."""
    return await list_groups(call, detailed=True)


async def get_group(call: Call) -> Reply:
    """Show a group."""
    group, members = await service.get_group(call.deps, call.caller, call.path["group_id"])
    check_generic(group)
    return Reply({"group": group_detail(call, group, members)})


async def put_group(call: Call) -> Reply:
    """Change name or description; let volumes join or leave."""
    body = parse(call, "group", GroupUpdate)
    texts = given(body, "name", "description")
    change = change_of("group", body, texts)
    await check_generic_group(call.deps, call.caller, call.path["group_id"])
    await service.update_group(call.deps, call.caller, call.path["group_id"], change)
    return Reply()


def change_of(envelope: str, body: GroupUpdate, texts: Mapping[str, str | None]) -> GroupChange:
    """Return what an update asks for: these texts, and volumes to join and to leave. Raises InvalidInput if that is
    nothing."""
    change = GroupChange(
        texts, _volume_ids("add_volumes", body.add_volumes), _volume_ids("remove_volumes", body.remove_volumes)
    )
    if not any(change):
        raise InvalidInput(envelope, "it must have at least one of name, description, add_volumes and remove_volumes.")
    return change


def _volume_ids(name: str, text: str | UnsetType | None) -> list[str]:
    """Return the ids in a text, which has commas between them. Raises InvalidInput."""
    if text is UNSET or not text:
        return []
    ids = [part.strip() for part in str(text).strip(",").split(",")]
    for one in ids:
        check_uuid(name, one)
    return list(dict.fromkeys(ids))


async def post_groups_action(call: Call) -> Reply:
    """Make a group from something."""
    return await run_action(call, GROUPS_ACTIONS)


async def post_group_action(call: Call) -> Reply:
    """Do what the body names."""
    return await run_action(call, GROUP_ACTIONS)


async def _create_from_src(call: Call, content: Any) -> Reply:
    body = parse(call, "create-from-src", GroupCopy)
    for name in ("group_snapshot_id", "source_group_id"):
        given = getattr(body, name)
        if given is not None:
            check_uuid(name, given)
    if body.group_snapshot_id is not None:
        await check_generic_group_snapshot(call.deps, call.caller, body.group_snapshot_id)
    if body.source_group_id is not None:
        await check_generic_group(call.deps, call.caller, body.source_group_id)
    new = NewCopy(body.group_snapshot_id, body.source_group_id, body.name, body.description)
    return Reply({"group": group_summary(await copy_group(call.deps, call.caller, new))})


async def _delete(call: Call, content: Any) -> Reply:
    with_volumes = flag("delete-volumes", parse(call, "delete", GroupDelete).delete_volumes)
    await check_generic_group(call.deps, call.caller, call.path["group_id"])
    await service.delete_group(call.deps, call.caller, call.path["group_id"], with_volumes=with_volumes)
    return Reply()


async def _reset_status(call: Call, content: Any) -> Reply:
    status = parse(call, "reset_status", StatusReset).status.strip().lower()
    await service.reset_group_status(call.deps, call.caller, call.path["group_id"], status)
    return Reply()


async def _replicate(call: Call, content: Any) -> Reply:
    await service.refuse_replication(call.deps, call.caller, call.path["group_id"])
    return Reply()


GROUPS_ACTIONS: Final = {"create-from-src": Action(_create_from_src, policy="group:create", since=14)}
GROUP_ACTIONS: Final = {
    "delete": Action(_delete, policy="group:delete"),
    "reset_status": Action(_reset_status, policy="group:reset_status", since=20),
    "enable_replication": Action(_replicate, policy="group:enable_replication", since=38),
    "disable_replication": Action(_replicate, policy="group:disable_replication", since=38),
    "failover_replication": Action(_replicate, policy="group:failover_replication", since=38),
    "list_replication_targets": Action(_replicate, policy="group:list_replication_targets", since=38),
}

_PATH: Final = "{project_id}/groups"
_ONE: Final = _PATH + "/{group_id}"
_LIST = GROUP_LIST.parameters()
_route = partial(Route, apis=("v3",), since=13, tag="Groups")

ROUTES = [
    _route("POST", _PATH, post_group, 202, "Make a group", policy="group:create", body=GroupCreate),
    _route("GET", _PATH, list_groups, 200, "List groups", policy="group:get_all", query=_LIST),
    _route("GET", _PATH + "/detail", list_groups_detail, 200, "List groups with details",
           policy="group:get_all", query=_LIST),
    _route("GET", _ONE, get_group, 200, "Show a group", policy="group:get", query=("list_volume",)),
    _route("PUT", _ONE, put_group, 202, "Change a group and its volumes", policy="group:update", body=GroupUpdate),
    _route("POST", _PATH + "/action", post_groups_action, 202, "Make a group from another or from a group snapshot",
           policy="reader", since=14, actions=GROUPS_ACTIONS),
    _route("POST", _ONE + "/action", post_group_action, 202, "Do something to a group",
           policy="reader", actions=GROUP_ACTIONS),
]  # fmt: skip
