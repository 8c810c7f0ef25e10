"""Attachments, v3 from microversion 3.27 on (spec 4.5)."""

from functools import partial
from typing import Final

from openevs.api.call import Call, Reply, Route
from openevs.api.wire.attachments import (
    ATTACHMENT_LIST,
    AttachmentCreate,
    AttachmentUpdate,
    attachment_detail,
    attachment_summary,
)
from openevs.api.wire.bodies import check_uuid, json_object, parse
from openevs.api.wire.lists import list_query, page_reply
from openevs.domain.errors import InvalidInput
from openevs.service import attachments as service
from openevs.service.attachments import NewAttachment
from openevs.service.connections import check_mode, read_connector

_COMPLETE_SINCE: Final = 44
"""Microversion from which a connected volume is `in-use` only when the client has said `os-complete`."""


async def post_attachment(call: Call) -> Reply:
    """Reserve a volume and, given a connector, connect it."""
    body = parse(call, "attachment", AttachmentCreate)
    check_uuid("volume_uuid", body.volume_uuid)
    if body.instance_uuid is not None:
        check_uuid("instance_uuid", body.instance_uuid)
    new = NewAttachment(
        volume_id=body.volume_uuid,
        instance_uuid=body.instance_uuid,
        mode=_mode(call, body.mode),
        wish=read_connector(body.connector) if body.connector else None,
        complete=not call.at_least(_COMPLETE_SINCE),
    )
    attachment = await service.create_attachment(call.deps, call.caller, new)
    return Reply({"attachment": attachment_detail(call, attachment)})


def _mode(call: Call, mode: str | None) -> str | None:
    if mode is not None and not call.at_least(54):
        raise InvalidInput("mode", "it is there from microversion 3.54 on; the connector may have one at any.")
    return check_mode("mode", mode)


async def list_attachments(call: Call, *, detailed: bool = False) -> Reply:
    """List attachments."""
    query = list_query(call, ATTACHMENT_LIST)
    rows, count = await service.list_attachments(call.deps, call.caller, query)
    views = [attachment_detail(call, row) if detailed else attachment_summary(row) for row in rows]
    return page_reply(call, query, "attachments", views, count)


async def list_attachments_detail(call: Call) -> Reply:
    """List attachments with all their fields."""
    return await list_attachments(call, detailed=True)


async def get_attachment(call: Call) -> Reply:
    """Show an attachment."""
    attachment = await service.get_attachment(call.deps, call.caller, call.path["attachment_id"])
    return Reply({"attachment": attachment_detail(call, attachment)})


async def put_attachment(call: Call) -> Reply:
    """Connect a reserved volume."""
    connector = parse(call, "attachment", AttachmentUpdate).connector
    if not connector:
        raise InvalidInput("connector", "it may not be empty.")
    wish = read_connector(connector)
    attachment = await service.connect_attachment(
        call.deps, call.caller, call.path["attachment_id"], wish, complete=not call.at_least(_COMPLETE_SINCE)
    )
    return Reply({"attachment": attachment_detail(call, attachment)})


async def post_attachment_action(call: Call) -> Reply:
    """Take note that the client has the volume (`os-complete`)."""
    document = json_object(call)
    if list(document) != ["os-complete"]:
        listed = ", ".join(repr(name[:64]) for name in list(document)[:5]) or "none"
        raise InvalidInput("body", f"it must have one action, os-complete; it has {listed}.")
    await service.complete_attachment(call.deps, call.caller, call.path["attachment_id"])
    return Reply()


async def delete_attachment(call: Call) -> Reply:
    """End an attachment, and its connection with it."""
    left = await service.delete_attachment(call.deps, call.caller, call.path["attachment_id"])
    return Reply({"attachments": [attachment_summary(one) for one in left]})


_PATH = "{project_id}/attachments"
_ONE = _PATH + "/{attachment_id}"
_LIST = ATTACHMENT_LIST.parameters()
_route = partial(Route, apis=("v3",), since=27, tag="Attachments")

ROUTES = [
    _route("POST", _PATH, post_attachment, 200, "Reserve or attach a volume",
           policy="volume:attachment_create", body=AttachmentCreate),
    _route("GET", _PATH, list_attachments, 200, "List attachments", policy="volume:attachment_get", query=_LIST),
    _route("GET", _PATH + "/detail", list_attachments_detail, 200, "List attachments with details",
           policy="volume:attachment_get", query=_LIST),
    _route("GET", _ONE, get_attachment, 200, "Show an attachment", policy="volume:attachment_get"),
    _route("PUT", _ONE, put_attachment, 200, "Connect a reserved volume",
           policy="volume:attachment_update", body=AttachmentUpdate),
    _route("DELETE", _ONE, delete_attachment, 200, "Detach a volume", policy="volume:attachment_delete"),
    _route("POST", _ONE + "/action", post_attachment_action, 204, "Complete an attachment",
           policy="volume:attachment_complete", since=_COMPLETE_SINCE),
]  # fmt: skip
