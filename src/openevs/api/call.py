"""What a handler is given, what it returns, and how it is announced in the route table."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

from starlette.datastructures import QueryParams
from starlette.types import Scope

from openevs.api.headers import Headers
from openevs.domain.model import Caller
from openevs.identity.embedded import EmbeddedIdentity
from openevs.identity.port import Grant
from openevs.service.deps import Deps

Version = tuple[int, int]
"""A microversion: (3, 40)."""

Family = Literal["native", "evs", "flat", "iam"]
"""How errors look (`faults.py`): Cinder's fault names; `{"error": {…}}` with EVS codes; flat; Keystone's."""

Level = Literal["none", "token", "reader", "member", "service", "admin"]
"""Who may call: anybody; anybody with a valid token, whatever it is scoped to; any role on the project; who may change
things; a service or an administrator; an administrator."""


def raw_path(scope: Scope) -> str:
    """Return a request's path as the client wrote it, with what is encoded in it."""
    raw: bytes | None = scope.get("raw_path")
    return quote(scope["path"]) if raw is None else raw.decode("latin-1")


class Reply(NamedTuple):
    """What a handler returns. The status is the route's unless given here."""

    body: Any = None
    """Anything msgspec can encode; None: no body."""
    status: int | None = None
    headers: Mapping[str, str] = {}


@dataclass
class Call:
    """One request, understood: who asks, in which version, with which path, query and body."""

    scope: Scope
    """The request as the server has read it."""
    method: str
    path: Mapping[str, str]
    query: QueryParams
    headers: Headers
    body: bytes
    caller: Caller
    family: Family
    api: str
    """`v2` or `v3`, as in the URL."""
    version: Version
    shows_own: bool
    """Whether fields that only OpenEVS has are shown: on native v3, to those that ask for them."""
    deps: Deps
    identity: EmbeddedIdentity
    warnings: list[str] = field(default_factory=list)
    """Shown to the client in `Warning` headers."""
    token: str | None = None
    grant: Grant | None = None
    """What the caller's token or signature stands for; None where nobody has to show one."""

    def at_least(self, minor: int) -> bool:
        """Say whether the request's microversion is 3.`minor` or later."""
        return self.version >= (3, minor)

    @cached_property
    def base_url(self) -> str:
        """`http://host:port`, for links."""
        public: str = self.deps.settings.server.public_url
        return public.rstrip("/") or f"{self.scope['scheme']}://{self.headers.text(b'host') or 'localhost'}"

    @property
    def url(self) -> str:
        """The whole URL as the client wrote it, without the query."""
        return self.base_url + raw_path(self.scope)

    def links(self, project_id: str, kind: str, resource_id: str) -> list[dict[str, str]]:
        """Return the links of a project's resource; they lead to the native resource in every family."""
        api, place = self.api if self.family == "native" else "v2", f"{project_id}/{kind}/{resource_id}"
        return [
            {"rel": "self", "href": f"{self.base_url}/{api}/{place}"},
            {"rel": "bookmark", "href": f"{self.base_url}/{place}"},
        ]

    @property
    def strict(self) -> bool:
        """Whether unknown keys of a body are refused: Cinder's v3 does, v2 and Huawei's own resources do not."""
        return self.api == "v3" and self.family == "native"


Handler = Callable[[Call], Awaitable[Reply]]


class Route(NamedTuple):
    """One row of the route table."""

    method: str
    path: str
    """Below the version: `{project_id}/snapshots/{snapshot_id}`; absolute if it begins with `/`."""
    handler: Handler
    status: int
    summary: str
    apis: tuple[str, ...] = ("v2", "v3")
    policy: str = "member"
    """A rule of `api/policy.py`, or a level for what has none."""
    family: Family = "native"
    since: int = 0
    """The microversion 3.`since` from which v3 has this call; earlier, it is not there (404)."""
    body: type | None = None
    """Struct of the request's body, for OpenAPI; the handler parses it."""
    reply: Any = None
    """Type of the answer's body, for OpenAPI."""
    query: tuple[str, ...] = ()
    """Names of query parameters, for OpenAPI."""
    tag: str = ""
    actions: Mapping[str, Any] = {}
    """What the body may ask for, by name (`handlers/actions.py`); each has a policy of its own."""
