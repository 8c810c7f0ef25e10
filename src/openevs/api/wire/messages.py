"""User messages as the API writes them."""

from typing import Any

from openevs.api.call import Call
from openevs.api.wire.lists import Listing
from openevs.api.wire.times import wire_time
from openevs.domain.message import Message

MESSAGE_LIST = Listing(
    filters={
        name: name for name in ("id", "resource_uuid", "resource_type", "event_id", "request_id", "message_level")
    },
    sort_keys={
        "id": "id",
        "event_id": "event_id",
        "resource_uuid": "resource_uuid",
        "resource_type": "resource_type",
        "message_level": "level",
        "request_id": "request_id",
        "created_at": "created_at",
    },
)


def message_view(call: Call, message: Message) -> dict[str, Any]:
    """Return a message."""
    place = f"{call.caller.project_id}/messages/{message.id}"
    view: dict[str, Any] = {
        "id": message.id,
        "event_id": message.event_id,
        "user_message": message.text,
        "message_level": message.level,
        "created_at": wire_time(message.created_at),
        "guaranteed_until": wire_time(message.guaranteed_until),
        "request_id": message.request_id or "",
        "links": [
            {"rel": "self", "href": f"{call.base_url}/{call.api}/{place}"},
            {"rel": "bookmark", "href": f"{call.base_url}/{place}"},
        ],
        "resource_type": message.resource_type,
    }
    if message.resource_uuid is not None:
        view["resource_uuid"] = message.resource_uuid
    return view
