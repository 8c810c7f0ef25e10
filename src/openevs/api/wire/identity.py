"""Identity as the API writes it: Keystone v3's views, and the filters of its lists (spec 1.2, 1.3)."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from openevs.api.call import Call
from openevs.api.wire.bodies import flag
from openevs.api.wire.times import wire_time
from openevs.domain.errors import InvalidInput
from openevs.identity.catalog import Endpoint, Service
from openevs.identity.port import DOMAIN_ID, DOMAIN_NAME, Grant
from openevs.store.identity.access_keys import AccessKey
from openevs.store.identity.projects import Project
from openevs.store.identity.roles import NamedAssignment, Role
from openevs.store.identity.users import User

View = dict[str, Any]
_THE_DOMAIN: Final = {"id": DOMAIN_ID, "name": DOMAIN_NAME}


def project_view(call: Call, project: Project) -> View:
    """Return a project."""
    return {
        "id": project.id,
        "name": project.name,
        "domain_id": DOMAIN_ID,
        "parent_id": DOMAIN_ID,
        "is_domain": False,
        "enabled": project.enabled,
        "description": project.description,
        "tags": [],
        "options": {},
        "links": _self(call, "projects", project.id),
    }


def user_view(call: Call, user: User) -> View:
    """Return a user."""
    view = {
        "id": user.id,
        "name": user.name,
        "domain_id": DOMAIN_ID,
        "enabled": user.enabled,
        "email": user.email,
        "description": user.description,
        "password_expires_at": None,
        "options": {},
        "links": _self(call, "users", user.id),
    }
    # Keystone leaves it out rather than show null, and clients test for the key.
    return view if user.default_project_id is None else {**view, "default_project_id": user.default_project_id}


def role_view(call: Call, role: Role) -> View:
    """Return a role."""
    return {
        "id": role.id,
        "name": role.name,
        "domain_id": None,
        "description": None,
        "options": {},
        "links": _self(call, "roles", role.id),
    }


def domain_view(call: Call) -> View:
    """Return the one domain."""
    return {
        **_THE_DOMAIN,
        "description": "The only domain.",
        "enabled": True,
        "tags": [],
        "options": {},
        "links": _self(call, "domains", DOMAIN_ID),
    }


def token_view(grant: Grant, roles: Sequence[Role], services: Sequence[Service] | None) -> View:
    """Return what a token stands for; `services` None: without a catalog."""
    view: View = {
        "methods": list(grant.methods),
        "user": {"id": grant.user_id, "name": grant.user_name, "domain": _THE_DOMAIN, "password_expires_at": None},
        "audit_ids": [grant.audit_id],
        "issued_at": _time(grant.issued_at),
        "expires_at": _time(grant.expires_at),
    }
    if grant.project_id is not None:
        view["project"] = {"id": grant.project_id, "name": grant.project_name, "domain": _THE_DOMAIN}
        view["is_domain"] = False
    elif grant.domain_scoped:
        view["domain"] = _THE_DOMAIN
    if grant.roles:
        view["roles"] = [{"id": role.id, "name": role.name} for role in roles if role.name in grant.roles]
        if services is not None:
            view["catalog"] = catalog_view(services)
    return view


def catalog_view(services: Sequence[Service]) -> list[View]:
    """Return the catalog as it stands in a token."""
    return [
        {
            "id": service.id,
            "type": service.type,
            "name": service.name,
            "endpoints": [
                {
                    "id": endpoint.id,
                    "interface": endpoint.interface,
                    "region": endpoint.region,
                    "region_id": endpoint.region,
                    "url": endpoint.url,
                }
                for endpoint in service.endpoints
            ],
        }
        for service in services
    ]


def service_view(call: Call, service: Service) -> View:
    """Return a service."""
    return {
        "id": service.id,
        "type": service.type,
        "name": service.name,
        "description": "",
        "enabled": True,
        "links": _self(call, "services", service.id),
    }


def endpoint_view(call: Call, endpoint: Endpoint) -> View:
    """Return an endpoint."""
    return {
        "id": endpoint.id,
        "service_id": endpoint.service_id,
        "interface": endpoint.interface,
        "region": endpoint.region,
        "region_id": endpoint.region,
        "url": endpoint.url,
        "enabled": True,
        "links": _self(call, "endpoints", endpoint.id),
    }


def region_view(call: Call, region: str) -> View:
    """Return a region."""
    return {"id": region, "description": "", "parent_region_id": None, "links": _self(call, "regions", region)}


def credential_view(key: AccessKey, *, secret: bool = False) -> View:
    """Return an access key as Huawei's IAM does; the secret only right after it was made."""
    view = {
        "access": key.access,
        "user_id": key.user_id,
        "description": key.description,
        "status": "active" if key.enabled else "inactive",
        "create_time": _time(key.created_at),
    }
    return {**view, "secret": key.secret} if secret else view


def assignment_view(call: Call, named: NamedAssignment, *, names: bool) -> View:
    """Return a role assignment, with the names of what it ties where `names`."""
    given = named.assignment
    on_project = given.target_kind == "project"
    role: View = {"id": given.role_id}
    user: View = {"id": given.user_id}
    target: View = {"id": given.target_id}
    if names:
        role |= {"name": named.role_name}
        user |= {"name": named.user_name, "domain": _THE_DOMAIN}
        target |= {"name": named.project_name, "domain": _THE_DOMAIN} if on_project else {"name": DOMAIN_NAME}
    path = f"{given.target_kind}s/{given.target_id}/users/{given.user_id}/roles/{given.role_id}"
    return {
        "role": role,
        "user": user,
        "scope": {given.target_kind: target},
        "links": {"assignment": f"{call.base_url}/identity/v3/{path}"},
    }


def collection(
    call: Call, name: str, views: Sequence[Mapping[str, Any]], previous: str | None = None, following: str | None = None
) -> View:
    """Return a list in Keystone's envelope; the other two are the links to the pages before and after this one."""
    query = f"?{call.query}" if call.query else ""
    return {name: views, "links": {"self": call.url + query, "previous": previous, "next": following}}


def flag_filter(call: Call, name: str) -> bool | None:
    """Return a yes-or-no filter, None if it was not given. A bare `?enabled` means yes, as in Keystone."""
    text = call.query.get(name)
    return None if text is None else flag(name, text or True)


def in_the_domain(call: Call) -> bool:
    """Say whether a list is asked for our domain, or for none in particular."""
    return call.query.get("domain_id", DOMAIN_ID) == DOMAIN_ID


def check_domain(field: str, domain_id: str | None) -> None:
    """Refuse a domain that is not ours. Raises InvalidInput."""
    if domain_id is not None and domain_id != DOMAIN_ID:
        raise InvalidInput(field, f"there is only the domain {DOMAIN_ID!r}.")


def _self(call: Call, kind: str, resource_id: str) -> dict[str, str]:
    return {"self": f"{call.base_url}/identity/v3/{kind}/{resource_id}"}


def _time(moment: Any) -> str:
    return f"{wire_time(moment)}Z"
