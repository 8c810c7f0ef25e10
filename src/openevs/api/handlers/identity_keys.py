"""Access keys, as Huawei's IAM has them (API reference, "Access Key Management")."""

from functools import partial
from typing import Final

from msgspec import UNSET

from openevs.api.call import Call, Reply
from openevs.api.handlers.identity_calls import grant_of, iam_route
from openevs.api.wire.bodies import convert, json_object
from openevs.api.wire.identity import credential_view
from openevs.api.wire.identity_bodies import CredentialCreateBody, CredentialUpdateBody
from openevs.identity import access_keys as service
from openevs.identity.access_keys import KeyChanges, NewKey

MOUNTS: Final = ("v3.0", "identity/v3.0")


async def post_credential(call: Call) -> Reply:
    """Create an access key and show its secret, which is shown never again."""
    body = convert(json_object(call), CredentialCreateBody).credential
    caller = await grant_of(call)
    # The caller's project is the obvious one for a key of their own, and only a guess for somebody else's.
    own = caller.project_id if body.user_id == caller.user_id else None
    new = NewKey(body.user_id, body.description or "", body.project_id or own)
    made = await service.create_access_key(call.identity, caller, new)
    return Reply({"credential": credential_view(made, secret=True)}, headers={"Cache-Control": "no-store"})


async def list_credentials(call: Call) -> Reply:
    """List a user's access keys; the caller's own if no user is named."""
    caller = await grant_of(call)
    keys = await service.list_access_keys(call.identity, caller, call.query.get("user_id") or caller.user_id)
    return Reply({"credentials": [credential_view(key) for key in keys]})


async def get_credential(call: Call) -> Reply:
    """Show an access key."""
    key = await service.get_access_key(call.identity, await grant_of(call), call.path["access_key"])
    return Reply({"credential": credential_view(key)})


async def put_credential(call: Call) -> Reply:
    """Change an access key's description, or whether it may be used."""
    body = convert(json_object(call), CredentialUpdateBody).credential
    changes: KeyChanges = {}
    if body.status is not UNSET:
        changes["enabled"] = body.status == "active"
    if body.description is not UNSET:
        changes["description"] = body.description or ""
    key = await service.update_access_key(call.identity, await grant_of(call), call.path["access_key"], changes)
    return Reply({"credential": credential_view(key)})


async def delete_credential(call: Call) -> Reply:
    """Delete an access key."""
    await service.delete_access_key(call.identity, await grant_of(call), call.path["access_key"])
    return Reply()


_PATH: Final = "OS-CREDENTIAL/credentials"
_ONE: Final = _PATH + "/{access_key}"
_route = partial(iam_route, apis=MOUNTS)

ROUTES = [
    _route("POST", _PATH, post_credential, 201, "Create an access key", body=CredentialCreateBody),
    _route("GET", _PATH, list_credentials, 200, "List access keys", query=("user_id",)),
    _route("GET", _ONE, get_credential, 200, "Show an access key"),
    _route("PUT", _ONE, put_credential, 200, "Change an access key", body=CredentialUpdateBody),
    _route("DELETE", _ONE, delete_credential, 204, "Delete an access key"),
]
