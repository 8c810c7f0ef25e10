"""What can be asked about users."""

from datetime import datetime
from typing import Final, Literal, NamedTuple, TypedDict

from openevs.domain.errors import Conflict, InvalidInput, NotFound, Unauthenticated
from openevs.domain.ids import new_hex
from openevs.domain.rules import check_text
from openevs.identity.access import require_admin, require_admin_or_self
from openevs.identity.embedded import EmbeddedIdentity
from openevs.identity.login import REFUSAL, Ref, prove
from openevs.identity.passwords import check_password, new_password
from openevs.identity.port import Grant
from openevs.store.database import Tx
from openevs.store.identity import users as rows
from openevs.store.identity.projects import get_project
from openevs.store.identity.tokens import delete_tokens_of_user
from openevs.store.identity.users import User

NO_PASSWORD: Final = ""
"""Kept instead of a hash for a user without a password; `login` refuses it after the usual work."""


class NewUser(NamedTuple):
    """A user to be created. Without a password nobody can log in as it until it is given one."""

    name: str
    password: str | None = None
    email: str | None = None
    description: str | None = None
    default_project_id: str | None = None
    enabled: bool = True


class UserChanges(TypedDict, total=False):
    """What an administrator may change of a user; what is left out stays."""

    name: str
    password: str
    email: str | None
    description: str | None
    default_project_id: str | None
    enabled: bool


_KEPT_AS_GIVEN: Final[tuple[Literal["default_project_id", "enabled"], ...]] = ("default_project_id", "enabled")


async def list_users(
    identity: EmbeddedIdentity, caller: Grant, name: str | None = None, enabled: bool | None = None
) -> list[User]:
    """Return the users that fit, by name. Raises Forbidden."""
    require_admin(caller, "identity:list_users")
    return await identity.db.read(rows.list_users, name, enabled)


async def get_user(identity: EmbeddedIdentity, caller: Grant, user_id: str) -> User:
    """Return a user. Raises NotFound, Forbidden."""
    require_admin_or_self(caller, user_id, "identity:get_user")
    return await identity.db.read(_get, user_id)


async def create_user(identity: EmbeddedIdentity, caller: Grant, new: NewUser) -> User:
    """Create a user. Raises Conflict when the name is taken, InvalidInput, Forbidden, Unavailable (too many logins)."""
    require_admin(caller, "identity:create_user")
    password_hash = NO_PASSWORD
    if new.password is not None:
        password_hash = await identity.passwords.hash(check_password("user.password", new.password))
    user = User(
        id=new_hex(),
        name=check_name("user.name", new.name),
        password_hash=password_hash,
        email=check_text("user.email", new.email),
        description=check_text("user.description", new.description),
        default_project_id=new.default_project_id,
        enabled=new.enabled,
        password_changed_at=identity.clock(),
    )
    await identity.change(_insert, user)
    return user


async def update_user(identity: EmbeddedIdentity, caller: Grant, user_id: str, changes: UserChanges) -> User:
    """Change a user. A new password, or disabling, revokes its tokens. Raises NotFound, Conflict, InvalidInput,
    Forbidden, Unavailable (too many logins)."""
    require_admin(caller, "identity:update_user")
    columns: dict[str, object] = {field: changes[field] for field in _KEPT_AS_GIVEN if field in changes}
    if "name" in changes:
        columns["name"] = check_name("user.name", changes["name"])
    if "email" in changes:
        columns["email"] = check_text("user.email", changes["email"])
    if "description" in changes:
        columns["description"] = check_text("user.description", changes["description"])
    if "password" in changes:
        columns["password_hash"] = await identity.passwords.hash(check_password("user.password", changes["password"]))
        columns["password_changed_at"] = identity.clock()
    user = await identity.change(_update, user_id, columns)
    if "password" in changes:
        identity.throttle.succeeded(user_id)
    return user


async def change_password(identity: EmbeddedIdentity, user_id: str, original: str, new: str) -> None:
    """Let a user who knows the present password set a new one; revokes all its tokens. Raises Unauthenticated,
    InvalidInput, Unavailable (too many logins)."""
    check_password("user.password", new)
    user = await prove(identity, Ref(id=user_id), original)
    new_hash = await identity.passwords.hash(new)
    await identity.change(_change_password, user_id, user.password_hash, new_hash, identity.clock())


async def reset_password(identity: EmbeddedIdentity, name: str) -> str:
    """Give a user a new random password, which is returned, and revoke its tokens. Nobody is asked who they are: this
    is for who has the data folder in hand. Raises NotFound."""
    password = new_password()
    new_hash = await identity.passwords.hash(password)
    await identity.change(_reset_password, name, new_hash, identity.clock())
    return password


async def delete_user(identity: EmbeddedIdentity, caller: Grant, user_id: str) -> None:
    """Delete a user, its tokens and its roles; what it made in projects stays. Raises NotFound, Forbidden."""
    require_admin(caller, "identity:delete_user")
    await identity.change(_delete, user_id)


def check_name(field: str, name: str) -> str:
    """Return the name of a user or a project as it is stored; raises InvalidInput for one that is blank or too long."""
    checked = check_text(field, name)
    if not checked:
        raise InvalidInput(field, "it must not be empty.")
    return checked


def _get(tx: Tx, user_id: str) -> User:
    user = rows.get_user(tx, user_id)
    if user is None:
        raise NotFound("user", user_id)
    return user


def _insert(tx: Tx, new: User) -> None:
    _check_default_project(tx, new.default_project_id)
    if not rows.insert_user(tx, new):
        raise Conflict(f"There is already a user named {new.name}.")


def _update(tx: Tx, user_id: str, columns: dict[str, object]) -> User:
    _get(tx, user_id)
    _check_default_project(tx, columns.get("default_project_id"))
    if not rows.update_user(tx, user_id, columns):
        raise Conflict(f"There is already a user named {columns['name']}.")
    if "password_hash" in columns or columns.get("enabled") is False:
        delete_tokens_of_user(tx, user_id)
    return _get(tx, user_id)


def _check_default_project(tx: Tx, project_id: object) -> None:
    if project_id is not None and get_project(tx, str(project_id)) is None:
        raise InvalidInput("user.default_project_id", "there is no such project.")


def _change_password(tx: Tx, user_id: str, old_hash: str, new_hash: str, now: datetime) -> None:
    if not rows.change_password(tx, user_id, old_hash, new_hash, now):
        raise Unauthenticated(REFUSAL)
    delete_tokens_of_user(tx, user_id)


def _reset_password(tx: Tx, name: str, new_hash: str, now: datetime) -> None:
    user = rows.find_user(tx, name)
    if user is None:
        raise NotFound("user", name)
    _update(tx, user.id, {"password_hash": new_hash, "password_changed_at": now})


def _delete(tx: Tx, user_id: str) -> None:
    if not rows.delete_user(tx, user_id):
        raise NotFound("user", user_id)
