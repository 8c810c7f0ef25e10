"""Versions: which there are, what a request asks for, and the documents that announce them (spec 1.5, 1.6)."""

from functools import cache, lru_cache
from typing import Any, Final, NamedTuple

from openevs.api.call import Call, Reply, Route, Version
from openevs.api.faults import HttpRefusal
from openevs.api.headers import Headers, Pair

LOWEST: Final[Version] = (3, 0)
HIGHEST: Final[Version] = (3, 71)
HEADER: Final = "OpenStack-API-Version"
HEADER_NAME: Final = HEADER.lower().encode()
OWN: Final = "openevs"
"""What a client calls our own fields in that header."""
SERVICES: Final = ("volume", "volumev3", "volumev2", "block-storage")
"""What clients call this service in the header. Gophercloud sends the type by which it found it in the catalog."""


class Wish(NamedTuple):
    """What a v3 request asks for in the header that names the microversion, such as `volume 3.44, openevs 1`."""

    version: Version = LOWEST
    shows_own: bool = False
    """The fields that only OpenEVS has: who does not ask for them does not get them, as strict clients count fields."""


_NOTHING: Final = Wish()


def negotiate(headers: Headers) -> Wish:
    """Return what a v3 request asks for; the lowest version if it does not say.
    Raises HttpRefusal: 400 for what is no version, 406 for one that is not served."""
    text = headers.text(HEADER_NAME)
    return _NOTHING if text is None else _read(text)


@lru_cache(maxsize=256)  # a client always sends the same
def _read(text: str) -> Wish:
    return Wish(_version_in(text), any(entry.split()[:1] == [OWN] for entry in text.lower().split(",")))


def _version_in(wish: str) -> Version:
    entries = [entry.split() for entry in wish.split(",")]
    texts = [entry[1] for entry in entries if len(entry) == 2 and entry[0].lower() in SERVICES]
    if not texts and any(entry[:1] == [OWN] for entry in entries):
        return LOWEST
    if not texts:
        raise HttpRefusal(400, f"Invalid input for {HEADER}: {wish[:64]!r} names no version of the volume service.")
    if texts[0] == "latest":
        return HIGHEST
    version = _parse(texts[0])
    if not LOWEST <= version <= HIGHEST:
        served = f"Minimum is {as_text(LOWEST)} and maximum is {as_text(HIGHEST)}."
        raise HttpRefusal(406, f"Version {texts[0]} is not supported by the API. {served}")
    return version


def _parse(text: str) -> Version:
    major, dot, minor = text.partition(".")
    if not (dot and major.isascii() and major.isdigit() and minor.isascii() and minor.isdigit() and len(text) < 12):
        raise HttpRefusal(
            400, f"API Version String {text[:32]!r} is of invalid format. Must be of format MajorNum.MinorNum."
        )
    return int(major), int(minor)


def as_text(version: Version) -> str:
    """Return `3.40` for (3, 40)."""
    return f"{version[0]}.{version[1]}"


@cache
def version_marks(version: Version) -> tuple[Pair, Pair]:
    """Return the headers by which an answer says which version it is in; there are as many as versions."""
    return (HEADER_NAME, f"volume {as_text(version)}".encode()), (b"vary", HEADER.encode())


def _document(api: str, base_url: str) -> dict[str, Any]:
    is_v3 = api == "v3"
    return {
        "id": "v3.0" if is_v3 else "v2.0",
        "status": "CURRENT" if is_v3 else "SUPPORTED",
        "version": as_text(HIGHEST) if is_v3 else "",
        "min_version": as_text(LOWEST) if is_v3 else "",
        "updated": "2023-08-31T00:00:00Z" if is_v3 else "2014-06-28T12:20:21Z",
        "links": [
            {"rel": "describedby", "type": "text/html", "href": "https://docs.openstack.org/"},
            {"rel": "self", "href": f"{base_url}/{api}/"},
        ],
        "media-types": [
            {"base": "application/json", "type": f"application/vnd.openstack.volume+json;version={api[1]}"}
        ],
    }


async def get_versions(call: Call) -> Reply:
    """List the versions."""
    return Reply({"versions": [_document(api, call.base_url) for api in ("v2", "v3")]})


async def get_version(call: Call) -> Reply:
    """Describe one version."""
    return Reply({"versions": [_document(call.api, call.base_url)]})


ROUTES = [
    Route("GET", "/", get_versions, 300, "List the API's versions", ("",), "none", tag="Versions"),
    Route("GET", "/v2", get_version, 200, "Describe version 2", ("v2",), "none", tag="Versions"),
    Route("GET", "/v3", get_version, 200, "Describe version 3", ("v3",), "none", tag="Versions"),
]
