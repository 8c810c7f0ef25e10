"""Tokens and what they open: auth/tokens, auth/catalog, auth/projects, auth/domains (spec 1.2)."""

from openevs.api.call import Call, Reply
from openevs.api.handlers.identity_calls import grant_of, iam_route
from openevs.api.wire.bodies import convert, json_object
from openevs.api.wire.identity import catalog_view, collection, domain_view, project_view, token_view
from openevs.api.wire.identity_bodies import AuthBody, DomainRef, IdentityPart, ProjectRef, ScopePart, UserLogin
from openevs.domain.errors import InvalidInput
from openevs.identity import tokens as service
from openevs.identity.catalog import catalog
from openevs.identity.login import Ref
from openevs.identity.port import Grant
from openevs.identity.projects import list_scopes
from openevs.identity.roles import list_roles
from openevs.identity.tokens import Issued, Scope


async def post_token(call: Call) -> Reply:
    """Log in, or exchange a token for one of another scope."""
    auth = convert(json_object(call), AuthBody).auth
    issued = await _issue(call, auth.identity, _scope(auth.scope))
    return await _token_reply(call, issued.token, issued.grant)


async def get_token(call: Call) -> Reply:
    """Say what a token stands for."""
    subject = _subject(call)
    return await _token_reply(call, subject, await service.validate(call.identity, await grant_of(call), subject))


async def delete_token(call: Call) -> Reply:
    """Revoke a token."""
    await service.revoke(call.identity, await grant_of(call), _subject(call))
    return Reply()


async def get_catalog(call: Call) -> Reply:
    """Show the catalog as the caller's project sees it."""
    grant = await grant_of(call)
    services = catalog(call.base_url, call.deps.settings.api.region, grant.project_id)
    return Reply(collection(call, "catalog", catalog_view(services)))


async def list_auth_projects(call: Call) -> Reply:
    """List the projects to which the caller may get a token."""
    projects = await list_scopes(call.identity, await grant_of(call))
    return Reply(collection(call, "projects", [project_view(call, project) for project in projects]))


async def list_auth_domains(call: Call) -> Reply:
    """List the domains of the caller: the one there is."""
    return Reply(collection(call, "domains", [domain_view(call)]))


async def _issue(call: Call, part: IdentityPart, scope: Scope) -> Issued:
    if part.methods == ["password"]:
        if part.password is None:
            raise InvalidInput("auth.identity.password", "it is required with the method password.")
        return await _issue_by_password(call, part.password.user, scope)
    if part.methods == ["token"]:
        if part.token is None:
            raise InvalidInput("auth.identity.token", "it is required with the method token.")
        return await service.issue_by_token(call.identity, part.token.id, scope)
    raise InvalidInput("auth.identity.methods", "it must be either ['password'] or ['token'].")


async def _issue_by_password(call: Call, user: UserLogin, scope: Scope) -> Issued:
    ref = _ref("auth.identity.password.user", user.id, user.name, user.domain)
    return await service.issue_by_password(call.identity, ref, user.password, scope)


def _scope(scope: ScopePart | str | None) -> Scope:
    if scope is None:
        return Scope("default")
    if scope == "unscoped":
        return Scope("unscoped")
    if isinstance(scope, str):
        raise InvalidInput("auth.scope", "as a text it can only be 'unscoped'.")
    if sum(part is not None for part in (scope.project, scope.domain, scope.unscoped, scope.system)) != 1:
        raise InvalidInput("auth.scope", "it must have exactly one of project, domain, unscoped.")
    if scope.project is not None:
        return Scope("project", _project(scope.project))
    if scope.domain is not None:
        if scope.domain.id is None and scope.domain.name is None:
            raise InvalidInput("auth.scope.domain", "it must have an id or a name.")
        return Scope("domain", Ref(domain_id=scope.domain.id, domain_name=scope.domain.name))
    if scope.system is not None:
        raise InvalidInput("auth.scope.system", "there is no system scope; ask for a project or the domain.")
    return Scope("unscoped")


def _project(project: ProjectRef) -> Ref:
    return _ref("auth.scope.project", project.id, project.name, project.domain)


def _ref(field: str, id_: str | None, name: str | None, domain: DomainRef | None) -> Ref:
    if id_ is None and name is None:
        raise InvalidInput(field, "it must have an id, or a name and a domain.")
    return Ref(id_, name, domain.id if domain else None, domain.name if domain else None)


def _subject(call: Call) -> str:
    subject = call.headers.text(b"x-subject-token")
    if not subject:
        raise InvalidInput("X-Subject-Token", "the header is required.")
    return subject


async def _token_reply(call: Call, token: str, grant: Grant) -> Reply:
    roles = await list_roles(call.identity)
    services = None
    if "nocatalog" not in call.query:
        services = catalog(call.base_url, call.deps.settings.api.region, grant.project_id)
    return Reply(
        {"token": token_view(grant, roles, services)},
        headers={"X-Subject-Token": token, "Vary": "X-Auth-Token", "Cache-Control": "no-store"},
    )


ROUTES = [
    iam_route("POST", "auth/tokens", post_token, 201, "Get a token", policy="none", body=AuthBody),
    iam_route("GET", "auth/tokens", get_token, 200, "Check a token"),
    iam_route("DELETE", "auth/tokens", delete_token, 204, "Revoke a token"),
    iam_route("GET", "auth/catalog", get_catalog, 200, "Show the catalog"),
    iam_route("GET", "auth/projects", list_auth_projects, 200, "List own projects"),
    iam_route("GET", "auth/domains", list_auth_domains, 200, "List own domains"),
]
