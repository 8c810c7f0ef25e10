"""The catalog: where clients find what. It is made, not stored: this service is all there is.

Clients of one API look under several names. `volume` stood for version 1 once; what asks for it today (a generic
client that was told no version) can do nothing with version 1, and so is led to the current one, like everybody else.
"""

import uuid
from typing import Final, NamedTuple

PROJECT: Final = "$(project_id)s"
"""What stands for the project in an endpoint's URL when it is listed for no project in particular, as in Keystone."""
INTERFACES: Final = ("public", "internal", "admin")
_SERVICES: Final = (
    ("block-storage", "evs", "/v3/{project_id}"),
    ("volumev3", "cinderv3", "/v3/{project_id}"),
    ("volumev2", "cinderv2", "/v2/{project_id}"),
    ("volume", "cinder", "/v3/{project_id}"),
    ("identity", "keystone", "/identity/v3"),
)


class Endpoint(NamedTuple):
    """One way to reach a service."""

    id: str
    service_id: str
    interface: str
    region: str
    url: str


class Service(NamedTuple):
    """A service, by the type that clients look for."""

    id: str
    type: str
    name: str
    endpoints: tuple[Endpoint, ...]


def catalog(base_url: str, region: str, project_id: str | None) -> list[Service]:
    """Return the services as a project sees them; those that belong to a project are left out without one."""
    return [
        Service(
            _stable_id(kind),
            kind,
            name,
            tuple(
                Endpoint(
                    _stable_id(kind, interface, region),
                    _stable_id(kind),
                    interface,
                    region,
                    base_url.rstrip("/") + path.format(project_id=project_id),
                )
                for interface in INTERFACES
            ),
        )
        for kind, name, path in _SERVICES
        if project_id is not None or "{project_id}" not in path
    ]


def _stable_id(*words: str) -> str:
    # The same after every restart and on every node, without being stored.
    return uuid.uuid5(uuid.NAMESPACE_URL, "openevs:catalog:" + ":".join(words)).hex
