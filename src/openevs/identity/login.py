"""Telling by a password who somebody is.

A wrong name, a wrong password and a disabled user get the same answer after the same work; so does waiting after too
many failures (`throttle`).
"""

from typing import Final, NamedTuple

from openevs.domain.errors import Unauthenticated
from openevs.identity.embedded import EmbeddedIdentity
from openevs.identity.port import DOMAIN_ID, DOMAIN_NAME
from openevs.store.database import Tx
from openevs.store.identity.users import User, find_user, get_user

REFUSAL: Final = "The user name, password or domain is wrong."


class Ref(NamedTuple):
    """A user or a project as clients name it: by id, or by a name within a domain."""

    id: str | None = None
    name: str | None = None
    domain_id: str | None = None
    domain_name: str | None = None

    @property
    def in_the_domain(self) -> bool:
        """Say whether the domain is ours. Leaving it out is naming it: there is only one."""
        if self.domain_id is not None:
            return self.domain_id == DOMAIN_ID
        return self.domain_name is None or self.domain_name.casefold() == DOMAIN_NAME.casefold()


async def prove(identity: EmbeddedIdentity, ref: Ref, password: str) -> User:
    """Return the enabled user who has that password. Raises Unauthenticated, Unavailable (too many at a time)."""
    user = identity.db.read_now(_named_user, ref)
    # By user, where there is one: its name and its id must not give two rows of attempts.
    counted = user.id if user is not None else f"{ref.id!r} {ref.name!r}"[:300]
    identity.throttle.check(counted)
    right = await identity.passwords.matches(password, None if user is None else user.password_hash)
    # Once more: of many attempts sent at a time, those behind the last free failure must not count.
    identity.throttle.check(counted)
    if user is None or not right or not user.enabled:
        identity.throttle.failed(counted)
        raise Unauthenticated(REFUSAL)
    identity.throttle.succeeded(counted)
    return user


def _named_user(tx: Tx, ref: Ref) -> User | None:
    if ref.id is not None:
        return get_user(tx, ref.id)
    return find_user(tx, ref.name) if ref.name is not None and ref.in_the_domain else None
