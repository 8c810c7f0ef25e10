"""The ASGI application: one request from its first byte to its last.

In order: an id for the request, its route, its body (bounded in size and time), its version, its caller, what the
caller may do, then the handler. A refusal becomes an answer by the tables of `faults.py`; anything unexpected becomes
a fixed sentence with the request's id, and the traceback goes to the log, once.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote

import msgspec
import structlog
from starlette.datastructures import QueryParams
from starlette.types import Message, Receive, Scope, Send

from openevs.api.call import Call, Family, Reply, Route, raw_path
from openevs.api.faults import HttpRefusal, fault, refusal
from openevs.api.headers import Headers, Pair, answer_headers
from openevs.api.policy import check_policy
from openevs.api.tree import Match, RouteTree
from openevs.api.versions import LOWEST, negotiate, version_marks
from openevs.domain.errors import DomainError, InvalidInput, Unauthenticated
from openevs.domain.ids import ProjectId, UserId, random_uuids
from openevs.domain.model import Caller, ClientToken
from openevs.identity.embedded import EmbeddedIdentity
from openevs.identity.port import Grant, Verifier
from openevs.identity.signed import verify_signed
from openevs.identity.signing import SignatureRefused, SignedRequest, claim_of
from openevs.observe.log import REQUEST_ID
from openevs.service.deps import Deps

log = structlog.get_logger()

NOBODY: Final = (UserId(""), ProjectId(""), frozenset[str]())
"""User, project and roles of who shows no token."""
FAMILIES: Final[Mapping[str, Family]] = {"identity": "iam", "v3.0": "iam", "v1": "evs", "v2.1": "evs", "v5": "evs"}
"""First segment of a path that leads nowhere → how the error looks; all others: native."""
Observe = Callable[[tuple[str, str, str], float], None]
"""Called after each request: method, route's path and status; seconds."""
_encode = msgspec.json.Encoder().encode
_NO_QUERY = QueryParams()
_NO_CONTENT = int(HTTPStatus.NO_CONTENT)


class Endpoint:
    """The API as an ASGI application."""

    def __init__(
        self,
        tree: RouteTree,
        deps: Deps,
        identity: EmbeddedIdentity,
        observe: Observe,
        external: Verifier | None = None,
    ) -> None:
        """`external` verifies tokens instead of `identity`, if it is given; nothing else does it then."""
        self._tree, self._deps, self._identity, self._observe = tree, deps, identity, observe
        self._external = external
        self._verifier: Verifier = external or identity
        self.limits = deps.settings.server
        self._uuids = random_uuids()
        # Asked once: putting a line together that nobody logs takes as long as finding the row.
        self._logs_each = deps.settings.log.level == "debug"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        began = time.perf_counter()
        request_id = f"req-{next(self._uuids)}"
        # A request is a task of its own, and so is its context: what is set here ends with it.
        REQUEST_ID.set(request_id)
        method, path = scope["method"], scope["path"]
        match, route, marks = self._tree.find(_segments(scope)), None, _marks(request_id)
        try:
            route, api = _choose(match, method, path)
            assert match is not None  # noqa: S101 - _choose has refused
            call = await self._understand(scope, receive, request_id, route, api, match, marks)
            reply = await route.handler(call)
            status = reply.status or route.status
            if call.warnings:
                marks.append((b"warning", _warnings(call.warnings)))
        except DomainError as error:
            reply = refusal(_family_of(route, match, path), error, request_id)
            status = reply.status or 500
        except Exception:
            log.exception("request_crashed", method=method, path=path)
            text = f"An unexpected error prevented the server from fulfilling your request. (Request-ID: {request_id})"
            reply, status = fault(_family_of(route, match, path), 500, text), 500
        await _send(send, method, reply, status, marks)
        seconds = time.perf_counter() - began
        self._observe((method, "?" if route is None else route.path, str(status)), seconds)
        if self._logs_each:
            log.debug("request", method=method, path=path, status=status, seconds=round(seconds, 6))

    async def _understand(
        self,
        scope: Scope,
        receive: Receive,
        request_id: str,
        route: Route,
        api: str,
        match: Match,
        marks: list[Pair],
    ) -> Call:
        headers = Headers(scope["headers"])
        body = await self._read_body(headers, receive) if _has_body(headers) else b""
        version, shows_own = LOWEST, True
        if api == "v3" and route.family == "native":
            version, shows_own = negotiate(headers)
            marks += version_marks(version)
            if version < (3, route.since):
                raise HttpRefusal(404, f"{route.method} {route.path} is there from microversion 3.{route.since} on.")
        token = headers.text(b"x-auth-token")
        if route.policy == "none":
            caller, grant = Caller(*NOBODY, request_id), None
        else:
            project_id = match.values.get("project_id")
            if token:
                grant = await self._verifier.verify(token)
                if grant is None:
                    raise Unauthenticated("the token is unknown or has expired")
            else:
                grant = self._verify_signed(scope, headers, body, route, project_id)
            caller = Caller(UserId(grant.user_id), ProjectId(grant.project_id or ""), grant.roles, request_id)
            check_policy(route, caller, grant, project_id)
        if route.method == "POST" and (once := headers.text(b"x-client-token")) is not None:
            caller = caller._replace(once=_client_token(once, scope["path"], body))
        return Call(
            scope=scope,
            method=route.method,
            path=match.values,
            query=QueryParams(scope["query_string"]) if scope["query_string"] else _NO_QUERY,
            headers=headers,
            body=body,
            caller=caller,
            family=route.family,
            api=api,
            version=version,
            shows_own=shows_own,
            deps=self._deps,
            identity=self._identity,
            token=token,
            grant=grant,
        )

    def _verify_signed(
        self, scope: Scope, headers: Headers, body: bytes, route: Route, project_id: str | None
    ) -> Grant:
        path = raw_path(scope).encode("latin-1")
        request = SignedRequest(scope["method"], path, scope["query_string"], scope["headers"], body)
        claim = claim_of(request)
        if claim is None:
            raise Unauthenticated("no X-Auth-Token header")
        if self._external is not None:
            raise SignatureRefused("signed requests need the embedded identity service: access keys are its own.")
        if b"x-security-token" in headers:
            raise SignatureRefused("temporary access keys are not issued here: X-Security-Token is not known.")
        # In identity's own paths a project is what is asked about, not what is worked in.
        wanted = headers.text(b"x-project-id") or (project_id if route.family != "iam" else None)
        return verify_signed(self._identity, request, claim, wanted)

    async def _read_body(self, headers: Headers, receive: Receive) -> bytes:
        most = self.limits.max_body_bytes
        declared = headers.text(b"content-length") or ""
        if declared.isdigit() and int(declared) > most:
            raise HttpRefusal(413, f"The body has {declared} bytes, but may have at most {most}.")
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self.limits.request_timeout_seconds):
                while True:
                    message: Message = await receive()
                    if message["type"] == "http.disconnect":
                        raise HttpRefusal(400, "The client went away.")
                    chunks.append(message.get("body", b""))
                    size += len(chunks[-1])
                    if size > most:
                        raise HttpRefusal(413, f"The body is longer than the {most} bytes it may have.")
                    if not message.get("more_body", False):
                        return b"".join(chunks)
        except TimeoutError:
            raise HttpRefusal(408, f"The body did not arrive within {self.limits.request_timeout_seconds} s.") from None


def _has_body(headers: Headers) -> bool:
    """Say whether there is one to wait for (RFC 9112, 6.3)."""
    return headers.get(b"content-length") not in (None, b"", b"0") or b"transfer-encoding" in headers


def _segments(scope: Scope) -> list[str]:
    """Return the parts of the path, each decoded once and by itself: an encoded slash does not separate."""
    path = raw_path(scope)
    segments = path.strip("/").split("/")
    if "%" not in path:
        return segments
    segments = [unquote(segment) for segment in segments]
    # No name has a NUL in it, and not every database takes one for a text.
    return ["\0"] if any("\0" in segment for segment in segments) else segments


def _family_of(route: Route | None, match: Match | None, path: str) -> Family:
    if route is not None:
        return route.family
    if match is None:
        return FAMILIES.get(path.split("/", 2)[1] if path.startswith("/") else "", "native")
    return next(iter(match.methods.values()))[0].family


def _choose(match: Match | None, method: str, path: str) -> tuple[Route, str]:
    if match is None or (path.endswith("/") and _is_native(match)):
        raise HttpRefusal(404, "The resource could not be found.")
    found = match.methods.get(method) or (match.methods.get("GET") if method == "HEAD" else None)
    if found is None:
        allowed = ", ".join(sorted(match.methods))
        raise HttpRefusal(405, f"The method {method} is not allowed for this resource; it has {allowed}.")
    return found


def _is_native(match: Match) -> bool:
    # In Cinder a path that ends with a slash is that of a resource whose id is empty, and there is none.
    route = next(iter(match.methods.values()))[0]
    return route.family == "native" and "project_id" in match.values


def _client_token(token: str, path: str, body: bytes) -> ClientToken:
    if not 1 <= len(token) <= 255:
        raise InvalidInput("X-Client-Token", "it must have 1 to 255 characters.", "EVS.2218")
    return ClientToken(token, hashlib.sha256(path.encode() + b"\0" + body).hexdigest())


def _marks(request_id: str) -> list[Pair]:
    value = request_id.encode()
    return [(b"x-request-id", value), (b"x-openstack-request-id", value), (b"x-compute-request-id", value)]


def _warnings(texts: list[str]) -> bytes:
    return ", ".join(f'299 openevs "{text}"' for text in texts).encode("latin-1", "replace")


async def _send(send: Send, method: str, reply: Reply, status: int, marks: list[Pair]) -> None:
    body = b"" if reply.body is None else reply.body if isinstance(reply.body, bytes) else _encode(reply.body)
    headers = answer_headers(marks, reply.headers)
    if body and "Content-Type" not in reply.headers:
        headers.append((b"content-type", b"application/json"))
    if status != _NO_CONTENT:
        headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})
