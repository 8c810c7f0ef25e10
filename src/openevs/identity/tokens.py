"""Issue, check and revoke tokens."""

import secrets
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple

from openevs.domain.errors import NotFound, Unauthenticated
from openevs.identity.access import require_token_reader
from openevs.identity.embedded import TOKEN_BYTES, EmbeddedIdentity, digest_of, grant_of
from openevs.identity.login import REFUSAL, Ref, prove
from openevs.identity.port import DOMAIN_ID, Grant
from openevs.store.database import Tx
from openevs.store.identity.projects import find_project, get_project
from openevs.store.identity.roles import names_of_roles
from openevs.store.identity.tokens import Token, delete_expired_tokens, delete_token, find_token, insert_token
from openevs.store.identity.users import get_user

_NO_ACCESS: Final = "The user has no role on that project or domain, or it is disabled, or does not exist."
_AUDIT_BYTES: Final = 16


class Scope(NamedTuple):
    """What a token is asked for: `default` is the user's default project if there is one that will do."""

    kind: Literal["default", "unscoped", "project", "domain"]
    ref: Ref = Ref()


class Issued(NamedTuple):
    """A new token and what it stands for."""

    token: str
    grant: Grant

    def __repr__(self) -> str:
        """Without the token: it is a secret."""
        return f"Issued(grant={self.grant!r})"


class _Proof(NamedTuple):
    """Why a token may be issued; looked at again in the transaction that inserts it."""

    user_id: str
    password_hash: str | None
    parent_digest: str | None
    methods: tuple[str, ...]
    expires_at: datetime


async def issue_by_password(identity: EmbeddedIdentity, user: Ref, password: str, scope: Scope) -> Issued:
    """Issue a token to who knows a password. Raises Unauthenticated, Unavailable (too many at a time)."""
    proven = await prove(identity, user, password)
    expires_at = identity.clock() + timedelta(hours=identity.settings.token_hours)
    return await _issue(identity, _Proof(proven.id, proven.password_hash, None, ("password",), expires_at), scope)


async def issue_by_token(identity: EmbeddedIdentity, token: str, scope: Scope) -> Issued:
    """Issue a token to who holds another one: it ends when that one would have ended. Raises Unauthenticated."""
    parent = await identity.verify(token)
    if parent is None:
        raise Unauthenticated("The token is unknown, expired or revoked.")
    methods = tuple(dict.fromkeys(("token", *parent.methods)))
    return await _issue(identity, _Proof(parent.user_id, None, digest_of(token), methods, parent.expires_at), scope)


async def validate(identity: EmbeddedIdentity, caller: Grant, subject: str) -> Grant:
    """Return what the token `subject` stands for. Raises NotFound when it is not valid, Forbidden."""
    return await _subject(identity, caller, subject, "identity:validate_token")


async def revoke(identity: EmbeddedIdentity, caller: Grant, subject: str) -> None:
    """Make the token `subject` invalid at once. Raises NotFound when it is not valid, Forbidden."""
    await _subject(identity, caller, subject, "identity:revoke_token")
    await identity.change(delete_token, digest_of(subject))


async def sweep(identity: EmbeddedIdentity) -> int:
    """Delete the tokens that have expired and return their number. They are refused in any case: this saves room."""
    return await identity.db.write(delete_expired_tokens, identity.clock())


async def _subject(identity: EmbeddedIdentity, caller: Grant, subject: str, action: str) -> Grant:
    grant = await identity.verify(subject)
    if grant is None:
        raise NotFound("token", "in X-Subject-Token")
    require_token_reader(caller, grant, action)
    return grant


async def _issue(identity: EmbeddedIdentity, proof: _Proof, scope: Scope) -> Issued:
    token = secrets.token_urlsafe(TOKEN_BYTES)
    audit_id = secrets.token_urlsafe(_AUDIT_BYTES)
    return Issued(token, await identity.db.write(_insert, proof, scope, digest_of(token), audit_id, identity.clock()))


def _insert(tx: Tx, proof: _Proof, scope: Scope, digest: str, audit_id: str, now: datetime) -> Grant:
    if not _still_good(tx, proof, now):
        raise Unauthenticated(REFUSAL)
    project_id, domain_id = _resolve(tx, proof.user_id, scope)
    methods = ",".join(proof.methods)
    insert_token(tx, Token(digest, proof.user_id, project_id, domain_id, methods, audit_id, now, proof.expires_at))
    # One rule says which tokens are valid, and a token that would not be is not issued: the insert is rolled back.
    facts = find_token(tx, digest)
    grant = None if facts is None else grant_of(facts, now)
    if grant is None:
        raise Unauthenticated(_NO_ACCESS)
    return grant


def _still_good(tx: Tx, proof: _Proof, now: datetime) -> bool:
    if proof.parent_digest is not None:
        parent = find_token(tx, proof.parent_digest)
        return parent is not None and grant_of(parent, now) is not None
    user = get_user(tx, proof.user_id)
    return user is not None and user.enabled and user.password_hash == proof.password_hash


def _resolve(tx: Tx, user_id: str, scope: Scope) -> tuple[str | None, str | None]:
    """Return the ids of the project and of the domain that a scope means; at most one is not None."""
    if scope.kind == "project":
        return _project_id(tx, scope.ref), None
    if scope.kind == "domain":
        if not scope.ref.in_the_domain:
            raise Unauthenticated(_NO_ACCESS)
        return None, DOMAIN_ID
    return (_default_project_id(tx, user_id) if scope.kind == "default" else None), None


def _project_id(tx: Tx, ref: Ref) -> str:
    if ref.id is not None:
        found = get_project(tx, ref.id)
    else:
        found = find_project(tx, ref.name) if ref.name is not None and ref.in_the_domain else None
    if found is None:
        raise Unauthenticated(_NO_ACCESS)
    return found.id


def _default_project_id(tx: Tx, user_id: str) -> str | None:
    user = get_user(tx, user_id)
    project = get_project(tx, user.default_project_id) if user is not None and user.default_project_id else None
    if project is None or not project.enabled or not names_of_roles(tx, user_id, "project", project.id):
        return None
    return project.id
