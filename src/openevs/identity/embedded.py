"""The identity service that comes with OpenEVS: who its use cases are done with, and the verifier of its tokens.

The use cases are functions in `tokens`, `users`, `projects`, `roles` and `access_keys`; each takes an
`EmbeddedIdentity` first. Signed requests are verified in `signed`.
A token is 32 random bytes; the database knows only its SHA-256.
"""

import asyncio
import hashlib
import re
from collections.abc import Callable
from datetime import datetime
from typing import Concatenate, Final, ParamSpec, TypeVar

from openevs.identity.cache import GrantCache
from openevs.identity.lockout import Lockout
from openevs.identity.passwords import Passwords
from openevs.identity.port import Grant, with_implied
from openevs.identity.throttle import LoginThrottle
from openevs.settings import Identity
from openevs.store.database import Database, Tx
from openevs.store.identity.tokens import TokenFacts, find_token

P = ParamSpec("P")
T = TypeVar("T")

TOKEN_BYTES: Final = 32
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{43}")
"""The URL-safe base64 form of that many bytes."""


class EmbeddedIdentity:
    """Implements `port.Verifier`. Made once, in `compose`; `close` it when the service ends."""

    def __init__(self, db: Database, settings: Identity, clock: Callable[[], datetime]) -> None:
        self.db = db
        self.settings = settings
        self.clock = clock
        self.passwords = Passwords(settings.password_hash_mib)
        self.throttle = LoginThrottle(settings.login_failures, settings.login_wait_seconds, clock)
        self.lockout = Lockout(clock)
        self._cache = GrantCache(clock)

    async def verify(self, token: str) -> Grant | None:
        """See `port.Verifier`."""
        if not _TOKEN.fullmatch(token):
            return None
        digest = digest_of(token)
        known = self._cache.get(digest)
        if known is not None:
            return known.grant
        # No await between the read and the put: a change that is made meanwhile clears the cache after both.
        facts = self.db.read_now(find_token, digest)
        grant = None if facts is None else grant_of(facts, self.clock())
        if grant is not None:
            self._cache.put(digest, grant)
        return grant

    async def change(self, fn: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a transaction that changes what grants rest on, and forget all grants once it is done."""
        written = asyncio.ensure_future(self.db.write(fn, *args, **kwargs))
        # By callback, not after an await: a client that hangs up cancels the await but not the transaction.
        written.add_done_callback(lambda _: self._cache.clear())
        return await asyncio.shield(written)

    def close(self) -> None:
        """End the threads that check passwords."""
        self.passwords.close()


def digest_of(token: str) -> str:
    """Return what the database keeps of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def grant_of(facts: TokenFacts, now: datetime) -> Grant | None:
    """Return what a token stands for at `now`, or None when it has expired or what it refers to is gone or disabled."""
    token = facts.token
    scoped = token.project_id is not None or token.domain_id is not None
    if now >= token.expires_at or not facts.user_enabled:
        return None
    if token.project_id is not None and not facts.project_enabled:
        return None
    if scoped and not facts.roles:
        return None
    return Grant(
        user_id=token.user_id,
        user_name=facts.user_name,
        project_id=token.project_id,
        project_name=facts.project_name,
        domain_scoped=token.domain_id is not None,
        roles=with_implied(facts.roles),
        expires_at=token.expires_at,
        issued_at=token.issued_at,
        methods=tuple(token.methods.split(",")),
        audit_id=token.audit_id,
    )
