"""What can be asked about roles, and about who has which where."""

from typing import NamedTuple

from openevs.domain.errors import NotFound
from openevs.identity.access import require_admin, require_admin_or_self
from openevs.identity.embedded import EmbeddedIdentity
from openevs.identity.port import DOMAIN_ID, IMPLIED, Grant
from openevs.store.database import Tx
from openevs.store.identity import roles as rows
from openevs.store.identity.projects import get_project
from openevs.store.identity.roles import Assignment, NamedAssignment, Role, TargetKind
from openevs.store.identity.users import get_user


class Target(NamedTuple):
    """What a role is given on: a project, or the domain."""

    kind: TargetKind
    id: str


class AssignmentFilter(NamedTuple):
    """Which assignments are asked for; None is any."""

    user_id: str | None = None
    role_id: str | None = None
    target: Target | None = None


async def list_roles(identity: EmbeddedIdentity, name: str | None = None) -> list[Role]:
    """Return the roles that fit, by name. Everybody may know them."""
    return await identity.db.read(rows.list_roles, name)


async def get_role(identity: EmbeddedIdentity, role_id: str) -> Role:
    """Return a role. Raises NotFound."""
    return await identity.db.read(_role, role_id)


async def list_roles_on(identity: EmbeddedIdentity, caller: Grant, target: Target, user_id: str) -> list[Role]:
    """Return the roles that a user was given on a target. Raises NotFound, Forbidden."""
    require_admin_or_self(caller, user_id, "identity:list_grants")
    return await identity.db.read(_roles_on, target, user_id)


async def check_assignment(
    identity: EmbeddedIdentity, caller: Grant, target: Target, user_id: str, role_id: str
) -> None:
    """Return if a user was given a role on a target. Raises NotFound if not, Forbidden."""
    for role in await list_roles_on(identity, caller, target, user_id):
        if role.id == role_id:
            return
    raise NotFound("role assignment", role_id)


async def assign_role(identity: EmbeddedIdentity, caller: Grant, target: Target, user_id: str, role_id: str) -> None:
    """Give a user a role on a target; one who has it keeps it. Raises NotFound, Forbidden."""
    require_admin(caller, "identity:create_grant")
    await identity.change(_assign, target, user_id, role_id)


async def unassign_role(identity: EmbeddedIdentity, caller: Grant, target: Target, user_id: str, role_id: str) -> None:
    """Take a role on a target from a user: tokens for it lose the role at once. Raises NotFound, Forbidden."""
    require_admin(caller, "identity:revoke_grant")
    await identity.change(_unassign, target, user_id, role_id)


async def list_assignments(
    identity: EmbeddedIdentity, caller: Grant, wanted: AssignmentFilter, *, effective: bool = False
) -> list[NamedAssignment]:
    """Return the assignments that fit; `effective` adds those that others imply. Raises Forbidden: who is not an
    administrator may ask about themselves alone."""
    if wanted.user_id is None or wanted.user_id != caller.user_id:
        require_admin(caller, "identity:list_role_assignments")
    return await identity.db.read(_effective if effective else _plain, wanted)


def _plain(tx: Tx, wanted: AssignmentFilter) -> list[NamedAssignment]:
    kind, target_id = wanted.target or (None, None)
    return rows.list_assignments(tx, wanted.user_id, wanted.role_id, kind, target_id)


def _effective(tx: Tx, wanted: AssignmentFilter) -> list[NamedAssignment]:
    ids = {role.name: role.id for role in rows.list_roles(tx)}
    found: dict[Assignment, NamedAssignment] = {}
    for given in _plain(tx, wanted._replace(role_id=None)):
        for name in (given.role_name, *IMPLIED.get(given.role_name, ())):
            if wanted.role_id in (None, ids[name]):
                assignment = given.assignment._replace(role_id=ids[name])
                found[assignment] = given._replace(assignment=assignment, role_name=name)
    return list(found.values())


def _role(tx: Tx, role_id: str) -> Role:
    role = rows.get_role(tx, role_id)
    if role is None:
        raise NotFound("role", role_id)
    return role


def _check(tx: Tx, target: Target, user_id: str) -> None:
    if get_user(tx, user_id) is None:
        raise NotFound("user", user_id)
    if target.kind == "project" and get_project(tx, target.id) is None:
        raise NotFound("project", target.id)
    if target.kind == "domain" and target.id != DOMAIN_ID:
        raise NotFound("domain", target.id)


def _roles_on(tx: Tx, target: Target, user_id: str) -> list[Role]:
    _check(tx, target, user_id)
    names = rows.names_of_roles(tx, user_id, target.kind, target.id)
    return [role for role in rows.list_roles(tx) if role.name in names]


def _assign(tx: Tx, target: Target, user_id: str, role_id: str) -> None:
    _check(tx, target, user_id)
    rows.insert_assignment(tx, Assignment(user_id, target.kind, target.id, _role(tx, role_id).id))


def _unassign(tx: Tx, target: Target, user_id: str, role_id: str) -> None:
    _check(tx, target, user_id)
    if not rows.delete_assignment(tx, Assignment(user_id, target.kind, target.id, _role(tx, role_id).id)):
        raise NotFound("role assignment", role_id)
