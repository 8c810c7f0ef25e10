"""Group snapshots (microversion 3.14)."""

from functools import partial
from typing import Any, Final

from openevs.api.call import Call, Reply, Route
from openevs.api.handlers.actions import Action, run_action
from openevs.api.wire.bodies import check_uuid, parse
from openevs.api.wire.groups import (
    GROUP_SNAPSHOT_LIST,
    GroupSnapshotCreate,
    StatusReset,
    group_snapshot_detail,
    group_snapshot_summary,
)
from openevs.api.wire.lists import list_query, page_reply
from openevs.service import group_snapshots as service
from openevs.service.consistency import (
    check_generic,
    check_generic_group,
    check_generic_group_snapshot,
    only_generic,
)
from openevs.service.group_snapshots import NewGroupSnapshot


async def post_group_snapshot(call: Call) -> Reply:
    """Take a snapshot of a group."""
    body = parse(call, "group_snapshot", GroupSnapshotCreate)
    check_uuid("group_id", body.group_id)
    await check_generic_group(call.deps, call.caller, body.group_id)
    new = NewGroupSnapshot(body.group_id, body.name, body.description)
    made = await service.create_group_snapshot(call.deps, call.caller, new)
    return Reply({"group_snapshot": {**group_snapshot_summary(made), "group_type_id": made.group_type_id}})


async def list_group_snapshots(call: Call, *, detailed: bool = False) -> Reply:
    """List group snapshots."""
    query = list_query(call, GROUP_SNAPSHOT_LIST)
    rows, count = await service.list_group_snapshots(call.deps, call.caller, only_generic(query))
    views = [group_snapshot_detail(call, row) if detailed else group_snapshot_summary(row) for row in rows]
    return page_reply(call, query, "group_snapshots", views, count, links_name="group_snapshot_links")


async def list_group_snapshots_detail(call: Call) -> Reply:
    """List group snapshots with details."""
    return await list_group_snapshots(call, detailed=True)


async def get_group_snapshot(call: Call) -> Reply:
    """Show a group snapshot."""
    found = await service.get_group_snapshot(call.deps, call.caller, call.path["group_snapshot_id"])
    check_generic(found)
    return Reply({"group_snapshot": group_snapshot_detail(call, found)})


async def delete_group_snapshot(call: Call) -> Reply:
    """Delete a group snapshot with its snapshots."""
    await check_generic_group_snapshot(call.deps, call.caller, call.path["group_snapshot_id"])
    await service.delete_group_snapshot(call.deps, call.caller, call.path["group_snapshot_id"])
    return Reply()


async def post_group_snapshot_action(call: Call) -> Reply:
    """Do what the body names."""
    return await run_action(call, GROUP_SNAPSHOT_ACTIONS)


async def _reset_status(call: Call, content: Any) -> Reply:
    status = parse(call, "reset_status", StatusReset).status.strip().lower()
    await service.reset_group_snapshot_status(call.deps, call.caller, call.path["group_snapshot_id"], status)
    return Reply()


GROUP_SNAPSHOT_ACTIONS: Final = {
    "reset_status": Action(_reset_status, policy="group:reset_group_snapshot_status", since=19)
}

_PATH: Final = "{project_id}/group_snapshots"
_ONE: Final = _PATH + "/{group_snapshot_id}"
_LIST = GROUP_SNAPSHOT_LIST.parameters()
_route = partial(Route, apis=("v3",), since=14, tag="Groups")

ROUTES = [
    _route("POST", _PATH, post_group_snapshot, 202, "Take a snapshot of a group",
           policy="group:create_group_snapshot", body=GroupSnapshotCreate),
    _route("GET", _PATH, list_group_snapshots, 200, "List group snapshots",
           policy="group:get_all_group_snapshots", query=_LIST),
    _route("GET", _PATH + "/detail", list_group_snapshots_detail, 200, "List group snapshots with details",
           policy="group:get_all_group_snapshots", query=_LIST),
    _route("GET", _ONE, get_group_snapshot, 200, "Show a group snapshot", policy="group:get_group_snapshot"),
    _route("DELETE", _ONE, delete_group_snapshot, 202, "Delete a group snapshot", policy="group:delete_group_snapshot"),
    _route("POST", _ONE + "/action", post_group_snapshot_action, 202, "Do something to a group snapshot",
           policy="reader", since=19, actions=GROUP_SNAPSHOT_ACTIONS),
]  # fmt: skip
