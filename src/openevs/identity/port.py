"""What the rest of OpenEVS knows of identity: a token stands for a grant, and somebody can verify it.

`EmbeddedIdentity` is the verifier that comes with OpenEVS; one that asks an external Keystone has the same one method.
"""

from datetime import datetime
from typing import Final, NamedTuple, Protocol

DOMAIN_ID: Final = "default"
DOMAIN_NAME: Final = "Default"
"""The one domain: OpenEVS separates by projects, but Keystone's clients insist on naming a domain."""

ADMIN: Final = "admin"
MEMBER: Final = "member"
READER: Final = "reader"
SERVICE: Final = "service"
IMPLIED: Final = {ADMIN: (MEMBER, READER), MEMBER: (READER,)}
"""Roles that come with a role, as in Keystone's own bootstrap; those of these are named here too."""


class Grant(NamedTuple):
    """What a valid token stands for. Times are aware UTC."""

    user_id: str
    user_name: str
    project_id: str | None
    """The project that the token is scoped to; None when it is unscoped or scoped to the domain."""
    project_name: str | None
    domain_scoped: bool
    roles: frozenset[str]
    """Names of the roles on the scope, implied ones included; empty when unscoped."""
    expires_at: datetime
    issued_at: datetime
    methods: tuple[str, ...]
    """How the caller proved who they are: `password`, `token`, `aksk`."""
    audit_id: str
    """Names the token in records without letting anybody in."""

    @property
    def is_admin(self) -> bool:
        """Say whether the role on the scope is that of an operator."""
        return ADMIN in self.roles


class Verifier(Protocol):
    """Tells what a token stands for."""

    async def verify(self, token: str) -> Grant | None:
        """Return what `token` stands for now, or None when it is unknown, expired, revoked, or its user, project or
        roles are no more. May be called on every request: an answer that is known takes microseconds."""
        ...


def with_implied(roles: frozenset[str]) -> frozenset[str]:
    """Return `roles` and all that they imply."""
    return roles.union(*(IMPLIED.get(role, ()) for role in roles))
