"""Native snapshots, v2 and v3 (spec 2.1.1)."""

from typing import Any

from msgspec import UNSET

from openevs.api.call import Call, Reply, Route
from openevs.api.wire.bodies import flag, parse
from openevs.api.wire.lists import SNAPSHOT_LIST, list_query, page_links
from openevs.api.wire.snapshots import SnapshotCreate, SnapshotUpdate, native_detail, snapshot_view
from openevs.domain.errors import InvalidInput
from openevs.domain.rules import Force, is_reserved_name
from openevs.service import snapshots as service
from openevs.service.snapshots import NewSnapshot

RESERVED_WARNING = "names that begin like this are reserved for snapshots that backups make"


async def post_snapshot(call: Call) -> Reply:
    """Create a snapshot."""
    body = parse(call, "snapshot", SnapshotCreate)
    name = body.name if body.name is not None or body.display_name is UNSET else body.display_name
    new = NewSnapshot(
        volume_id=body.volume_id,
        name=name,
        description=body.description,
        metadata=body.metadata or {},
        force=_force(call, body.force),
    )
    snapshot = await service.create_snapshot(call.deps, call.caller, new)
    warn_reserved(call, snapshot.name)
    return Reply({"snapshot": snapshot_view(snapshot)})


def warn_reserved(call: Call, name: str | None) -> None:
    """Tell the client that its snapshot has a reserved name."""
    if is_reserved_name(name):
        call.warnings.append(RESERVED_WARNING)


def _force(call: Call, value: Any) -> Force:
    """Below 3.66 `force` decides; from there on an attached volume needs none, and `false` is an error."""
    given = value is not UNSET and value is not None
    wanted = flag("force", value) if given else False
    if not call.at_least(66):
        return "yes" if wanted else "no"
    if given and not wanted:
        raise InvalidInput("force", "from microversion 3.66 on it may not be false.")
    return "implied"


async def list_snapshots(call: Call) -> Reply:
    """List snapshots."""
    return await _list(call, detail=False)


async def list_snapshots_detail(call: Call) -> Reply:
    """List snapshots with all their fields."""
    return await _list(call, detail=True)


async def _list(call: Call, *, detail: bool) -> Reply:
    query = list_query(call, SNAPSHOT_LIST)
    rows, count = await service.list_snapshots(call.deps, call.caller, query)
    minor = call.version[1]
    views = [native_detail(row, call.api, minor) if detail else snapshot_view(row) for row in rows]
    body: dict[str, Any] = {"snapshots": views}
    links = page_links(call, query, [row.id for row in rows], count)
    if links:
        body["snapshots_links"] = links
    if count is not None:
        body["count"] = count
    return Reply(body)


async def get_snapshot(call: Call) -> Reply:
    """Show a snapshot."""
    snapshot = await service.get_snapshot(call.deps, call.caller, call.path["snapshot_id"])
    return Reply({"snapshot": native_detail(snapshot, call.api, call.version[1])})


async def put_snapshot(call: Call) -> Reply:
    """Change name or description."""
    body = parse(call, "snapshot", SnapshotUpdate)
    changes = {
        field: value
        for field, given in (
            ("name", (body.name, body.display_name)),
            ("description", (body.description, body.display_description)),
        )
        for value in given[::-1]
        if value is not UNSET
    }
    if not changes:
        raise InvalidInput("snapshot", "it must have at least one of name and description.")
    snapshot = await service.update_snapshot(call.deps, call.caller, call.path["snapshot_id"], changes)
    if "name" in changes:
        warn_reserved(call, snapshot.name)
    return Reply({"snapshot": snapshot_view(snapshot)})


async def delete_snapshot(call: Call) -> Reply:
    """Delete a snapshot."""
    await service.delete_snapshot(call.deps, call.caller, call.path["snapshot_id"])
    return Reply()


_PATH = "{project_id}/snapshots"
_LIST_QUERY = (
    "limit",
    "offset",
    "marker",
    "sort",
    "sort_key",
    "sort_dir",
    "name",
    "status",
    "volume_id",
    "all_tenants",
)

ROUTES = [
    Route("POST", _PATH, post_snapshot, 202, "Create a snapshot", body=SnapshotCreate, tag="Snapshots"),
    Route("GET", _PATH, list_snapshots, 200, "List snapshots", policy="reader", query=_LIST_QUERY, tag="Snapshots"),
    Route(
        "GET",
        _PATH + "/detail",
        list_snapshots_detail,
        200,
        "List snapshots with details",
        policy="reader",
        query=_LIST_QUERY,
        tag="Snapshots",
    ),
    Route("GET", _PATH + "/{snapshot_id}", get_snapshot, 200, "Show a snapshot", policy="reader", tag="Snapshots"),
    Route(
        "PUT", _PATH + "/{snapshot_id}", put_snapshot, 200, "Update a snapshot", body=SnapshotUpdate, tag="Snapshots"
    ),
    Route("DELETE", _PATH + "/{snapshot_id}", delete_snapshot, 202, "Delete a snapshot", tag="Snapshots"),
]
