"""What can be asked about projects."""

from typing import NamedTuple, TypedDict

from openevs.domain.errors import Conflict, NotFound
from openevs.domain.ids import new_hex
from openevs.domain.rules import check_text
from openevs.identity.access import require_admin, require_admin_or_self
from openevs.identity.embedded import EmbeddedIdentity
from openevs.identity.port import Grant
from openevs.identity.users import check_name
from openevs.store.database import Tx
from openevs.store.identity import projects as rows
from openevs.store.identity.projects import Project
from openevs.store.identity.roles import names_of_roles
from openevs.store.identity.tokens import delete_tokens_of_project
from openevs.store.identity.users import get_user


class NewProject(NamedTuple):
    """A project to be created."""

    name: str
    description: str = ""
    enabled: bool = True


class ProjectChanges(TypedDict, total=False):
    """What may be changed of a project; what is left out stays."""

    name: str
    description: str | None
    enabled: bool


async def list_projects(
    identity: EmbeddedIdentity, caller: Grant, name: str | None = None, enabled: bool | None = None
) -> list[Project]:
    """Return the projects that fit, by name: all of them to an administrator, to others those they have a role on."""
    return await identity.db.read(rows.list_projects, name, enabled, None if caller.is_admin else caller.user_id)


async def list_scopes(identity: EmbeddedIdentity, caller: Grant) -> list[Project]:
    """Return the projects to which the caller may get a token, by name."""
    return await identity.db.read(rows.list_projects, None, True, caller.user_id)


async def list_projects_of_user(identity: EmbeddedIdentity, caller: Grant, user_id: str) -> list[Project]:
    """Return the projects on which a user has a role, by name. Raises NotFound, Forbidden."""
    require_admin_or_self(caller, user_id, "identity:list_user_projects")
    return await identity.db.read(_of_user, user_id)


async def get_project(identity: EmbeddedIdentity, caller: Grant, project_id: str) -> Project:
    """Return a project. Raises NotFound, also when it is none of the caller's."""
    return await identity.db.read(_visible, project_id, None if caller.is_admin else caller.user_id)


async def create_project(identity: EmbeddedIdentity, caller: Grant, new: NewProject) -> Project:
    """Create a project. Raises Conflict when the name is taken, InvalidInput, Forbidden."""
    require_admin(caller, "identity:create_project")
    project = Project(
        id=new_hex(),
        name=check_name("project.name", new.name),
        description=check_text("project.description", new.description) or "",
        enabled=new.enabled,
    )
    await identity.change(_insert, project)
    return project


async def update_project(
    identity: EmbeddedIdentity, caller: Grant, project_id: str, changes: ProjectChanges
) -> Project:
    """Change a project. Disabling it revokes the tokens for it. Raises NotFound, Conflict, InvalidInput, Forbidden."""
    require_admin(caller, "identity:update_project")
    columns: dict[str, object] = {}
    if "name" in changes:
        columns["name"] = check_name("project.name", changes["name"])
    if "description" in changes:
        columns["description"] = check_text("project.description", changes["description"]) or ""
    if "enabled" in changes:
        columns["enabled"] = changes["enabled"]
    return await identity.change(_update, project_id, columns)


async def delete_project(identity: EmbeddedIdentity, caller: Grant, project_id: str) -> None:
    """Delete a project with its role assignments and tokens. Raises NotFound, Forbidden."""
    require_admin(caller, "identity:delete_project")
    await identity.change(_delete, project_id)


def _visible(tx: Tx, project_id: str, user_id: str | None) -> Project:
    project = rows.get_project(tx, project_id)
    if project is None or (user_id is not None and not names_of_roles(tx, user_id, "project", project_id)):
        raise NotFound("project", project_id)
    return project


def _of_user(tx: Tx, user_id: str) -> list[Project]:
    if get_user(tx, user_id) is None:
        raise NotFound("user", user_id)
    return rows.list_projects(tx, user_id=user_id)


def _insert(tx: Tx, new: Project) -> None:
    if not rows.insert_project(tx, new):
        raise Conflict(f"There is already a project named {new.name}.")


def _update(tx: Tx, project_id: str, columns: dict[str, object]) -> Project:
    _visible(tx, project_id, None)
    if not rows.update_project(tx, project_id, columns):
        raise Conflict(f"There is already a project named {columns['name']}.")
    if columns.get("enabled") is False:
        delete_tokens_of_project(tx, project_id)
    return _visible(tx, project_id, None)


def _delete(tx: Tx, project_id: str) -> None:
    if not rows.delete_project(tx, project_id):
        raise NotFound("project", project_id)
