"""What a signed request's signature must be (spec 1.4): pure functions of the request as it came over the wire.

Three dialects are in use, told apart by algorithm and by how the key is named:

    SDK-HMAC-SHA256 Access=…        Huawei's SDKs
    SDK-HMAC-SHA256 Credential=…    golangsdk and its descendants (Open Telekom Cloud)
    V11-HMAC-SHA256 Credential=…    Huawei's SDKs, when asked for a derived key

They agree on the canonical path, and differ in query, headers, payload and key: `DIALECTS` has a row for each. All of
them sign what was sent, so everything here works on raw bytes: a path that was decoded and encoded again, or a header
that was tidied up, is another one.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple
from urllib.parse import quote, quote_plus, unquote_to_bytes

from openevs.domain.errors import Unauthenticated

DATE: Final = b"x-sdk-date"
CONTENT_HASH: Final = b"x-sdk-content-sha256"
UNSIGNED: Final = "UNSIGNED-PAYLOAD"
"""Stands for the payload's hash when the client leaves the payload out of the signature."""
ALGORITHMS: Final = ("SDK-", "V11-")
"""How the name of a signing algorithm begins; an Authorization header of another scheme is not ours to judge."""
_DATE_FORMAT: Final = "%Y%m%dT%H%M%SZ"
_DATE: Final = re.compile(r"\d{8}T\d{6}Z", re.ASCII)
_AUTHORIZATION: Final = re.compile(
    r"(?P<algorithm>\S+) (?P<field>Access|Credential)=(?P<credential>[^,\s]+),"
    r" *SignedHeaders=(?P<headers>[^,\s]+), *Signature=(?P<signature>[0-9A-Fa-f]{64})"
)


class SignatureRefused(Unauthenticated):
    """A signed request that is not let in; the message is one of the gateway's reasons."""


class SignedRequest(NamedTuple):
    """A request as it came over the wire."""

    method: str
    path: bytes
    """Percent-encoded, without the query."""
    query: bytes
    headers: Sequence[tuple[bytes, bytes]]
    """Names in lower case."""
    body: bytes

    def header(self, name: bytes) -> bytes | None:
        """Return the first header of that name, which is the one that handlers see."""
        return next((value for known, value in self.headers if known == name), None)


class Dialect(NamedTuple):
    """What one way of signing does differently."""

    credential: re.Pattern[str]
    """The key's id and, where there is one, the scope: `yyyymmdd/region/service…`."""
    query: Callable[[SignedRequest], str]
    header: Callable[[bytes], bytes]
    payload: Callable[[SignedRequest], str]
    key: Callable[["Claim", str], bytes]


class Claim(NamedTuple):
    """What an Authorization header says."""

    algorithm: str
    dialect: Dialect
    access: str
    """Id of the access key."""
    scope: str
    """Empty in the dialect that has none."""
    signed_headers: tuple[str, ...]
    signature: str
    date: str
    """X-Sdk-Date as it was sent."""

    @property
    def signed_at(self) -> datetime:
        """When the client says that it signed, aware UTC. Raises SignatureRefused for a date there never was."""
        try:
            return datetime.strptime(self.date, _DATE_FORMAT).replace(tzinfo=UTC)
        except ValueError:
            raise SignatureRefused("the X-Sdk-Date header is not a date such as 20240131T120000Z.") from None


def claim_of(request: SignedRequest) -> Claim | None:
    """Return what a request claims, None when it is not signed. Raises SignatureRefused when it cannot be read."""
    header = (request.header(b"authorization") or b"").decode("latin-1").strip()
    if not header.startswith(ALGORITHMS):
        return None
    form = _AUTHORIZATION.fullmatch(header)
    if form is None:
        raise SignatureRefused("the Authorization header has not the form of a signature.")
    dialect = DIALECTS.get((form["algorithm"], form["field"]))
    if dialect is None:
        known = " and ".join(sorted({algorithm for algorithm, _ in DIALECTS}))
        raise SignatureRefused(f"the signing algorithm is none of {known}.")
    credential = dialect.credential.fullmatch(form["credential"])
    date = (request.header(DATE) or b"").decode("latin-1").strip()
    if credential is None or not _DATE.fullmatch(date):
        raise SignatureRefused("the credential or the X-Sdk-Date header has not the form of a signature's.")
    scope = credential["scope"] or ""
    if scope and scope[:8] != date[:8]:
        raise SignatureRefused("the credential's date is not that of the X-Sdk-Date header.")
    names = tuple(form["headers"].split(";"))
    return Claim(form["algorithm"], dialect, credential["access"], scope, names, form["signature"].lower(), date)


def is_signed_by(request: SignedRequest, claim: Claim, secret: str) -> bool:
    """Say whether the claim's signature is that of the secret on this very request."""
    hashed = content_hash(request)
    if request.body and hashed not in (None, UNSIGNED) and hashed != _sha256(request.body):
        # The hash is what is signed: without this look, another body could be sent under it.
        return False
    return hmac.compare_digest(signature(request, claim, secret), claim.signature)


def signature(request: SignedRequest, claim: Claim, secret: str) -> str:
    """Return the signature, in lower-case hexadecimal, that the owner of `secret` gives this request."""
    parts = [claim.algorithm, claim.date, *([claim.scope] if claim.scope else [])]
    text = "\n".join([*parts, _sha256(canonical_request(request, claim))])
    return hmac.digest(claim.dialect.key(claim, secret), text.encode(), "sha256").hex()


def canonical_request(request: SignedRequest, claim: Claim) -> bytes:
    """Return the text whose hash is signed."""
    path = quote(unquote_to_bytes(request.path), safe="/~")
    lines = [request.method.upper(), path if path.endswith("/") else path + "/", claim.dialect.query(request)]
    values = [request.header(name.encode("latin-1")) or b"" for name in claim.signed_headers]
    headers = b"".join(
        name.encode("latin-1") + b":" + claim.dialect.header(value) + b"\n"
        for name, value in zip(claim.signed_headers, values, strict=True)
    )
    end = "\n".join([";".join(claim.signed_headers), claim.dialect.payload(request)])
    return "\n".join(lines).encode() + b"\n" + headers + b"\n" + end.encode("latin-1")


def content_hash(request: SignedRequest) -> str | None:
    """Return the payload's hash as the client states it in a header, None if it does not."""
    stated = request.header(CONTENT_HASH)
    return None if stated is None else stated.decode("latin-1").strip()


def _parameters(request: SignedRequest) -> list[tuple[bytes, bytes]]:
    # A plus is a blank, as handlers read it: clients that encode for the signature write %2B for a plus.
    pairs = (part.partition(b"=") for part in request.query.replace(b"+", b" ").split(b"&") if part)
    return [(unquote_to_bytes(name), unquote_to_bytes(value)) for name, _, value in pairs]


def _pairs(parameters: Sequence[tuple[bytes, bytes]]) -> str:
    return "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in parameters)


def _whole_query(request: SignedRequest) -> str:
    return _pairs(sorted(_parameters(request)))


def _first_values(request: SignedRequest) -> str:
    if _query_is_payload(request):
        return ""
    # Of a repeated parameter only the first value is signed.
    first = dict(reversed(_parameters(request)))
    return _pairs(sorted(first.items(), key=lambda pair: quote(pair[0], safe="~").lower()))


def _query_is_payload(request: SignedRequest) -> bool:
    return request.method.upper() == "POST" and not request.body


def _body_hash(request: SignedRequest) -> str:
    stated = content_hash(request)
    return stated if request.body and stated else _sha256(request.body)


def _body_or_query_hash(request: SignedRequest) -> str:
    stated = content_hash(request)
    if stated is not None:
        return stated
    if not _query_is_payload(request):
        return _sha256(request.body)
    # Form encoding, names sorted and the values of a name in the order in which they came.
    pairs = sorted(_parameters(request), key=lambda pair: pair[0])
    return _sha256("&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in pairs).encode())


def _collapsed(value: bytes) -> bytes:
    return re.sub(rb"\s+", b" ", value)


def _plain_key(claim: Claim, secret: str) -> bytes:
    return secret.encode()


def _chained_key(claim: Claim, secret: str) -> bytes:
    key = f"SDK{secret}".encode()
    for part in claim.scope.split("/"):
        key = hmac.digest(key, part.encode("latin-1"), "sha256")
    return key


def _derived_key(claim: Claim, secret: str) -> bytes:
    # The first block of HKDF, as hexadecimal text.
    extracted = hmac.digest(claim.access.encode("latin-1"), secret.encode(), "sha256")
    return hmac.digest(extracted, claim.scope.encode("latin-1") + b"\x01", "sha256").hex().encode()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


_ACCESS: Final = r"(?P<access>[A-Za-z0-9_.-]{1,64})"
DIALECTS: Final[dict[tuple[str, str], Dialect]] = {
    ("SDK-HMAC-SHA256", "Access"): Dialect(
        re.compile(rf"{_ACCESS}(?P<scope>)"), _whole_query, bytes.strip, _body_hash, _plain_key
    ),
    ("SDK-HMAC-SHA256", "Credential"): Dialect(
        re.compile(rf"{_ACCESS}/(?P<scope>\d{{8}}/[^/]*/[^/]*/sdk_request)", re.ASCII),
        _first_values,
        _collapsed,
        _body_or_query_hash,
        _chained_key,
    ),
    ("V11-HMAC-SHA256", "Credential"): Dialect(
        re.compile(rf"{_ACCESS}/(?P<scope>\d{{8}}/[^/]+/[^/]+)", re.ASCII),
        _whole_query,
        bytes.strip,
        _body_hash,
        _derived_key,
    ),
}
"""Algorithm and name of the credential → dialect."""
