"""Projects (spec 1.3)."""

from collections.abc import Sequence
from typing import Final, TypeVar, cast
from urllib.parse import urlencode

from openevs.api.call import Call, Reply
from openevs.api.handlers.identity_calls import grant_of, iam_route
from openevs.api.wire.bodies import convert, given, json_object
from openevs.api.wire.identity import check_domain, collection, flag_filter, in_the_domain, project_view
from openevs.api.wire.identity_bodies import ProjectCreate, ProjectCreateBody, ProjectUpdate, ProjectUpdateBody
from openevs.domain.errors import InvalidInput
from openevs.identity import projects as service
from openevs.identity.port import DOMAIN_ID
from openevs.identity.projects import NewProject, ProjectChanges
from openevs.identity.signed import METHOD
from openevs.store.identity.projects import Project

T = TypeVar("T")

MOST_PER_PAGE: Final = 5000


async def list_projects(call: Call) -> Reply:
    """List projects: all to an administrator, to others those they have a role on."""
    projects = await service.list_projects(
        call.identity, await grant_of(call), call.query.get("name"), flag_filter(call, "enabled")
    )
    if not in_the_domain(call) or call.query.get("parent_id", DOMAIN_ID) != DOMAIN_ID or flag_filter(call, "is_domain"):
        projects = []
    projects = projects or await _of_region(call)
    page, previous, following = _page(call, projects)
    return Reply(collection(call, "projects", [project_view(call, project) for project in page], previous, following))


async def get_project(call: Call) -> Reply:
    """Show a project."""
    project = await service.get_project(call.identity, await grant_of(call), call.path["project_id"])
    return Reply({"project": project_view(call, project)})


async def post_project(call: Call) -> Reply:
    """Create a project."""
    body = convert(json_object(call), ProjectCreateBody).project
    _check_place(body)
    new = NewProject(body.name, body.description or "", body.enabled)
    project = await service.create_project(call.identity, await grant_of(call), new)
    return Reply({"project": project_view(call, project)})


async def patch_project(call: Call) -> Reply:
    """Change a project."""
    body = convert(json_object(call), ProjectUpdateBody).project
    _check_place(body)
    changes = cast("ProjectChanges", given(body, *ProjectChanges.__annotations__))
    project = await service.update_project(call.identity, await grant_of(call), call.path["project_id"], changes)
    return Reply({"project": project_view(call, project)})


async def delete_project(call: Call) -> Reply:
    """Delete a project."""
    await service.delete_project(call.identity, await grant_of(call), call.path["project_id"])
    return Reply()


async def _of_region(call: Call) -> list[Project]:
    """Return the project of a region. At the public cloud each region is a project of that name, and its SDK looks it
    up by `?name=<region>` when a signed request names no project; here it is the one that the access key is for."""
    grant = await grant_of(call)
    if METHOD not in grant.methods or grant.project_id is None:
        return []
    if call.query.get("name") != call.deps.settings.api.region:
        return []
    return [await service.get_project(call.identity, grant, grant.project_id)]


def _check_place(body: ProjectCreate | ProjectUpdate) -> None:
    check_domain("project.domain_id", body.domain_id)
    check_domain("project.parent_id", body.parent_id)
    if body.is_domain:
        raise InvalidInput("project.is_domain", f"there is only the domain {DOMAIN_ID!r}.")


def _page(call: Call, items: Sequence[T]) -> tuple[Sequence[T], str | None, str | None]:
    """Return one page and the links to its neighbours; without page and per_page, everything."""
    if "page" not in call.query and "per_page" not in call.query:
        return items, None, None
    page, per_page = _number(call, "page", 2**31), _number(call, "per_page", MOST_PER_PAGE)
    end = page * per_page
    previous = _page_link(call, page - 1) if page > 1 else None
    following = _page_link(call, page + 1) if end < len(items) else None
    return items[end - per_page : end], previous, following


def _number(call: Call, name: str, most: int) -> int:
    text = call.query.get(name)
    if text is None:
        raise InvalidInput(name, "page and per_page can only be given together.")
    if not (text.isascii() and text.isdigit()) or len(text) > 10 or not 1 <= int(text) <= most:
        raise InvalidInput(name, f"{text[:32]!r} is not a number from 1 to {most}.")
    return int(text)


def _page_link(call: Call, page: int) -> str:
    kept = [(name, value) for name, value in call.query.multi_items() if name != "page"]
    return f"{call.url}?{urlencode([*kept, ('page', page)])}"


ROUTES = [
    iam_route("GET", "projects", list_projects, 200, "List projects",
              query=("name", "domain_id", "parent_id", "enabled", "is_domain", "page", "per_page")),
    iam_route("POST", "projects", post_project, 201, "Create a project", body=ProjectCreateBody),
    iam_route("GET", "projects/{project_id}", get_project, 200, "Show a project"),
    iam_route("PATCH", "projects/{project_id}", patch_project, 200, "Change a project", body=ProjectUpdateBody),
    iam_route("DELETE", "projects/{project_id}", delete_project, 204, "Delete a project"),
]  # fmt: skip
