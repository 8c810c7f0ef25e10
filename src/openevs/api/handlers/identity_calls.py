"""What the handlers of the identity API share: how their calls are announced, and who the caller is."""

from functools import partial
from typing import Final

from openevs.api.call import Call, Route
from openevs.domain.errors import Unauthenticated
from openevs.identity.port import Grant

MOUNTS: Final = ("identity/v3", "v3")
"""Where the identity API is: below `identity`, and at the root for clients that look for it there."""

iam_route = partial(Route, apis=MOUNTS, policy="token", family="iam", tag="Identity")
"""A route of the identity API: anybody with a valid token may call; the use case says who gets an answer."""


async def grant_of(call: Call) -> Grant:
    """Return what the caller's token or signature stands for; unlike `call.caller`, it may be for no project."""
    if call.grant is None:
        raise Unauthenticated("The token is unknown, expired or revoked.")
    return call.grant
