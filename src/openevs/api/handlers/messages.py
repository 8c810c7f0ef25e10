"""User messages, v3 from microversion 3.3 on; with pages and filters from 3.5 on."""

from functools import partial

from openevs.api.call import Call, Reply, Route
from openevs.api.wire.lists import list_query, page_reply
from openevs.api.wire.messages import MESSAGE_LIST, MessageList, MessageShown, message_view
from openevs.service import messages as service


async def list_messages(call: Call) -> Reply:
    """List messages."""
    query = list_query(call, MESSAGE_LIST)
    rows, count = await service.list_messages(call.deps, call.caller, query)
    return page_reply(call, query, "messages", [message_view(call, row) for row in rows], count)


async def get_message(call: Call) -> Reply:
    """Show a message."""
    message = await service.get_message(call.deps, call.caller, call.path["message_id"])
    return Reply({"message": message_view(call, message)})


async def delete_message(call: Call) -> Reply:
    """Remove a message."""
    await service.delete_message(call.deps, call.caller, call.path["message_id"])
    return Reply()


_PATH = "{project_id}/messages"
_ONE = _PATH + "/{message_id}"
_LIST = MESSAGE_LIST.parameters()
_route = partial(Route, apis=("v3",), since=3, tag="Messages")

ROUTES = [
    _route("GET", _PATH, list_messages, 200, "List user messages",
           policy="message:get_all", query=_LIST, reply=MessageList),
    _route("GET", _ONE, get_message, 200, "Show a user message", policy="message:get", reply=MessageShown),
    _route("DELETE", _ONE, delete_message, 204, "Remove a user message", policy="message:delete"),
]  # fmt: skip
