"""Huawei's own volume resource (spec 4.1 to 4.3): the same volumes, but whoever changes them is given a job."""

from functools import partial
from typing import Any, Final

from openevs.api.call import Call, Reply, Route
from openevs.api.handlers.cloudsnapshots import selects_nothing
from openevs.api.wire.bodies import flag, given, json_object, parse
from openevs.api.wire.cloudvolumes import CLOUD_VOLUME_LIST, CloudVolumeCreate, Extend, cloud_volume
from openevs.api.wire.lists import list_query, page_reply
from openevs.api.wire.volumes import VolumeUpdate, volume_summary, whole_number
from openevs.domain.errors import InvalidInput
from openevs.service import volumes as service
from openevs.service.jobs import job_of
from openevs.service.queries import ListQuery
from openevs.service.volumes import NewVolume

ABSENT: Final = {
    "imageRef": "image_ref",
    "backup_id": "backup_id",
    "tags": "tags",
    "iops": "iops",
    "throughput": "throughput",
}
"""Fields of a create that ask for what OpenEVS does not have: name in the body → attribute."""


async def post_cloudvolume(call: Call) -> Reply:
    """Create a volume: empty, or from a snapshot."""
    body = parse(call, "volume", CloudVolumeCreate)
    _refuse_absent(json_object(call), body)
    volume = await service.create_volume(
        call.deps,
        call.caller,
        NewVolume(
            size_gib=None if body.size is None else whole_number("size", body.size, "EVS.1010"),
            name=body.name,
            description=body.description,
            volume_type=body.volume_type,
            availability_zone=body.availability_zone,
            metadata=body.metadata or {},
            snapshot_id=body.snapshot_id or None,
            multiattach=any(
                flag(name, value)
                for name, value in (("multiattach", body.multiattach), ("shareable", body.shareable))
                if value is not None
            ),
        ),
    )
    return await _job(call, "create_volume", volume.id, volume_ids=[volume.id])


def _refuse_absent(document: dict[str, Any], body: CloudVolumeCreate) -> None:
    for name, attribute in ABSENT.items():
        if getattr(body, attribute):
            raise InvalidInput(name, "this service has none.")
    if body.count is not None and whole_number("count", body.count, "EVS.1021") != 1:
        raise InvalidInput("count", "this service creates one volume a call.", "EVS.1021")
    if document.get("server_id"):
        raise InvalidInput("server_id", "this service has no servers; attach the volume when it is available.")
    billing = document.get("bssParam")
    if isinstance(billing, dict) and billing.get("chargingMode", "postPaid") != "postPaid":
        raise InvalidInput("bssParam.chargingMode", "nothing is paid for here; only 'postPaid' is taken.")


async def _job(call: Call, kind: str, volume_id: str, **beside: Any) -> Reply:
    # The later version of a call says more, and that its work is only accepted.
    job_id = await job_of(call.deps, kind, volume_id)
    return Reply({"job_id": job_id, **beside}, 202) if call.api == "v2.1" else Reply({"job_id": job_id})


def _query(call: Call) -> ListQuery:
    query = list_query(call, CLOUD_VOLUME_LIST)
    filters = dict(query.filters)
    if "ids" in filters:
        filters.pop("id", None)
    if "volume_type_id" in call.query:
        filters["type_id"] = call.query["volume_type_id"]
    if selects_nothing(call):
        filters["nothing"] = True
    return query._replace(filters=filters, with_count=True, all_projects=False)


async def list_cloudvolumes(call: Call) -> Reply:
    """List volumes (deprecated by EVS)."""
    query = _query(call)
    rows, count = await service.list_volumes(call.deps, call.caller, query)
    return page_reply(call, query, "volumes", [volume_summary(call, row) for row in rows], count)


async def list_cloudvolumes_detail(call: Call) -> Reply:
    """List volumes with all their fields and the number of all that fit."""
    query = _query(call)
    rows, attachments, count = await service.list_volumes_detail(call.deps, call.caller, query)
    views = [cloud_volume(call, row, attachments.get(row.id, ())) for row in rows]
    return page_reply(call, query, "volumes", views, count)


async def get_cloudvolume(call: Call) -> Reply:
    """Show a volume."""
    volume, attachments = await service.show_volume(call.deps, call.caller, call.path["volume_id"])
    return Reply({"volume": cloud_volume(call, volume, attachments)})


async def put_cloudvolume(call: Call) -> Reply:
    """Change name or description. The answer has no envelope, as EVS documents."""
    body = parse(call, "volume", VolumeUpdate)
    changes = given(body, "name", "description", "metadata")
    volume, attachments = await service.update_volume(call.deps, call.caller, call.path["volume_id"], changes)
    return Reply(cloud_volume(call, volume, attachments))


async def delete_cloudvolume(call: Call) -> Reply:
    """Delete a volume."""
    volume_id = call.path["volume_id"]
    cascade = flag("cascade", call.query.get("cascade") or False)
    await service.delete_volume(call.deps, call.caller, volume_id, cascade=cascade)
    return await _job(call, "delete_volume", volume_id)


async def post_cloudvolume_action(call: Call) -> Reply:
    """Extend a volume."""
    body = parse(call, "os-extend", Extend)
    volume_id = call.path["volume_id"]
    new_size = whole_number("new_size", body.new_size, "EVS.1010")
    await service.extend_volume(call.deps, call.caller, volume_id, new_size, attached=True)
    return await _job(call, "extend_volume", volume_id)


_PATH: Final = "{project_id}/cloudvolumes"
_ONE: Final = _PATH + "/{volume_id}"
_VENDOR: Final = "{project_id}/os-vendor-volumes"
_QUERY: Final = (
    "marker", "limit", "offset", "name", "status", "availability_zone", "metadata", "multiattach", "service_type",
    "dedicated_storage_id", "dedicated_storage_name", "volume_type_id", "id", "ids", "enterprise_project_id",
    "server_id", "sort_key", "sort_dir",
)  # fmt: skip
_route = partial(Route, apis=("v2",), family="evs", tag="Cloud volumes")

ROUTES = [
    _route("POST", _PATH, post_cloudvolume, 200, "Create a volume",
           policy="volume:create", body=CloudVolumeCreate, apis=("v2", "v2.1", "v3")),
    _route("GET", _PATH, list_cloudvolumes, 200, "List volumes", policy="volume:get_all", query=_QUERY),
    _route("GET", _PATH + "/detail", list_cloudvolumes_detail, 200, "List volumes with details",
           policy="volume:get_all", query=_QUERY),
    _route("GET", _ONE, get_cloudvolume, 200, "Show a volume", policy="volume:get"),
    _route("PUT", _ONE, put_cloudvolume, 200, "Update a volume", policy="volume:update", body=VolumeUpdate),
    _route("DELETE", _ONE, delete_cloudvolume, 200, "Delete a volume", policy="volume:delete", query=("cascade",)),
    _route("POST", _ONE + "/action", post_cloudvolume_action, 200, "Extend a volume",
           policy="volume:extend", body=Extend, apis=("v2", "v2.1")),
    _route("GET", _VENDOR + "/detail", list_cloudvolumes_detail, 200, "List volumes (older name)",
           policy="volume:get_all", apis=("v2", "v3")),
    _route("GET", _VENDOR + "/{volume_id}", get_cloudvolume, 200, "Show a volume (older name)",
           policy="volume:get", apis=("v2", "v3")),
]  # fmt: skip
