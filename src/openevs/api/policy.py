"""Who may do what: each route names a policy, and this table says what a policy asks for."""

from collections.abc import Callable
from typing import Final

from openevs.api.call import Policy, Route
from openevs.api.faults import HttpRefusal
from openevs.domain.errors import Forbidden
from openevs.domain.model import Caller
from openevs.identity.port import Grant

ALLOWS: Final[dict[Policy, Callable[[Caller], bool]]] = {
    "none": lambda caller: True,
    "token": lambda caller: True,
    "reader": lambda caller: bool(caller.roles & {"reader", "member", "admin", "service"}),
    "member": lambda caller: caller.can_write,
    "admin": lambda caller: caller.is_admin,
    "service": lambda caller: bool(caller.roles & {"service", "admin"}),
}


def check_policy(route: Route, caller: Caller, grant: Grant, project_id: str | None) -> None:
    """Refuse a caller who may not do this. Raises Forbidden; HttpRefusal for a project that is not the token's."""
    if route.policy == "token":
        return
    if project_id is not None and project_id != grant.project_id:
        # Cinder calls this a malformed URL (spec 5.4); Huawei has a code of its own for it.
        refused = HttpRefusal(400, f"Malformed request url: project {project_id} is not the project of the token.")
        raise refused.with_code("EVS.0001")
    if grant.project_id is None:
        raise Forbidden(f"{route.method} {route.path} without a project in the token's scope")
    if not ALLOWS[route.policy](caller):
        raise Forbidden(f"{route.method} {route.path}")
