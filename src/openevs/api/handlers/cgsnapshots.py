"""Snapshots of consistency groups: group snapshots under their older names (`service/consistency.py`)."""

from functools import partial
from typing import Final

from openevs.api.call import Call, Reply, Route
from openevs.api.handlers.consistencygroups import LENIENT
from openevs.api.wire.bodies import parse
from openevs.api.wire.consistency import (
    CG_SNAPSHOT_LIST,
    CgSnapshotCreate,
    cg_snapshot_detail,
)
from openevs.api.wire.groups import group_snapshot_summary
from openevs.api.wire.lists import list_query
from openevs.service import group_snapshots as service
from openevs.service.group_snapshots import NewGroupSnapshot


async def post_cg_snapshot(call: Call) -> Reply:
    """Take a snapshot of a consistency group."""
    body = parse(call, "cgsnapshot", CgSnapshotCreate, strict_since=LENIENT)
    new = NewGroupSnapshot(body.consistencygroup_id, body.name, body.description)
    made = await service.create_group_snapshot(call.deps, call.caller, new)
    return Reply({"cgsnapshot": group_snapshot_summary(made)})


async def list_cg_snapshots(call: Call, *, detailed: bool = False) -> Reply:
    """List snapshots of consistency groups."""
    # The list has pages, but never had links to the next one.
    rows, _ = await service.list_group_snapshots(call.deps, call.caller, list_query(call, CG_SNAPSHOT_LIST))
    view = cg_snapshot_detail if detailed else group_snapshot_summary
    return Reply({"cgsnapshots": [view(row) for row in rows]})


async def list_cg_snapshots_detail(call: Call) -> Reply:
    """List snapshots of consistency groups with details."""
    return await list_cg_snapshots(call, detailed=True)


async def get_cg_snapshot(call: Call) -> Reply:
    """Show a snapshot of a consistency group."""
    found = await service.get_group_snapshot(call.deps, call.caller, call.path["cgsnapshot_id"])
    return Reply({"cgsnapshot": cg_snapshot_detail(found)})


async def delete_cg_snapshot(call: Call) -> Reply:
    """Delete a snapshot of a consistency group."""
    await service.delete_group_snapshot(call.deps, call.caller, call.path["cgsnapshot_id"])
    return Reply()


_PATH: Final = "{project_id}/cgsnapshots"
_ONE: Final = _PATH + "/{cgsnapshot_id}"
_LIST = CG_SNAPSHOT_LIST.parameters()
_route = partial(Route, apis=("v3",), tag="Consistency groups")

ROUTES = [
    _route("POST", _PATH, post_cg_snapshot, 202, "Take a snapshot of a consistency group",
           policy="group:create_group_snapshot", body=CgSnapshotCreate),
    _route("GET", _PATH, list_cg_snapshots, 200, "List snapshots of consistency groups",
           policy="group:get_all_group_snapshots", query=_LIST),
    _route("GET", _PATH + "/detail", list_cg_snapshots_detail, 200, "List snapshots of consistency groups with details",
           policy="group:get_all_group_snapshots", query=_LIST),
    _route("GET", _ONE, get_cg_snapshot, 200, "Show a snapshot of a consistency group",
           policy="group:get_group_snapshot"),
    _route("DELETE", _ONE, delete_cg_snapshot, 202, "Delete a snapshot of a consistency group",
           policy="group:delete_group_snapshot"),
]  # fmt: skip
