"""Who may do what to users, projects, roles and tokens."""

from typing import Final

from openevs.domain.errors import Forbidden
from openevs.identity.port import SERVICE, Grant

_READS_TOKENS: Final = frozenset({"admin", SERVICE})


def require_admin(caller: Grant, action: str) -> None:
    """Raise Forbidden, naming Keystone's `action`, unless the caller is an administrator."""
    if not caller.is_admin:
        raise Forbidden(action)


def require_admin_or_self(caller: Grant, user_id: str, action: str) -> None:
    """Raise Forbidden unless the caller is an administrator or that user."""
    if not caller.is_admin and caller.user_id != user_id:
        raise Forbidden(action)


def require_token_reader(caller: Grant, subject: Grant, action: str) -> None:
    """Raise Forbidden unless the caller may be told of somebody's token: an administrator, a service, or its owner."""
    if not caller.roles & _READS_TOKENS and caller.user_id != subject.user_id:
        raise Forbidden(action)
