"""An external Keystone instead of the embedded identity service: it issues tokens, and is asked what they stand for.

Each answer is kept for a while, `identity.keystone_cache_seconds`: that is how long a revocation may go unseen. A token
that Keystone does not know is refused (401). When Keystone itself cannot be asked, nothing is known about the token,
and the client is told to come back (503): a login that is still good must not look lost.

OpenEVS asks with a token of its own service user, which it gets by password, keeps until shortly before it expires, and
gets anew when Keystone no longer takes it.
"""

import asyncio
import hashlib
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, Final

import msgspec
import structlog

from openevs.domain.errors import Unavailable
from openevs.identity.cache import GrantCache
from openevs.identity.keystone_http import KeystoneHttp, KeystoneReply
from openevs.identity.port import Grant, with_implied
from openevs.settings import Identity

log = structlog.get_logger()

_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,16384}")
"""What may stand in a header; others are not worth a question."""
_RENEW_BEFORE: Final = timedelta(minutes=1)


class _Named(msgspec.Struct):
    id: str
    name: str = ""


class _Token(msgspec.Struct):
    user: _Named
    expires_at: datetime
    issued_at: datetime
    methods: list[str] = []
    audit_ids: list[str] = []
    roles: list[_Named] = []
    project: _Named | None = None
    domain: _Named | None = None


class _Answer(msgspec.Struct):
    token: _Token


class KeystoneVerifier:
    """Implements `port.Verifier`. Made once, in `compose`; `close` it when the service ends."""

    def __init__(self, settings: Identity, clock: Callable[[], datetime]) -> None:
        self._settings = settings
        self._clock = clock
        self._http = KeystoneHttp(settings.keystone_url, settings.keystone_timeout_seconds, settings.keystone_ca_file)
        self._roles = parse_roles(settings.keystone_roles)
        self._cache = GrantCache(clock, timedelta(seconds=settings.keystone_cache_seconds))
        self._asked: dict[str, asyncio.Task[Grant | None]] = {}
        """Digests of tokens that Keystone is being asked about: however many requests come with one, it is one."""
        self._own: tuple[str, datetime] | None = None
        self._logging_in = asyncio.Lock()

    async def verify(self, token: str) -> Grant | None:
        """See `port.Verifier`. Raises Unavailable when Keystone cannot be asked."""
        if not _TOKEN.fullmatch(token):
            return None
        digest = hashlib.sha256(token.encode()).hexdigest()
        known = self._cache.get(digest)
        if known is not None:
            return known.grant
        task = self._asked.get(digest)
        if task is None:
            task = asyncio.create_task(self._ask(token, digest))
            self._asked[digest] = task
            task.add_done_callback(lambda _: self._asked.pop(digest, None))
        # A client that hangs up takes its own request along, not the others'.
        return await asyncio.shield(task)

    def close(self) -> None:
        """Let go of Keystone."""
        self._http.close()

    async def _ask(self, token: str, digest: str) -> Grant | None:
        # The age of an answer counts from the question: what is revoked after it, it cannot know.
        asked_at = self._clock()
        reply = await self._validate(token)
        if reply.status == HTTPStatus.NOT_FOUND:
            self._cache.put(digest, None, asked_at)
            return None
        if reply.status != HTTPStatus.OK:
            raise _unusable("validating a token", reply.status)
        grant = self._grant_of(reply.body)
        self._cache.put(digest, grant, asked_at)
        return grant

    async def _validate(self, token: str) -> KeystoneReply:
        own = await self._own_token()
        reply = await self._get_token(own, token)
        if reply.status == HTTPStatus.UNAUTHORIZED:
            # It is our own token that is no longer taken: revoked, or Keystone's keys were changed.
            reply = await self._get_token(await self._own_token(refused=own), token)
        return reply

    async def _get_token(self, own: str, token: str) -> KeystoneReply:
        headers = {"X-Auth-Token": own, "X-Subject-Token": token}
        return await self._http.send("GET", "/auth/tokens?nocatalog", headers)

    async def _own_token(self, refused: str | None = None) -> str:
        async with self._logging_in:
            if self._own is None or self._own[0] == refused or self._clock() >= self._own[1] - _RENEW_BEFORE:
                self._own = await self._log_in()
            return self._own[0]

    async def _log_in(self) -> tuple[str, datetime]:
        given = self._settings
        user = {
            "name": given.keystone_user,
            "password": given.keystone_password,
            "domain": {"name": given.keystone_user_domain},
        }
        project = {"name": given.keystone_project, "domain": {"name": given.keystone_project_domain}}
        identity = {"methods": ["password"], "password": {"user": user}}
        body = {"auth": {"identity": identity, "scope": {"project": project}}}
        reply = await self._http.send("POST", "/auth/tokens?nocatalog", {}, body)
        token = reply.headers.get("x-subject-token")
        if reply.status != HTTPStatus.CREATED or not token:
            # For the operator, not for the client: whose fault it is stands in the settings.
            log.error("keystone_login_refused", status=reply.status, user=given.keystone_user)
            raise _unusable("a login of the service's own user", reply.status)
        return token, _parsed(reply.body).expires_at

    def _grant_of(self, body: object) -> Grant:
        token = _parsed(body)
        scoped = token.project is not None or token.domain is not None
        # What is scoped to the whole system has roles, but no project to use them on.
        ours = frozenset(self._roles[role.name] for role in token.roles if scoped and role.name in self._roles)
        return Grant(
            user_id=token.user.id,
            user_name=token.user.name,
            project_id=token.project.id if token.project else None,
            project_name=token.project.name if token.project else None,
            domain_scoped=token.domain is not None,
            roles=with_implied(ours),
            expires_at=token.expires_at,
            issued_at=token.issued_at,
            methods=tuple(token.methods),
            audit_id=token.audit_ids[0] if token.audit_ids else "",
        )


def parse_roles(text: str) -> Mapping[str, str]:
    """Return which of our roles each of Keystone's gives: `cloud_admin=admin, member` → cloud_admin and member."""
    pairs = (part.strip().partition("=") for part in text.split(",") if part.strip())
    return {theirs.strip(): (ours or theirs).strip() for theirs, _, ours in pairs}


def _parsed(body: Any) -> _Token:
    try:
        return msgspec.convert(body, _Answer).token
    except msgspec.ValidationError:
        raise _unusable("an answer that is no token's description", HTTPStatus.OK) from None


def _unusable(what: str, status: int) -> Unavailable:
    log.warning("keystone_unusable", what=what, status=status)
    return Unavailable(f"The identity service did not give a usable answer ({what}: {status}). Try again later.")
