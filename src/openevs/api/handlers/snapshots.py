"""Native snapshots, v2 and v3 (spec 2.1.1)."""

from functools import partial

from msgspec import UNSET, UnsetType

from openevs.api.call import Call, Reply, Route
from openevs.api.wire.bodies import check_uuid, flag, parse
from openevs.api.wire.lists import SNAPSHOT_LIST, list_query, page_reply
from openevs.api.wire.snapshot_replies import SnapshotDetails, SnapshotMade, SnapshotShown, SnapshotSummaries
from openevs.api.wire.snapshots import SnapshotCreate, SnapshotUpdate, native_detail, native_made, snapshot_view
from openevs.domain.errors import InvalidInput, NotFound
from openevs.domain.model import Snapshot
from openevs.domain.rules import Force, is_reserved_name
from openevs.service import snapshots as service
from openevs.service.snapshots import NewSnapshot

RESERVED_WARNING = "names that begin like this are reserved for snapshots that backups make"


async def post_snapshot(call: Call) -> Reply:
    """Create a snapshot."""
    return Reply({"snapshot": native_made(call, await accept_new(call, parse(call, "snapshot", SnapshotCreate)))})


async def accept_new(call: Call, body: SnapshotCreate) -> Snapshot:
    """Return the snapshot that a create, in any family, has begun."""
    volume_id = body.volume_id
    if volume_id is None and call.family == "native":
        raise NotFound("volume", "None")  # as in Cinder, which takes null for an id that nothing has
    if volume_id is None:
        raise InvalidInput("volume_id", "it must be text, not null.", "EVS.1018")
    check_uuid("volume_id", volume_id, "EVS.1002")
    name = body.name if body.name is not None or body.display_name is UNSET else body.display_name
    new = NewSnapshot(
        volume_id=volume_id,
        name=name,
        description=body.description,
        metadata=body.metadata or {},
        force=_force(call, body.force),
    )
    snapshot = await service.create_snapshot(call.deps, call.caller, new)
    warn_reserved(call, snapshot.name)
    return snapshot


def warn_reserved(call: Call, name: str | None) -> None:
    """Tell the client that its snapshot has a reserved name."""
    if is_reserved_name(name):
        call.warnings.append(RESERVED_WARNING)


def _force(call: Call, value: bool | str | UnsetType) -> Force:
    """Below 3.66 `force` decides; from there on an attached volume needs none, and `false` is an error."""
    given = value is not UNSET
    wanted = not isinstance(value, UnsetType) and flag("force", value)
    if not call.at_least(66):
        return "yes" if wanted else "no"
    if given and not wanted:
        raise InvalidInput("force", "from microversion 3.66 on it may not be false.")
    return "implied"


async def list_snapshots(call: Call, *, detailed: bool = False) -> Reply:
    """List snapshots."""
    query = list_query(call, SNAPSHOT_LIST)
    rows, count = await service.list_snapshots(call.deps, call.caller, query)
    views = [native_detail(call, row) if detailed else snapshot_view(row) for row in rows]
    return page_reply(call, query, "snapshots", views, count)


async def list_snapshots_detail(call: Call) -> Reply:
    """List snapshots with all their fields."""
    return await list_snapshots(call, detailed=True)


async def get_snapshot(call: Call) -> Reply:
    """Show a snapshot."""
    snapshot = await service.get_snapshot(call.deps, call.caller, call.path["snapshot_id"])
    return Reply({"snapshot": native_detail(call, snapshot)})


async def put_snapshot(call: Call) -> Reply:
    """Change name or description."""
    changes = changes_of(parse(call, "snapshot", SnapshotUpdate))
    snapshot = await service.update_snapshot(call.deps, call.caller, call.path["snapshot_id"], changes)
    warn_reserved(call, changes.get("name"))
    return Reply({"snapshot": native_made(call, snapshot)})


def changes_of(body: SnapshotUpdate) -> dict[str, str | None]:
    """Return which of name and description an update gives; the v1 names count only where those are not given.
    Raises InvalidInput if it gives none."""
    given = {
        "name": (body.name, body.display_name),
        "description": (body.description, body.display_description),
    }
    changes = {
        field: value for field, values in given.items() for value in values[::-1] if not isinstance(value, UnsetType)
    }
    if not changes:
        raise InvalidInput("snapshot", "it must have at least one of name and description.", "EVS.1070")
    return changes


async def delete_snapshot(call: Call) -> Reply:
    """Delete a snapshot."""
    await service.delete_snapshot(call.deps, call.caller, call.path["snapshot_id"])
    return Reply()


_PATH = "{project_id}/snapshots"
_ONE = _PATH + "/{snapshot_id}"
_LIST = SNAPSHOT_LIST.parameters()
_route = partial(Route, tag="Snapshots")

ROUTES = [
    _route("POST", _PATH, post_snapshot, 202, "Create a snapshot",
           policy="volume:create_snapshot", body=SnapshotCreate, reply=SnapshotMade),
    _route("GET", _PATH, list_snapshots, 200, "List snapshots",
           policy="volume:get_all_snapshots", query=_LIST, reply=SnapshotSummaries),
    _route("GET", _PATH + "/detail", list_snapshots_detail, 200, "List snapshots with details",
           policy="volume:get_all_snapshots", query=_LIST, reply=SnapshotDetails),
    _route("GET", _ONE, get_snapshot, 200, "Show a snapshot", policy="volume:get_snapshot", reply=SnapshotShown),
    _route("PUT", _ONE, put_snapshot, 200, "Update a snapshot",
           policy="volume:update_snapshot", body=SnapshotUpdate, reply=SnapshotMade),
    _route("DELETE", _ONE, delete_snapshot, 202, "Delete a snapshot", policy="volume:delete_snapshot"),
]  # fmt: skip
