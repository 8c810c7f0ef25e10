"""Native volumes, v2 and v3 (spec 4.1 to 4.3)."""

from collections.abc import Sequence
from typing import Any, Final

from msgspec import UNSET, UnsetType

from openevs.api.call import Call, Reply, Route
from openevs.api.policy import allowed
from openevs.api.wire.bodies import check_uuid, flag, json_object, json_type, parse
from openevs.api.wire.lists import list_query, page_reply
from openevs.api.wire.volumes import (
    VOLUME_LIST,
    VolumeCreate,
    VolumeUpdate,
    volume_detail,
    volume_summary,
    volume_view,
    whole_number,
)
from openevs.domain.errors import Forbidden, InvalidInput, NotFound
from openevs.domain.model import Volume
from openevs.service import restoring
from openevs.service import volumes as service
from openevs.service.consistency import consistency_groups
from openevs.service.volumes import NewVolume

SCHEDULER_HINTS: Final = frozenset({"OS-SCH-HNT:scheduler_hints", "scheduler_hints"})
"""Keys beside `volume`. With one pool there is nothing to choose, so hints have no effect, as a hint may."""
BACKUP_SINCE: Final = 47
_SUMMARY: Final = VOLUME_LIST._replace(strict_since=None)
STRICT_SINCE: Final = 53
"""Microversion from which Cinder refuses unknown fields of a create."""
ABSENT: Final = {"imageRef": "image_ref", "image_id": "image_id", "source_replica": "source_replica"}
"""Fields of a create that ask for what OpenEVS does not have: name in the body → attribute."""

UNENCRYPTED: Final = {"encryption_key_id": None}
"""What is to be said of the encryption of a volume that has none."""


async def post_volume(call: Call) -> Reply:
    """Create a volume: empty, from a snapshot, or from another volume."""
    body = parse(call, "volume", VolumeCreate, beside=SCHEDULER_HINTS, strict_since=STRICT_SINCE)
    _refuse_absent(call, body)
    if call.strict:
        _check_strictly(call, body)
    size = None if body.size is None else whole_number("size", body.size, "EVS.1010", exact=call.strict)
    new = NewVolume(
        size_gib=size,
        name=_either(body.name, body.display_name),
        description=_either(body.description, body.display_description),
        volume_type=body.volume_type or None,
        availability_zone=body.availability_zone or None,
        metadata=body.metadata or {},
        snapshot_id=body.snapshot_id or None,
        source_volid=body.source_volid or None,
        group_id=body.group_id or body.consistencygroup_id or None,
        multiattach=any(flag(name, value) for name, value in _sharing(body).items() if value is not None),
    )
    if body.backup_id:
        volume = await restoring.create_volume_from_backup(call.deps, call.caller, new, _backup_id(call, body))
    else:
        volume = await service.create_volume(call.deps, call.caller, new)
    return Reply({"volume": volume_view(call, volume, (), await _consistent(call, [volume]))})


async def _consistent(call: Call, volumes: Sequence[Volume]) -> frozenset[str]:
    return await consistency_groups(call.deps, (volume.group_id for volume in volumes))


def _backup_id(call: Call, body: VolumeCreate) -> str:
    if not call.at_least(BACKUP_SINCE):
        raise InvalidInput("backup_id", f"a volume can be made from a backup from microversion 3.{BACKUP_SINCE} on.")
    if body.snapshot_id or body.source_volid:
        raise InvalidInput("backup_id", "a volume has one source: give only one of them.", "EVS.1016")
    return str(body.backup_id)


def _either(value: str | None, other: str | UnsetType | None) -> str | None:
    return value if value is not None or other is UNSET else other


def _sharing(body: VolumeCreate) -> dict[str, bool | str | int | None]:
    return {"multiattach": body.multiattach, "shareable": body.shareable}


def _refuse_absent(call: Call, body: VolumeCreate) -> None:
    for name, attribute in ABSENT.items():
        value = getattr(body, attribute)
        # An image's name that is empty is no image's: who forgot to fill it in must not get an empty volume.
        if value or (call.strict and value is not None):
            raise InvalidInput(
                name, "this service has none; a volume is made empty, or from snapshot_id or source_volid."
            )
    if body.count is not None and whole_number("count", body.count, "EVS.1021") != 1:
        raise InvalidInput("count", "this call creates one volume.", "EVS.1021")


def _check_strictly(call: Call, body: VolumeCreate) -> None:
    """Refuse what Cinder's v3 refuses, and what v2 and Huawei's own resources let pass."""
    for name in ("snapshot_id", "source_volid", "backup_id", "consistencygroup_id"):
        given = getattr(body, name)
        if given is not None:
            check_uuid(name, given)
    if body.availability_zone == "":
        raise InvalidInput("availability_zone", "it is empty; leave it out, or give null, for the service's own.")
    document = json_object(call)
    shared = document["volume"].get("multiattach", False)
    if not isinstance(shared, bool | str):
        raise InvalidInput("multiattach", f"it must be a boolean, not {json_type(shared)}.")
    for name in SCHEDULER_HINTS:
        if not isinstance(document.get(name), dict | None):
            raise InvalidInput(name, "it must be an object.")


async def list_volumes(call: Call) -> Reply:
    """List volumes."""
    query = list_query(call, VOLUME_LIST)
    rows, count = await service.list_volumes(call.deps, call.caller, query)
    return page_reply(call, query, "volumes", [volume_summary(call, row) for row in rows], count)


async def list_volumes_detail(call: Call) -> Reply:
    """List volumes with all their fields."""
    query = list_query(call, VOLUME_LIST)
    rows, attachments, count = await service.list_volumes_detail(call.deps, call.caller, query)
    consistent = await _consistent(call, rows)
    views = [volume_detail(call, row, attachments.get(row.id, ()), consistent) for row in rows]
    return page_reply(call, query, "volumes", views, count)


async def summarize_volumes(call: Call) -> Reply:
    """Show number and total size of volumes."""
    query = list_query(call, _SUMMARY)
    count, gib, metadata = await service.summarize_volumes(call.deps, call.caller, query)
    summary: dict[str, Any] = {"total_count": count, "total_size": gib}
    if call.at_least(36):
        summary["metadata"] = metadata
    return Reply({"volume-summary": summary})


async def get_volume(call: Call) -> Reply:
    """Show a volume."""
    volume, attachments = await service.show_volume(call.deps, call.caller, call.path["volume_id"])
    return Reply({"volume": volume_detail(call, volume, attachments, await _consistent(call, [volume]))})


async def get_encryption(call: Call) -> Reply:
    """Show how a volume is encrypted: none is."""
    await service.get_volume(call.deps, call.caller, call.path["volume_id"])
    return Reply(dict(UNENCRYPTED))


async def get_encryption_key(call: Call) -> Reply:
    """Show one property of a volume's encryption."""
    await service.get_volume(call.deps, call.caller, call.path["volume_id"])
    if call.path["key"] not in UNENCRYPTED:
        raise NotFound("encryption property", call.path["key"])
    return Reply(b"null", headers={"Content-Type": "application/json"})


async def put_volume(call: Call) -> Reply:
    """Change name, description or metadata."""
    body = parse(call, "volume", VolumeUpdate)
    changes: dict[str, Any] = {
        field: value
        for field, given in (
            ("name", (body.name, body.display_name)),
            ("description", (body.description, body.display_description)),
            ("metadata", (body.metadata,)),
        )
        for value in given[::-1]
        if value is not UNSET
    }
    if not changes and (not call.strict or call.at_least(STRICT_SINCE)):
        raise InvalidInput("volume", "it must have at least one of name, description and metadata.", "EVS.1007")
    volume, attachments = await service.update_volume(call.deps, call.caller, call.path["volume_id"], changes)
    return Reply({"volume": volume_view(call, volume, attachments, await _consistent(call, [volume]))})


async def delete_volume(call: Call) -> Reply:
    """Delete a volume; with `cascade` its snapshots too, with `force` (administrators, 3.23) in any status."""
    cascade = _wish(call, "cascade")
    force = call.at_least(23) and _wish(call, "force")
    if force and not allowed(call.caller, "volume:force_delete"):
        raise Forbidden("volume:force_delete")
    await service.delete_volume(call.deps, call.caller, call.path["volume_id"], cascade=cascade, force=force)
    return Reply()


def _wish(call: Call, name: str) -> bool:
    value = call.query.get(name)
    return value is not None and flag(name, value)


_PATH = "{project_id}/volumes"
_LIST = VOLUME_LIST.parameters()

ROUTES = [
    Route("POST", _PATH, post_volume, 202, "Create a volume", policy="volume:create", body=VolumeCreate, tag="Volumes"),
    Route("GET", _PATH, list_volumes, 200, "List volumes", policy="volume:get_all", query=_LIST, tag="Volumes"),
    Route("GET", _PATH + "/detail", list_volumes_detail, 200, "List volumes with details",
          policy="volume:get_all", query=_LIST, tag="Volumes"),
    Route("GET", _PATH + "/summary", summarize_volumes, 200, "Show number and size of volumes",
          apis=("v3",), policy="volume:get_all", since=12, query=_LIST, tag="Volumes"),
    Route("GET", _PATH + "/{volume_id}", get_volume, 200, "Show a volume", policy="volume:get", tag="Volumes"),
    Route("PUT", _PATH + "/{volume_id}", put_volume, 200, "Update a volume",
          policy="volume:update", body=VolumeUpdate, tag="Volumes"),
    Route("DELETE", _PATH + "/{volume_id}", delete_volume, 202, "Delete a volume",
          policy="volume:delete", query=("cascade", "force"), tag="Volumes"),
    Route("GET", _PATH + "/{volume_id}/encryption", get_encryption, 200, "Show a volume's encryption",
          policy="volume_extension:volume_encryption_metadata", tag="Volumes"),
    Route("GET", _PATH + "/{volume_id}/encryption/{key}", get_encryption_key, 200,
          "Show one property of a volume's encryption", policy="volume_extension:volume_encryption_metadata",
          tag="Volumes"),
]  # fmt: skip
