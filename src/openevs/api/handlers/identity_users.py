"""Users."""

from typing import cast

from openevs.api.call import Call, Reply
from openevs.api.handlers.identity_calls import grant_of, iam_route
from openevs.api.wire.bodies import convert, given, json_object
from openevs.api.wire.identity import check_domain, collection, flag_filter, in_the_domain, project_view, user_view
from openevs.api.wire.identity_bodies import PasswordChangeBody, UserCreateBody, UserUpdateBody
from openevs.identity import users as service
from openevs.identity.projects import list_projects_of_user
from openevs.identity.users import NewUser, UserChanges


async def list_users(call: Call) -> Reply:
    """List users."""
    users = await service.list_users(
        call.identity, await grant_of(call), call.query.get("name"), flag_filter(call, "enabled")
    )
    views = [user_view(call, user) for user in users] if in_the_domain(call) else []
    return Reply(collection(call, "users", views))


async def get_user(call: Call) -> Reply:
    """Show a user."""
    user = await service.get_user(call.identity, await grant_of(call), call.path["user_id"])
    return Reply({"user": user_view(call, user)})


async def post_user(call: Call) -> Reply:
    """Create a user."""
    body = convert(json_object(call), UserCreateBody).user
    check_domain("user.domain_id", body.domain_id)
    new = NewUser(body.name, body.password, body.email, body.description, body.default_project_id, body.enabled)
    user = await service.create_user(call.identity, await grant_of(call), new)
    return Reply({"user": user_view(call, user)})


async def patch_user(call: Call) -> Reply:
    """Change a user."""
    body = convert(json_object(call), UserUpdateBody).user
    check_domain("user.domain_id", body.domain_id)
    changes = cast("UserChanges", given(body, *UserChanges.__annotations__))
    user = await service.update_user(call.identity, await grant_of(call), call.path["user_id"], changes)
    return Reply({"user": user_view(call, user)})


async def delete_user(call: Call) -> Reply:
    """Delete a user."""
    await service.delete_user(call.identity, await grant_of(call), call.path["user_id"])
    return Reply()


async def post_password(call: Call) -> Reply:
    """Change the own password. The old one is what lets in, so no token is needed."""
    body = convert(json_object(call), PasswordChangeBody).user
    await service.change_password(call.identity, call.path["user_id"], body.original_password, body.password)
    return Reply()


async def list_user_projects(call: Call) -> Reply:
    """List the projects on which a user has a role."""
    projects = await list_projects_of_user(call.identity, await grant_of(call), call.path["user_id"])
    return Reply(collection(call, "projects", [project_view(call, project) for project in projects]))


_USER = "users/{user_id}"

ROUTES = [
    iam_route("GET", "users", list_users, 200, "List users", query=("name", "domain_id", "enabled")),
    iam_route("POST", "users", post_user, 201, "Create a user", body=UserCreateBody),
    iam_route("GET", _USER, get_user, 200, "Show a user"),
    iam_route("PATCH", _USER, patch_user, 200, "Change a user", body=UserUpdateBody),
    iam_route("DELETE", _USER, delete_user, 204, "Delete a user"),
    iam_route("POST", _USER + "/password", post_password, 204, "Change the own password",
              policy="none", body=PasswordChangeBody),
    iam_route("GET", _USER + "/projects", list_user_projects, 200, "List a user's projects"),
]  # fmt: skip
