"""What can be asked of the service itself: its parts, its backends, its pool (administrators)."""

from typing import Any, NamedTuple

import sqlalchemy as sa

from openevs.domain.backends import HOST, VOLUME, Part, all_parts, backend_host
from openevs.domain.errors import InUse, InvalidInput, NotFound
from openevs.domain.model import Caller, Volume
from openevs.service.deps import Deps
from openevs.service.placing import fitting
from openevs.store import parts as store
from openevs.store.database import Tx
from openevs.store.tables import snapshot, volume
from openevs.store.types import find_type_named


class Use(NamedTuple):
    """What one project has on a backend."""

    project_id: str
    volumes: int
    volume_gib: int
    snapshots: int
    snapshot_gib: int


async def list_parts(deps: Deps, host: str | None = None, binary: str | None = None) -> list[Part]:
    """Return the parts of the service; a host without a backend in its name stands for all of them on it."""
    found = await deps.db.read(parts_now, deps.backends)
    return [part for part in found if binary in (None, part.binary) and (host is None or _is_on(part.host, host))]


def parts_now(tx: Tx, backends: tuple[str, ...]) -> list[Part]:
    """Return every part as it is now."""
    known = store.known_parts(tx)
    return [known.get((part.host, part.binary), part) for part in all_parts(backends)]


def _is_on(host: str, wanted: str) -> bool:
    return host == wanted or host.partition("@")[0] == wanted


async def change_part(deps: Deps, host: str, binary: str, **changes: Any) -> Part:
    """Switch a part off or on. Raises NotFound."""

    def change(tx: Tx) -> Part:
        for part in parts_now(tx, deps.backends):
            if part.binary == binary and part.host == host:
                changed = part._replace(**changes)
                store.keep_part(tx, changed)
                return changed
        raise NotFound("service", f"{binary} on host {host}")

    return await deps.db.write(change)


async def freeze_host(deps: Deps, host: str | None, *, frozen: bool) -> None:
    """Let a backend take nothing new (or again). Raises InvalidInput: none is named, or there is no such host."""
    if host is None:
        raise InvalidInput("host", "it is required: there are no clusters.")
    try:
        await change_part(deps, host, VOLUME, frozen=frozen)
    except NotFound:
        raise InvalidInput("host", f"there is no {VOLUME} on host {host[:64]!r}.") from None


async def backends_of_type(deps: Deps, caller: Caller, volume_type: str) -> tuple[str, ...]:
    """Return the backends on which volumes of a type, by name or id, may be. Raises NotFound."""
    return fitting(deps, await deps.db.read(find_type_named, volume_type, caller.scope))


def check_thawed(tx: Tx, deps: Deps, volume: Volume) -> None:
    """Refuse to change what is on a frozen backend: no snapshot is made or deleted there, and no volume deleted.
    Raises InUse."""
    host = backend_host(volume.backend or deps.backends[0])
    if any(part.frozen and part.host == host for part in store.known_parts(tx).values()):
        raise InUse("volume", f"volume {volume.id} is on {host}, which is frozen; an administrator can thaw it.")


async def use_of_host(deps: Deps, host: str) -> list[Use]:
    """Return what each project has on a backend. Raises NotFound."""
    for backend in deps.backends:
        if host in (backend_host(backend), HOST):
            return await deps.db.read(_use_of, backend, backend == deps.backends[0])
    raise NotFound("host", host)


def _use_of(tx: Tx, backend: str, first: bool) -> list[Use]:
    here = sa.func.coalesce(volume.c.backend, backend if first else "") == backend
    counted = sa.select(volume.c.project_id, sa.func.count(), sa.func.sum(volume.c.size_gib)).where(here)
    found = {row[0]: Use(row[0], row[1], row[2], 0, 0) for row in tx.execute(counted.group_by(volume.c.project_id))}
    counted = sa.select(snapshot.c.project_id, sa.func.count(), sa.func.sum(snapshot.c.size_gib))
    counted = counted.join(volume, volume.c.id == snapshot.c.volume_id).where(here).group_by(snapshot.c.project_id)
    for project_id, number, gib in tx.execute(counted):
        found[project_id] = found.get(project_id, Use(project_id, 0, 0, 0, 0))._replace(
            snapshots=number, snapshot_gib=gib
        )
    return [found[project_id] for project_id in sorted(found)]
