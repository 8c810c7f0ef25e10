"""User messages as the API writes them."""

from typing import Any

from msgspec import UNSET, Struct, UnsetType

from openevs.api.call import Call
from openevs.api.wire.lists import Listing, same
from openevs.api.wire.snapshot_replies import Link, Time
from openevs.api.wire.times import wire_time
from openevs.domain.message import Message

MESSAGE_LIST = Listing(
    filters=same("id resource_uuid resource_type event_id request_id message_level"),
    sort_keys={**same("id event_id resource_uuid resource_type request_id created_at"), "message_level": "level"},
    pages_since=5,
)


class MessageView(Struct):
    """A message."""

    id: str
    event_id: str
    user_message: str
    message_level: str
    created_at: Time
    guaranteed_until: Time
    request_id: str
    links: list[Link]
    resource_type: str
    resource_uuid: str | UnsetType = UNSET


class MessageShown(Struct):
    """One message."""

    message: MessageView


class MessageList(Struct):
    """One page of messages."""

    messages: list[MessageView]
    messages_links: list[Link] | UnsetType = UNSET
    count: int | UnsetType = UNSET


def message_view(call: Call, message: Message) -> dict[str, Any]:
    """Return a message."""
    view: dict[str, Any] = {
        "id": message.id,
        "event_id": message.event_id,
        "user_message": message.text,
        "message_level": message.level,
        "created_at": wire_time(message.created_at),
        "guaranteed_until": wire_time(message.guaranteed_until),
        "request_id": message.request_id or "",
        "links": call.links(call.caller.project_id, "messages", message.id),
        "resource_type": message.resource_type,
    }
    if message.resource_uuid is not None:
        view["resource_uuid"] = message.resource_uuid
    return view
