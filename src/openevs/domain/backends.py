"""Backends: the names under which storage is offered, and the parts of the service as operators see them.

There is one pool, and one process does everything; the API speaks of hosts, backends and binaries, so each has a name
here. Several names may be given to the one pool (setting `engine.backends`), for automation that chooses between them.
"""

import uuid
from datetime import datetime
from typing import Final, NamedTuple

HOST: Final = "openevs"
SCHEDULER: Final = "cinder-scheduler"
VOLUME: Final = "cinder-volume"
BACKUP: Final = "cinder-backup"
API: Final = "cinder-api"
VENDOR: Final = "Open Source"
PROTOCOL: Final = "nbd"
_SERVICES: Final = uuid.UUID("0b0d5c66-7f0c-4a7b-9d53-3a3a9b8e1f52")


class Part(NamedTuple):
    """One part of the service."""

    host: str
    binary: str
    disabled: bool = False
    disabled_reason: str | None = None
    frozen: bool = False


class Storage(NamedTuple):
    """The pool, as it was when it was last looked at."""

    total_gib: float
    free_gib: float
    provisioned_gib: float
    seen_at: datetime
    up: bool
    """Whether it answered then; if not, the numbers are those of before."""


def backend_host(backend: str) -> str:
    """Return the host of a backend: `openevs@layers`."""
    return f"{HOST}@{backend}"


def pool_name(backend: str) -> str:
    """Return the name of a backend's pool, which is where its volumes are: `openevs@layers#layers`."""
    return f"{backend_host(backend)}#{backend}"


def service_uuid(backend: str) -> str:
    """Return the id of the service that has a backend; made from its name, so that it is the same for ever."""
    return str(uuid.uuid5(_SERVICES, backend_host(backend)))


def all_parts(backends: tuple[str, ...]) -> list[Part]:
    """Return every part, as it is made."""
    storage = [Part(backend_host(backend), VOLUME) for backend in backends]
    return [Part(HOST, SCHEDULER), *storage, Part(HOST, BACKUP)]
