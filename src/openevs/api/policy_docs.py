"""docs/policy.md, made from the table of `policy.py` and the routes, actions and fields that name its rules."""

from collections.abc import Iterable, Mapping
from typing import Final

from openevs.api.call import Level, Route
from openevs.api.policy import FIELDS, RULES
from openevs.api.routes import ROUTES

WHO: Final[Mapping[Level, tuple[str, str]]] = {
    "none": ("anybody", "nobody has to say who they are"),
    "token": ("any token", "a valid token, whatever it is scoped to"),
    "reader": ("reader, member, admin", "any role on the project: looks, and changes nothing"),
    "member": ("member, admin", "who works in the project"),
    "service": ("service, admin", "another service, or an operator"),
    "admin": ("admin", "an operator; what is another project's exists for them, too"),
}
"""Level → roles, and who that is."""

_HEAD = """# Who may do what

Made from the tables in `src/openevs/api/policy.py` and the routes; a test fails when this text is another.

Roles are those of the caller's token on the project that it is scoped to. What belongs to another project does not
exist (404), except for an administrator. The names are those of Cinder's secure RBAC.

| level | roles | who that is |
|---|---|---|
"""


def render_policy(routes: Iterable[Route] = tuple(ROUTES)) -> str:
    """Return docs/policy.md."""
    used: dict[str, list[str]] = {}
    for route in routes:
        place = f"`{route.method} {route.path}`"
        if not route.actions:
            used.setdefault(route.policy, []).append(place)
        for name, action in route.actions.items():
            used.setdefault(action.policy, []).append(f"`{name}` of {place}")
    for rule, fields in FIELDS.items():
        used.setdefault(rule, []).append("shows " + ", ".join(f"`{field}`" for field in fields))
    lines = [f"| {level} | {roles} | {who} |" for level, (roles, who) in WHO.items()]
    parts = [_HEAD + "\n".join(lines), "", "## Rules", "", "| rule | level | what |", "|---|---|---|"]
    parts += [f"| `{rule}` | {level} | {'<br>'.join(used.get(rule, ()))} |" for rule, level in RULES.items()]
    parts += ["", "## Without a rule", "", "| level | what |", "|---|---|"]
    parts += [f"| {level} | {'<br>'.join(used[level])} |" for level in WHO if level in used]
    return "\n".join(parts) + "\n"
