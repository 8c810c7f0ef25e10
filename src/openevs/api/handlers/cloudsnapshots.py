"""Huawei's own snapshot resource, v2 and its v3 twin (spec 2.1.2): the same snapshots, other errors, always a count."""

from functools import partial

from openevs.api.call import Call, Reply, Route
from openevs.api.handlers.snapshots import accept_new, changes_of, warn_reserved
from openevs.api.wire.bodies import check_uuid, parse
from openevs.api.wire.lists import SNAPSHOT_LIST, list_query, page_reply
from openevs.api.wire.snapshot_replies import CloudSnapshots, RollbackBegun, SnapshotMade, SnapshotShown
from openevs.api.wire.snapshots import (
    SnapshotCreate,
    SnapshotRollback,
    SnapshotUpdate,
    cloud_list_item,
    snapshot_detail,
    snapshot_view,
)
from openevs.domain.errors import InvalidInput
from openevs.service import snapshots as service

SERVICE_TYPES = ("EVS", "DSS", "DESS")
OWN_PROJECTS = ("0", "all_granted_eps")
"""Enterprise projects in which everything is: there is only the default one."""
ELSEWHERE = ("dedicated_storage_id", "dedicated_storage_name")
"""Filters that select nothing here: there is no dedicated storage."""


async def post_cloudsnapshot(call: Call) -> Reply:
    """Create a snapshot."""
    return Reply({"snapshot": snapshot_view(await accept_new(call, parse(call, "snapshot", SnapshotCreate)))})


async def list_cloudsnapshots(call: Call) -> Reply:
    """List snapshots with all their fields and the number of all that fit."""
    query = list_query(call, SNAPSHOT_LIST)
    filters = dict(query.filters)
    if selects_nothing(call):
        filters["nothing"] = True
    query = query._replace(filters=filters, with_count=True, all_projects=False)
    rows, count = await service.list_snapshots(call.deps, call.caller, query)
    native = f"{call.base_url}/{call.api}/{call.path['project_id']}/snapshots/detail"
    return page_reply(call, query, "snapshots", [cloud_list_item(row) for row in rows], count, native)


def selects_nothing(call: Call) -> bool:
    """Say whether a list asks for what is elsewhere: in another service, storage or enterprise project.
    Raises InvalidInput."""
    service_type = call.query.get("service_type", "EVS")
    if service_type not in SERVICE_TYPES:
        raise InvalidInput("service_type", f"{service_type[:32]!r} is none of {', '.join(SERVICE_TYPES)}.")
    return (
        service_type != "EVS"
        or any(name in call.query for name in ELSEWHERE)
        or call.query.get("enterprise_project_id", "0") not in OWN_PROJECTS
    )


async def get_cloudsnapshot(call: Call) -> Reply:
    """Show a snapshot."""
    found = await service.get_snapshot(call.deps, call.caller, call.path["snapshot_id"])
    return Reply({"snapshot": snapshot_detail(found)})


async def put_cloudsnapshot(call: Call) -> Reply:
    """Change name or description."""
    changes = changes_of(parse(call, "snapshot", SnapshotUpdate))
    snapshot = await service.update_snapshot(call.deps, call.caller, call.path["snapshot_id"], changes)
    warn_reserved(call, changes.get("name"))
    return Reply({"snapshot": snapshot_view(snapshot)})


async def delete_cloudsnapshot(call: Call) -> Reply:
    """Delete a snapshot."""
    await service.delete_snapshot(call.deps, call.caller, call.path["snapshot_id"])
    return Reply()


async def post_rollback(call: Call) -> Reply:
    """Roll the snapshot's volume back to it."""
    body = parse(call, "rollback", SnapshotRollback)
    check_uuid("volume_id", body.volume_id, "EVS.1002")
    await service.rollback_snapshot(call.deps, call.caller, call.path["snapshot_id"], body.volume_id)
    return Reply({"rollback": {"volume_id": body.volume_id}})


_PATH = "{project_id}/cloudsnapshots"
_ONE = _PATH + "/{snapshot_id}"
_VENDOR = "{project_id}/os-vendor-snapshots/{snapshot_id}/rollback"
_QUERY = (
    "limit", "offset", "id", "name", "status", "volume_id", "availability_zone", "service_type", "dedicated_storage_id",
    "dedicated_storage_name", "enterprise_project_id",
)  # fmt: skip

_route = partial(Route, family="evs", tag="Cloud snapshots")
_rollback = partial(_route, "POST", policy="volume:revert_to_snapshot", body=SnapshotRollback, reply=RollbackBegun)

ROUTES = [
    _route("POST", _PATH, post_cloudsnapshot, 202, "Create a snapshot",
           policy="volume:create_snapshot", body=SnapshotCreate, reply=SnapshotMade),
    _route("GET", _PATH + "/detail", list_cloudsnapshots, 200, "List snapshots",
           policy="volume:get_all_snapshots", query=_QUERY, reply=CloudSnapshots),
    _route("GET", _ONE, get_cloudsnapshot, 200, "Show a snapshot", policy="volume:get_snapshot", reply=SnapshotShown),
    _route("PUT", _ONE, put_cloudsnapshot, 200, "Update a snapshot",
           policy="volume:update_snapshot", body=SnapshotUpdate, reply=SnapshotMade),
    _route("DELETE", _ONE, delete_cloudsnapshot, 202, "Delete a snapshot", policy="volume:delete_snapshot"),
    _rollback(path=_ONE + "/rollback", handler=post_rollback, status=202, summary="Roll a volume back"),
    _rollback(path=_VENDOR, handler=post_rollback, status=202, summary="Roll a volume back (older name)"),
]  # fmt: skip
