"""Volumes as the API writes them: which field stands where, by API, microversion and role (spec 1.6, 4.3)."""

from collections.abc import Collection, Sequence
from typing import Any, Final

from msgspec import UNSET, Struct, UnsetType, field

from openevs.api.call import Call
from openevs.api.policy import allowed
from openevs.api.wire.bodies import flag
from openevs.api.wire.lists import Listing, read_texts, same
from openevs.api.wire.times import wire_time
from openevs.domain.backends import pool_name, service_uuid
from openevs.domain.errors import InvalidInput
from openevs.domain.model import Attachment, Volume

_LONGEST_NUMBER: Final = 12


class VolumeCreate(Struct):
    """The body of a create, in its envelope `volume`. What OpenEVS does not have is here to be refused by name."""

    size: int | float | str | None = None
    name: str | None = None
    display_name: str | UnsetType | None = UNSET
    description: str | None = None
    display_description: str | UnsetType | None = UNSET
    volume_type: str | None = None
    availability_zone: str | None = None
    metadata: dict[str, Any] | None = None
    snapshot_id: str | None = None
    source_volid: str | None = None
    multiattach: bool | str | int | None = None
    shareable: bool | str | int | None = None
    count: int | str | None = None
    image_ref: str | None = field(default=None, name="imageRef")
    image_id: str | None = None
    backup_id: str | None = None
    source_replica: str | None = None
    consistencygroup_id: str | None = None
    group_id: str | None = None


class VolumeUpdate(Struct):
    """The body of an update, in its envelope `volume`."""

    name: str | UnsetType | None = UNSET
    description: str | UnsetType | None = UNSET
    display_name: str | UnsetType | None = UNSET
    display_description: str | UnsetType | None = UNSET
    metadata: dict[str, Any] | UnsetType = UNSET


def whole_number(name: str, value: float | str, code: str | None = None, *, exact: bool = False) -> int:
    """Return a number that may have been sent as text. Decimals are cut off, as EVS says, and blanks too; where the
    number has to be `exact`, as for Cinder, they are refused. Raises InvalidInput."""
    if exact and isinstance(value, float):
        raise InvalidInput(name, f"{value!r} is not a whole number.", code)
    if isinstance(value, str):
        text = value if exact else value.strip()
        if not (text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER):
            raise InvalidInput(name, f"{value[:32]!r} is not a whole number.", code)
        return int(text)
    return int(value)


VOLUME_LIST = Listing(
    filters={
        "name": "name",
        "display_name": "name",
        **same("status id user_id project_id"),
        "size": "size_gib",
        **same("bootable multiattach volume_type availability_zone snapshot_id source_volid group_id"),
        "glance_metadata": "image_metadata",
        **same("consumes_quota migration_status"),
    },
    like={"name": "name_like", "display_name": "name_like", "status": "status_like", "description": "description_like"},
    sort_keys={
        **same("id name status created_at updated_at bootable volume_type availability_zone description"),
        **same("user_id project_id"),
        "display_name": "name",
        "size": "size_gib",
    },
    time_filters=("created_at", "updated_at"),
    metadata_since=0,
    parse={
        "glance_metadata": read_texts,
        "consumes_quota": flag,
        "bootable": flag,
        "multiattach": flag,
        "size": whole_number,
    },
)


def volume_summary(call: Call, volume: Volume) -> dict[str, Any]:
    """Return what the short list shows."""
    return {"id": volume.id, "name": volume.name, "links": call.links(volume.project_id, "volumes", volume.id)}


def attachment_entry(attachment: Attachment) -> dict[str, Any]:
    """Return an attachment as it stands in its volume."""
    return {
        "id": attachment.volume_id,
        "attachment_id": attachment.id,
        "volume_id": attachment.volume_id,
        "server_id": attachment.instance_uuid,
        "host_name": attachment.host_name,
        "device": attachment.mountpoint,
        "attached_at": wire_time(attachment.attached_at),
    }


def shown_metadata(volume: Volume, attached: Sequence[Attachment]) -> dict[str, str]:
    """Return a volume's metadata, and with it how it is attached and whether it is read-only (spec 4.4)."""
    shown = dict(volume.metadata)
    if attached:
        shown["attached_mode"] = attached[0].mode
    if attached or volume.readonly:
        shown["readonly"] = str(volume.readonly or any(one.mode == "ro" for one in attached))
    return shown


def volume_view(
    call: Call, volume: Volume, attachments: Sequence[Attachment] = (), consistent: Collection[str] = ()
) -> dict[str, Any]:
    """Return the fields that every answer with a whole volume has, by microversion. `consistent`: which groups of
    those at hand are consistency groups."""
    # One that is being disconnected is still attached; one that never was is only a reservation.
    attached = [one for one in attachments if one.status in ("attached", "detaching") and one.attached_at]
    view: dict[str, Any] = {
        "id": volume.id,
        "status": volume.status,
        "size": volume.size_gib,
        "availability_zone": volume.availability_zone,
        "created_at": wire_time(volume.created_at),
        "updated_at": wire_time(volume.updated_at),
        "name": volume.name,
        "description": volume.description,
        "volume_type": volume.volume_type,
        "snapshot_id": volume.snapshot_id,
        "source_volid": volume.source_volid,
        "metadata": shown_metadata(volume, attached),
        "links": call.links(volume.project_id, "volumes", volume.id),
        "user_id": volume.user_id,
        "bootable": "true" if volume.bootable else "false",
        "encrypted": False,
        "replication_status": "disabled",
        "consistencygroup_id": volume.group_id if volume.group_id in consistent else None,
        "multiattach": volume.multiattach,
        "attachments": [attachment_entry(one) for one in attached],
    }
    if allowed(call.caller, MIGRATION_RULE):
        view["migration_status"] = volume.migration_status
    if call.at_least(13):
        view["group_id"] = volume.group_id
    if call.at_least(48):
        # There are no targets that several volumes share, so a client need not lock against its own other volumes.
        view |= {"shared_targets": False, "service_uuid": service_uuid(_backend(call, volume))}
    for since, rule, more in _LATER_FIELDS:
        if call.at_least(since) and (rule is None or allowed(call.caller, rule)):
            view |= more
    if call.at_least(63):
        view["volume_type_id"] = volume.type_id
    return view


HOST_RULE: Final = "volume_extension:volume_host_attribute"
MIGRATION_RULE: Final = "volume_extension:volume_mig_status_attribute"
_LATER_FIELDS: Final[tuple[tuple[int, str | None, dict[str, Any]], ...]] = (
    (21, HOST_RULE, {"provider_id": None}),
    (61, HOST_RULE, {"cluster_name": None}),
    (65, None, {"consumes_quota": True}),
)
"""Microversion, rule if not everybody sees them, fields. `encryption_key_id` (3.64) is shown of encrypted volumes only,
and there are none."""


def _backend(call: Call, volume: Volume) -> str:
    return volume.backend or call.deps.backends[0]


def volume_detail(
    call: Call, volume: Volume, attachments: Sequence[Attachment] = (), consistent: Collection[str] = ()
) -> dict[str, Any]:
    """Return what show and the long list add: Cinder's extended attributes, and why an error is one.

    v3 shows those of the host to administrators, as Cinder does; v2 shows them to everybody, as EVS documents."""
    view = volume_view(call, volume, attachments, consistent)
    view["os-vol-tenant-attr:tenant_id"] = volume.project_id
    if call.api == "v2":
        view |= {
            "os-vol-host-attr:host": f"{volume.availability_zone}#{volume.volume_type}",
            "os-vol-mig-status-attr:migstat": volume.migration_status,
            "os-vol-mig-status-attr:name_id": None,
            "os-volume-replication:extended_status": None,
            "storage_cluster_id": None,
            "shareable": volume.multiattach,
        }
    elif allowed(call.caller, HOST_RULE):
        view["os-vol-host-attr:host"] = pool_name(_backend(call, volume))
        view["os-vol-mig-status-attr:migstat"] = volume.migration_status
        view["os-vol-mig-status-attr:name_id"] = None
    if volume.image_metadata or call.api == "v2":
        view["volume_image_metadata"] = volume.image_metadata
    if volume.reason is not None and call.shows_own:
        view["openevs:reason"] = volume.reason
    return view
