"""Roles, and who has which on a project or on the domain."""

from openevs.api.call import Call, Reply, Route
from openevs.api.handlers.identity_calls import grant_of, iam_route
from openevs.api.wire.identity import assignment_view, collection, flag_filter, role_view
from openevs.identity import roles as service
from openevs.identity.roles import AssignmentFilter, Target


async def list_roles(call: Call) -> Reply:
    """List roles."""
    roles = await service.list_roles(call.identity, call.query.get("name"))
    return Reply(collection(call, "roles", [role_view(call, role) for role in roles]))


async def get_role(call: Call) -> Reply:
    """Show a role."""
    role = await service.get_role(call.identity, call.path["role_id"])
    return Reply({"role": role_view(call, role)})


async def list_user_roles(call: Call) -> Reply:
    """List the roles that a user was given on a project or on the domain."""
    roles = await service.list_roles_on(call.identity, await grant_of(call), _target(call), call.path["user_id"])
    return Reply(collection(call, "roles", [role_view(call, role) for role in roles]))


async def put_role(call: Call) -> Reply:
    """Give a user a role."""
    caller = await grant_of(call)
    await service.assign_role(call.identity, caller, _target(call), call.path["user_id"], call.path["role_id"])
    return Reply()


async def head_role(call: Call) -> Reply:
    """Say by the status whether a user was given a role."""
    caller = await grant_of(call)
    await service.check_assignment(call.identity, caller, _target(call), call.path["user_id"], call.path["role_id"])
    return Reply()


async def delete_role(call: Call) -> Reply:
    """Take a role from a user."""
    caller = await grant_of(call)
    await service.unassign_role(call.identity, caller, _target(call), call.path["user_id"], call.path["role_id"])
    return Reply()


async def list_role_assignments(call: Call) -> Reply:
    """List who has which role where."""
    query = call.query
    wanted = AssignmentFilter(query.get("user.id"), query.get("role.id"), _scope_filter(call))
    found = await service.list_assignments(
        call.identity, await grant_of(call), wanted, effective=flag_filter(call, "effective") or False
    )
    if "group.id" in query or "scope.system" in query:
        found = []  # there are neither groups nor roles on the system
    names = flag_filter(call, "include_names") or False
    return Reply(collection(call, "role_assignments", [assignment_view(call, one, names=names) for one in found]))


def _target(call: Call) -> Target:
    if "project_id" in call.path:
        return Target("project", call.path["project_id"])
    return Target("domain", call.path["domain_id"])


def _scope_filter(call: Call) -> Target | None:
    if "scope.project.id" in call.query:
        return Target("project", call.query["scope.project.id"])
    if "scope.domain.id" in call.query:
        return Target("domain", call.query["scope.domain.id"])
    return None


def _routes_on(target: str) -> list[Route]:
    given = target + "/users/{user_id}/roles"
    one = given + "/{role_id}"
    return [
        iam_route("GET", given, list_user_roles, 200, "List a user's roles"),
        iam_route("PUT", one, put_role, 204, "Give a role"),
        iam_route("HEAD", one, head_role, 204, "Check a role"),
        iam_route("DELETE", one, delete_role, 204, "Take a role"),
    ]


ROUTES = [
    iam_route("GET", "roles", list_roles, 200, "List roles", query=("name",)),
    iam_route("GET", "roles/{role_id}", get_role, 200, "Show a role"),
    *_routes_on("projects/{project_id}"),
    *_routes_on("domains/{domain_id}"),
    iam_route("GET", "role_assignments", list_role_assignments, 200, "List role assignments",
              query=("user.id", "role.id", "scope.project.id", "scope.domain.id", "effective", "include_names")),
]  # fmt: skip
