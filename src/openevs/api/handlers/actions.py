"""Actions: `POST …/action` with one key that names what is to be done (spec 2.7, 4.5)."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from openevs.api.call import Call, Reply
from openevs.api.faults import HttpRefusal
from openevs.api.policy import allowed
from openevs.api.wire.bodies import json_object
from openevs.domain.errors import Forbidden, InvalidInput


class Action(NamedTuple):
    """One action of a kind of resource."""

    run: Callable[[Call, Any], Awaitable[Reply]]
    """Is given what stands under the action's key."""
    policy: str = "member"
    """A rule of `api/policy.py`, or a level."""
    since: int = 0
    """The microversion 3.`since` from which it is there."""


async def run_action(call: Call, actions: Mapping[str, Action]) -> Reply:
    """Do what the body names. Raises InvalidInput for anything but one known action, HttpRefusal for one that came
    with a later microversion, Forbidden."""
    document = json_object(call)
    if len(document) != 1:
        raise InvalidInput("body", f"it must have one action as its only key, not {len(document)} keys.", "EVS.1070")
    name, content = next(iter(document.items()))
    action = actions.get(name)
    if action is None:
        raise InvalidInput("body", f"there is no such action: {name[:64]!r}.", "EVS.1070")
    if not call.at_least(action.since):
        raise HttpRefusal(404, f"The action {name!r} is there from microversion 3.{action.since} on.")
    if not allowed(call.caller, action.policy):
        raise Forbidden(name)
    return await action.run(call, content)
