"""Signatures: the vectors that were measured with the clients themselves (spec 1.4), and what must not pass."""

import hashlib

import pytest

from openevs.identity.signing import (
    SignatureRefused,
    SignedRequest,
    canonical_request,
    claim_of,
    is_signed_by,
    signature,
)

ACCESS = "AKEXAMPLE0000000001"
SECRET = "skexample0000000000000000000000000000001"
PROJECT = "0c2eba2c5af04d3f9e9d0d410b371fde"
NAMES = "content-type;host;x-project-id;x-sdk-date"
HEADERS = (
    (b"host", b"evs.example.test"),
    (b"content-type", b"application/json"),
    (b"x-project-id", PROJECT.encode()),
    (b"x-sdk-date", b"20240102T030405Z"),
)
GET = SignedRequest(
    "GET",
    f"/v2/{PROJECT}/cloudsnapshots/detail".encode(),
    b"limit=10&name=a%20b%2Bc~%2A&offset=0&status=available",
    HEADERS,
    b"",
)
POST = SignedRequest(
    "POST",
    f"/v2/{PROJECT}/cloudsnapshots".encode(),
    b"",
    HEADERS,
    b'{"snapshot": {"volume_id": "5aa119a8-d25b-45a7-8d1b-88e127885635", "name": "snap-001"}}',
)

A = f"SDK-HMAC-SHA256 Access={ACCESS}"
B = f"SDK-HMAC-SHA256 Credential={ACCESS}/20240102///sdk_request"
B_SCOPED = f"SDK-HMAC-SHA256 Credential={ACCESS}/20240102/eu-de/evs/sdk_request"
V11 = f"V11-HMAC-SHA256 Credential={ACCESS}/20240102/eu-de/evs"


def signed(request: SignedRequest, begin: str, given: str = "0" * 64, names: str = NAMES) -> SignedRequest:
    """Return the request with an Authorization header."""
    line = f"{begin}, SignedHeaders={names}, Signature={given}"
    return request._replace(headers=[*request.headers, (b"authorization", line.encode())])


@pytest.mark.parametrize(
    ("request_", "begin", "expected"),
    [
        (GET, A, "bd97016376ec748a9311b07f43ff9c33d53dadaef203d0921a7d9d6ae49100ee"),
        (POST, A, "b60c563d3c411ad2c194b5a42878f0ba8ce59041c702f1c3600a2b3c7853e9e9"),
        (GET, B, "a2ac2f2cdeeb83875212f8c1ececfc618d872d122c9c97c007b988df5a2c45c0"),
        (POST, B, "ec472faa7a42225683f0f3ee11e8d4e104a707f150e30d2b5acccf026dc13ade"),
        (POST, B_SCOPED, "84532fa0e0590d5da4a3e52400af800d854a43766774f84036e0d2cc5809c442"),
        (POST, V11, "f86bc6364ad520ea6738fa9622fbb1ae17c72f11c7ad43375ca49cfc7958109f"),
    ],
)
def test_vectors(request_: SignedRequest, begin: str, expected: str) -> None:
    whole = signed(request_, begin, expected)
    claim = claim_of(whole)
    assert claim is not None
    assert claim.access == ACCESS
    assert signature(whole, claim, SECRET) == expected
    assert is_signed_by(whole, claim, SECRET)
    assert not is_signed_by(whole, claim, SECRET + "x")
    for changed in (
        whole._replace(method="DELETE"),
        whole._replace(path=whole.path + b"x"),
        whole._replace(query=whole.query + b"&force=true"),
        whole._replace(body=whole.body + b" "),
        whole._replace(headers=[(n, v + b"0" if n == b"x-project-id" else v) for n, v in whole.headers]),
    ):
        assert not is_signed_by(changed, claim, SECRET)


def test_canonical_request_hashes() -> None:
    for request, expected in (
        (GET, "bb5ec6ce1049d299499c51da7e4f6522c268e411e8737a8f037f2867615877a0"),
        (POST, "ab7dfd86b058b79a1e1d3123b3a601db19e4cfa741f7fdb6d1b458b94d614330"),
    ):
        claim = claim_of(signed(request, A))
        assert claim is not None
        assert hashlib.sha256(canonical_request(request, claim)).hexdigest() == expected


def test_the_same_query_written_otherwise_is_the_same() -> None:
    whole = signed(GET, A)
    claim = claim_of(whole)
    assert claim is not None
    for query in (
        b"status=available&offset=0&name=a+b%2bc%7E%2a&limit=10",
        b"status=available&offset=0&name=a%20b%2Bc~*&limit=10&",
    ):
        assert signature(whole._replace(query=query), claim, SECRET) == signature(whole, claim, SECRET)


def test_a_stated_hash_must_be_that_of_the_body() -> None:
    stated = hashlib.sha256(POST.body).hexdigest().encode()
    for begin in (A, B, V11):
        request = signed(POST._replace(headers=[*POST.headers, (b"x-sdk-content-sha256", stated)]), begin)
        claim = claim_of(request)
        assert claim is not None
        claim = claim._replace(signature=signature(request, claim, SECRET))
        assert is_signed_by(request, claim, SECRET)
        assert not is_signed_by(request._replace(body=b'{"other": "body"}'), claim, SECRET)


def test_an_unsigned_payload_may_be_any() -> None:
    request = signed(POST._replace(headers=[*POST.headers, (b"x-sdk-content-sha256", b"UNSIGNED-PAYLOAD")]), A)
    claim = claim_of(request)
    assert claim is not None
    claim = claim._replace(signature=signature(request, claim, SECRET))
    assert is_signed_by(request._replace(body=b"another"), claim, SECRET)
    # But a payload that was signed cannot be declared unsigned afterwards, nor the other way round.
    bare = request._replace(headers=[(n, v) for n, v in request.headers if n != b"x-sdk-content-sha256"])
    assert not is_signed_by(bare, claim, SECRET)


def test_dialect_b_signs_first_values_and_posted_queries_as_payload() -> None:
    twice = signed(GET._replace(query=b"a=1&a=2&B=3"), B)
    claim = claim_of(twice)
    assert claim is not None
    assert b"\na=1&B=3\n" in canonical_request(twice, claim)
    posted = canonical_request(POST._replace(query=b"b=x+y&a=1", body=b""), claim)
    assert posted.startswith(b"POST\n" + POST.path + b"/\n\ncontent-type")
    assert posted.endswith(hashlib.sha256(b"a=1&b=x+y").hexdigest().encode())


def test_encoded_paths_and_foreign_letters() -> None:
    request = signed(GET._replace(path=b"/v2/p/x%2Fy%20%c3%bc~", headers=[*HEADERS, (b"x-name", "ü ".encode())]), A)
    claim = claim_of(request)
    assert claim is not None
    claim = claim._replace(signed_headers=("x-name",))
    text = canonical_request(request, claim)
    assert text.startswith(b"GET\n/v2/p/x/y%20%C3%BC~/\n")
    assert "\nx-name:ü\n".encode() in text


def test_other_schemes_are_not_signatures() -> None:
    for header in (b"", b"Bearer abc", b"Basic abc", b"AWS4-HMAC-SHA256 Credential=x"):
        assert claim_of(GET._replace(headers=[*HEADERS, (b"authorization", header)])) is None
    assert claim_of(GET) is None


@pytest.mark.parametrize(
    "header",
    [
        "SDK-HMAC-SHA256",
        f"SDK-HMAC-SHA256 Access={ACCESS}, SignedHeaders=host",
        f"SDK-HMAC-SHA256 Access={ACCESS}, SignedHeaders=host, Signature=zz",
        f"SDK-HMAC-SHA256 Access=a/b, SignedHeaders=host, Signature={'0' * 64}",
        f"SDK-HMAC-SM3 Access={ACCESS}, SignedHeaders=host, Signature={'0' * 64}",
        f"V11-HMAC-SHA256 Access={ACCESS}, SignedHeaders=host, Signature={'0' * 64}",
        f"V11-HMAC-SHA256 Credential={ACCESS}/20240102//evs, SignedHeaders=host, Signature={'0' * 64}",
        f"SDK-HMAC-SHA256 Credential={ACCESS}/20240103///sdk_request, SignedHeaders=host, Signature={'0' * 64}",
    ],
)
def test_headers_that_cannot_be_read(header: str) -> None:
    with pytest.raises(SignatureRefused):
        claim_of(GET._replace(headers=[*HEADERS, (b"authorization", header.encode())]))


@pytest.mark.parametrize("date", [None, b"", b"2024-01-02T03:04:05Z", b"20240102T030405", b"20241302T030405Z"])
def test_dates_that_cannot_be_read(date: bytes | None) -> None:
    headers = [(n, v) for n, v in HEADERS if n != b"x-sdk-date"]
    if date is not None:
        headers.append((b"x-sdk-date", date))
    with pytest.raises(SignatureRefused):
        _ = claim_of(signed(GET._replace(headers=headers), A)).signed_at  # type: ignore[union-attr]
