"""Managing what is on storage: `os-volume-manage` and `os-snapshot-manage`, and their later names (3.8)."""

from functools import partial
from typing import Any

from openevs.api.call import Call, Reply, Route
from openevs.api.wire.bodies import check_uuid, flag, parse
from openevs.api.wire.managing import SnapshotManage, VolumeManage, manageable_view, page_of
from openevs.api.wire.snapshots import native_made
from openevs.api.wire.volumes import volume_detail
from openevs.domain.errors import InvalidInput, NotFound
from openevs.service import managing as service
from openevs.service.managing import NewManaged, NewManagedSnapshot


async def post_managed_volume(call: Call) -> Reply:
    """Manage a volume."""
    body = parse(call, "volume", VolumeManage)
    if body.cluster:
        raise InvalidInput("cluster", "this service has no clusters; give host.")
    new = NewManaged(
        ref=body.ref,
        host=body.host,
        name=body.name,
        description=body.description,
        volume_type=body.volume_type,
        availability_zone=body.availability_zone,
        metadata=body.metadata or {},
        bootable=body.bootable is not None and flag("bootable", body.bootable),
    )
    volume = await service.manage_volume(call.deps, call.caller, new)
    return Reply({"volume": volume_detail(call, volume)})


async def post_managed_snapshot(call: Call) -> Reply:
    """Manage a snapshot."""
    body = parse(call, "snapshot", SnapshotManage)
    check_uuid("volume_id", body.volume_id)
    new = NewManagedSnapshot(body.ref, body.volume_id, body.name, body.description, body.metadata or {})
    return Reply({"snapshot": native_made(call, await service.manage_snapshot(call.deps, call.caller, new))})


async def _list(kind: str, detailed: bool, call: Call) -> Reply:
    if call.query.get("cluster"):
        raise NotFound("cluster", call.query["cluster"][:64])
    found = await service.list_manageable(call.deps, call.caller, kind, call.query.get("host"))
    shown: list[Any] = [manageable_view(one, detailed=detailed) for one in page_of(call, found)]
    return Reply({f"manageable-{kind}s": shown})


async def list_volumes(call: Call) -> Reply:
    """List the volumes on storage."""
    return await _list("volume", False, call)


async def list_volumes_detail(call: Call) -> Reply:
    """List the volumes on storage with details."""
    return await _list("volume", True, call)


async def list_snapshots(call: Call) -> Reply:
    """List the snapshots on storage."""
    return await _list("snapshot", False, call)


async def list_snapshots_detail(call: Call) -> Reply:
    """List the snapshots on storage with details."""
    return await _list("snapshot", True, call)


_QUERY = ("host", "limit", "offset", "marker", "sort")


def _routes(volumes: str, snapshots: str, apis: tuple[str, ...], since: int) -> list[Route]:
    route = partial(Route, apis=apis, since=since, tag="Managing")
    volume_lists = partial(route, "GET", policy="volume_extension:list_manageable", query=_QUERY)
    snapshot_lists = partial(route, "GET", policy="snapshot_extension:list_manageable", query=_QUERY)
    return [
        volume_lists("{project_id}/" + volumes, list_volumes, 200, "List volumes on storage"),
        volume_lists(f"{{project_id}}/{volumes}/detail", list_volumes_detail, 200, "List them with details"),
        route("POST", "{project_id}/" + volumes, post_managed_volume, 202, "Manage a volume on storage",
              policy="volume_extension:volume_manage", body=VolumeManage),
        snapshot_lists("{project_id}/" + snapshots, list_snapshots, 200, "List snapshots on storage"),
        snapshot_lists(f"{{project_id}}/{snapshots}/detail", list_snapshots_detail, 200, "List them with details"),
        route("POST", "{project_id}/" + snapshots, post_managed_snapshot, 202, "Manage a snapshot on storage",
              policy="snapshot_extension:snapshot_manage", body=SnapshotManage),
    ]  # fmt: skip


ROUTES = [
    *_routes("os-volume-manage", "os-snapshot-manage", ("v2", "v3"), 0),
    *_routes("manageable_volumes", "manageable_snapshots", ("v3",), 8),
]
