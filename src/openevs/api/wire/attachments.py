"""Attachments as the API writes them (spec 4.5)."""

from typing import Any

from msgspec import Struct

from openevs.api.call import Call
from openevs.api.wire.lists import Listing, same
from openevs.api.wire.times import wire_time
from openevs.domain.model import Attachment

ATTACHMENT_LIST = Listing(
    filters=same("id volume_id instance_id status attach_status project_id"),
    sort_keys={**same("id volume_id status created_at"), "attach_status": "status", "instance_id": "instance_uuid"},
)


class AttachmentCreate(Struct):
    """The body of a create, in its envelope `attachment`."""

    volume_uuid: str
    instance_uuid: str | None = None
    connector: dict[str, Any] | None = None
    mode: str | None = None


class AttachmentUpdate(Struct):
    """The body of an update, in its envelope `attachment`."""

    connector: dict[str, Any]


def attachment_summary(attachment: Attachment) -> dict[str, Any]:
    """Return what the short list shows."""
    return {
        "id": attachment.id,
        "status": attachment.status,
        "instance": attachment.instance_uuid,
        "volume_id": attachment.volume_id,
    }


def attachment_detail(call: Call, attachment: Attachment) -> dict[str, Any]:
    """Return all of an attachment. Cinder writes "" for times that have not come."""
    return {
        **attachment_summary(attachment),
        "attached_at": wire_time(attachment.attached_at) or "",
        "detached_at": wire_time(attachment.detached_at) or "",
        "attach_mode": attachment.mode,
        "connection_info": _flat(attachment, shown_connection(call, attachment.connection_info)),
    }


def shown_connection(call: Call, info: dict[str, Any] | None) -> dict[str, Any]:
    """Return how a volume is reached. Who may only look (`reader`) is not shown the key that lets them write."""
    if info is None:
        return {}
    if call.caller.can_write:
        return info
    return {**info, "data": {**info["data"], "tls_psk": None}}


def _flat(attachment: Attachment, info: dict[str, Any]) -> dict[str, Any]:
    """Cinder's attachments API shows the fields of `data` beside the driver's type, its older action below `data`.
    Both are here, so that one reader fits both."""
    return {**info["data"], **info, "attachment_id": attachment.id} if info else {}
