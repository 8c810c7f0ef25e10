"""Tokens in the database, by the SHA-256 of what the client holds."""

from datetime import datetime
from typing import Final, NamedTuple

import sqlalchemy as sa

from openevs.store.database import Tx
from openevs.store.identity.roles import names_of_roles
from openevs.store.tables import project, token, user


class Token(NamedTuple):
    """A token, in the order of the table's columns."""

    digest: str
    user_id: str
    project_id: str | None
    domain_id: str | None
    methods: str
    audit_id: str
    issued_at: datetime
    expires_at: datetime


class TokenFacts(NamedTuple):
    """A token and the present state of what it refers to."""

    token: Token
    user_name: str
    user_enabled: bool
    project_name: str | None
    project_enabled: bool | None
    roles: frozenset[str]
    """Names of the user's roles on the token's scope, without implied ones."""


# Made once: on the path of every request, making a statement would cost more than running it.
_BY_DIGEST: Final = (
    sa.select(token, user.c.name, user.c.enabled, project.c.name, project.c.enabled)
    .select_from(token.join(user, user.c.id == token.c.user_id).outerjoin(project, project.c.id == token.c.project_id))
    .where(token.c.digest == sa.bindparam("wanted"))
)


def insert_token(tx: Tx, new: Token) -> None:
    """Insert a token."""
    tx.execute(token.insert().values(new._asdict()))


def find_token(tx: Tx, digest: str) -> TokenFacts | None:
    """Return a token by its digest, expired or not."""
    row = tx.execute(_BY_DIGEST, {"wanted": digest}).one_or_none()
    if row is None:
        return None
    columns, (user_name, user_enabled, project_name, project_enabled) = row[:8], row[8:]
    found = Token(*columns)
    roles: frozenset[str] = frozenset()
    if found.project_id is not None:
        roles = names_of_roles(tx, found.user_id, "project", found.project_id)
    elif found.domain_id is not None:
        roles = names_of_roles(tx, found.user_id, "domain", found.domain_id)
    return TokenFacts(found, user_name, user_enabled, project_name, project_enabled, roles)


def delete_token(tx: Tx, digest: str) -> bool:
    """Delete a token; return False when there was none."""
    return tx.execute(token.delete().where(token.c.digest == digest)).rowcount == 1


def delete_tokens_of_user(tx: Tx, user_id: str) -> int:
    """Delete all tokens of a user and return their number."""
    return tx.execute(token.delete().where(token.c.user_id == user_id)).rowcount


def delete_tokens_of_project(tx: Tx, project_id: str) -> int:
    """Delete all tokens scoped to a project and return their number."""
    return tx.execute(token.delete().where(token.c.project_id == project_id)).rowcount


def delete_expired_tokens(tx: Tx, now: datetime) -> int:
    """Delete the tokens that expired at `now` or before and return their number."""
    return tx.execute(token.delete().where(token.c.expires_at <= now)).rowcount
