"""Who a signed request is from, and what they may do on which project.

A request that is sent a second time within the minutes for which its date is good is let in again, as at the public
cloud's gateway: the API has X-Client-Token against doing a thing twice.
"""

from datetime import timedelta
from typing import Final

from openevs.identity.embedded import EmbeddedIdentity
from openevs.identity.port import Grant, with_implied
from openevs.identity.signing import Claim, SignatureRefused, SignedRequest, is_signed_by
from openevs.store.identity.access_keys import KeyFacts, find_access_key, find_project_facts

MOST_SKEW: Final = timedelta(minutes=15)
"""How far a request's date may be from our clock."""
METHOD: Final = "aksk"
"""How the caller proved who they are, in a grant's `methods`."""


def verify_signed(identity: EmbeddedIdentity, request: SignedRequest, claim: Claim, project_id: str | None) -> Grant:
    """Return what the sender of a signed request may do on a project, by default the key's own. Takes well below a
    millisecond, most of it the body's hash. Raises SignatureRefused with one of the gateway's reasons (spec 1.4.4)."""
    now = identity.clock()
    signed_at = claim.signed_at
    if abs(now - signed_at) > MOST_SKEW:
        raise SignatureRefused(
            f"signature expired: X-Sdk-Date is {claim.date}, more than {MOST_SKEW.seconds // 60} minutes from"
            f" the service's {now:%Y%m%dT%H%M%SZ}."
        )
    found = _proven(identity, request, claim)
    project = None
    project_id = project_id or found.key.project_id
    if project_id is not None:
        project = identity.db.read_now(find_project_facts, project_id, found.key.user_id)
        if project is None or not project.roles:
            raise SignatureRefused(f"the user of access key {claim.access} has no role on project {project_id}.")
    return Grant(
        user_id=found.key.user_id,
        user_name=found.user_name,
        project_id=project_id,
        project_name=project.name if project else None,
        domain_scoped=False,
        roles=with_implied(project.roles) if project else frozenset(),
        expires_at=signed_at + MOST_SKEW,
        issued_at=signed_at,
        methods=(METHOD,),
        audit_id=claim.access,
    )


def _proven(identity: EmbeddedIdentity, request: SignedRequest, claim: Claim) -> KeyFacts:
    access = claim.access
    if identity.lockout.is_locked(access):
        raise SignatureRefused(f"access key {access} is locked: too many wrong signatures in a row; try again later.")
    found: KeyFacts | None = identity.db.read_now(find_access_key, access)
    if found is None or not found.key.enabled or not found.user_enabled:
        raise SignatureRefused(f"the secret key of access key {access} cannot be fetched: there is no such active key.")
    if not is_signed_by(request, claim, found.key.secret):
        identity.lockout.failed(access)
        raise SignatureRefused("verify aksk signature fail: the signature is not that of this request and access key.")
    identity.lockout.succeeded(access)
    return found
