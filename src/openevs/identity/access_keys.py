"""Access keys: create, list, show, change, delete. Each belongs to a user, who can do with it what the user may do."""

import secrets
from datetime import datetime
from typing import Final, NamedTuple, TypedDict

from openevs.domain.errors import InvalidInput, NotFound
from openevs.domain.rules import check_text
from openevs.identity.access import require_admin_or_self
from openevs.identity.embedded import EmbeddedIdentity
from openevs.identity.port import Grant
from openevs.store.database import Tx
from openevs.store.identity import access_keys as rows
from openevs.store.identity.access_keys import AccessKey
from openevs.store.identity.users import get_user

# As long, and of such letters, as the public cloud's: they pass through clients that check the form.
_ACCESS_LENGTH: Final = 20
_ACCESS_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_SECRET_LENGTH: Final = 40
_SECRET_LETTERS: Final = _ACCESS_LETTERS + "abcdefghijklmnopqrstuvwxyz"


class NewKey(NamedTuple):
    """A key to be created."""

    user_id: str
    description: str = ""
    project_id: str | None = None
    """The project of requests that name none."""


class KeyChanges(TypedDict, total=False):
    """What may be changed of a key; what is left out stays."""

    description: str
    enabled: bool


async def create_access_key(identity: EmbeddedIdentity, caller: Grant, new: NewKey) -> AccessKey:
    """Create a key; this is the only time that its secret is shown. Raises NotFound, InvalidInput when the user has
    as many as it may, Forbidden."""
    require_admin_or_self(caller, new.user_id, "identity:create_credential")
    description = check_text("credential.description", new.description) or ""
    made = make_access_key(new._replace(description=description), identity.clock())
    await identity.db.write(_insert, made, identity.settings.access_keys)
    return made


async def list_access_keys(identity: EmbeddedIdentity, caller: Grant, user_id: str) -> list[AccessKey]:
    """Return a user's keys, oldest first. Raises NotFound, Forbidden."""
    require_admin_or_self(caller, user_id, "identity:list_credentials")
    return await identity.db.read(_list, user_id)


async def get_access_key(identity: EmbeddedIdentity, caller: Grant, access: str) -> AccessKey:
    """Return a key. Raises NotFound, also when it is none of the caller's."""
    return await identity.db.read(_visible, caller, access)


async def update_access_key(identity: EmbeddedIdentity, caller: Grant, access: str, changes: KeyChanges) -> AccessKey:
    """Change a key. Raises NotFound, InvalidInput."""
    columns: dict[str, object] = {}
    if "description" in changes:
        columns["description"] = check_text("credential.description", changes["description"]) or ""
    if "enabled" in changes:
        columns["enabled"] = changes["enabled"]
    return await identity.db.write(_update, caller, access, columns)


async def delete_access_key(identity: EmbeddedIdentity, caller: Grant, access: str) -> None:
    """Delete a key: from now on nothing signed with it is let in. Raises NotFound."""
    await identity.db.write(_delete, caller, access)


def make_access_key(new: NewKey, now: datetime) -> AccessKey:
    """Return a key with a new id and a new secret."""
    access = "".join(secrets.choice(_ACCESS_LETTERS) for _ in range(_ACCESS_LENGTH))
    secret = "".join(secrets.choice(_SECRET_LETTERS) for _ in range(_SECRET_LENGTH))
    return AccessKey(access, secret, new.user_id, new.project_id, new.description, enabled=True, created_at=now)


def _insert(tx: Tx, new: AccessKey, most: int) -> None:
    if len(_list(tx, new.user_id)) >= most:
        raise InvalidInput("credential", f"akSkNumExceed: the user has the {most} access keys that it may have.")
    rows.insert_access_key(tx, new)


def _list(tx: Tx, user_id: str) -> list[AccessKey]:
    if get_user(tx, user_id) is None:
        raise NotFound("user", user_id)
    return rows.list_access_keys(tx, user_id)


def _visible(tx: Tx, caller: Grant, access: str) -> AccessKey:
    found = rows.find_access_key(tx, access)
    if found is None or not (caller.is_admin or found.key.user_id == caller.user_id):
        raise NotFound("access key", access)
    return found.key


def _update(tx: Tx, caller: Grant, access: str, columns: dict[str, object]) -> AccessKey:
    _visible(tx, caller, access)
    if columns:
        rows.update_access_key(tx, access, columns)
    return _visible(tx, caller, access)


def _delete(tx: Tx, caller: Grant, access: str) -> None:
    _visible(tx, caller, access)
    rows.delete_access_key(tx, access)
