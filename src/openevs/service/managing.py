"""Managing what is on storage and nobody's, and letting go of what is managed (administrators).

A volume or snapshot that is let go keeps its bytes, under the name `volume-<id>` or `snapshot-<id>`. By that name it
can be managed again, under a new id; so can a file that an administrator has put into the pool's folder `incoming`.
What there is only storage knows, so a request has it looked up by an operation, and waits.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from openevs.domain.backends import HOST, VOLUME, backend_host, pool_name
from openevs.domain.errors import InUse, InvalidInput, NotFound
from openevs.domain.ids import GIB, is_uuid
from openevs.domain.lifecycle import SnapshotMoves, VolumeMoves
from openevs.domain.model import Caller, Operation, Snapshot, Volume
from openevs.domain.quota import snapshot_usage
from openevs.domain.rules import check_metadata, check_new_metadata, check_text
from openevs.service.deps import Deps, accept, queue_work, wait_for
from openevs.service.membership import check_ungrouped
from openevs.service.parts import check_thawed
from openevs.service.placing import check_zone
from openevs.service.snapshots import snapshot_record
from openevs.service.types import type_for
from openevs.service.volumes import NewVolume, add_volume, check_detached, check_not_source, check_size
from openevs.store import snapshots, volumes
from openevs.store.backups import bases_of
from openevs.store.database import Tx
from openevs.store.operations import NewOperation, insert_operation
from openevs.store.quotas import take_quota
from openevs.store.tables import snapshot as snapshot_table
from openevs.store.tables import volume as volume_table

SOURCE_NAME: Final = "source-name"
SOURCE_ID: Final = "source-id"
MANAGED: Final = "already managed"
MANAGEABLE_INTO: Final = frozenset({"available", "in-use"})
"""Statuses of a volume whose stray snapshots can be managed."""


class Manageable(NamedTuple):
    """Something on storage, as the lists of what can be managed show it."""

    name: str
    size_gib: int
    reason_not_safe: str | None = None
    """Why it cannot be managed; None: it can."""
    managed_id: str | None = None
    """Its id, if it is managed."""
    volume_id: str | None = None
    """Of a snapshot: its volume."""


class NewManaged(NamedTuple):
    """A volume as it is to be managed."""

    ref: object
    host: str | None
    name: str | None = None
    description: str | None = None
    volume_type: str | None = None
    availability_zone: str | None = None
    metadata: Mapping[str, object] = {}
    bootable: bool = False


class NewManagedSnapshot(NamedTuple):
    """A snapshot as it is to be managed."""

    ref: object
    volume_id: str
    name: str | None = None
    description: str | None = None
    metadata: Mapping[str, object] = {}


def stray_name(kind: str, resource_id: str) -> str:
    """Return the name under which a volume or a snapshot is let go."""
    return f"{kind}-{resource_id}"


async def list_manageable(deps: Deps, caller: Caller, kind: str, host: str | None) -> list[Manageable]:
    """Return the volumes or snapshots on storage: strays, and what is managed.
    Raises InvalidInput, NotFound (the host), Unavailable."""
    backend = _backend_of(deps, host)
    if backend is None:
        raise _no_host(deps, None) if host is None else NotFound("service", f"{VOLUME} on host {host[:64]}")
    strays = [_manageable(stray) for stray in await _strays(deps, caller, kind)]
    return strays + await deps.db.read(_managed, kind, backend, backend == deps.backends[0])


def _managed(tx: Tx, kind: str, backend: str, first: bool) -> list[Manageable]:
    here = sa.func.coalesce(volume_table.c.backend, backend if first else "") == backend
    if kind == "volume":
        query = sa.select(volume_table.c.id, volume_table.c.size_gib, sa.null()).where(here)
    else:
        query = sa.select(snapshot_table.c.id, snapshot_table.c.size_gib, snapshot_table.c.volume_id)
        query = query.join(volume_table, volume_table.c.id == snapshot_table.c.volume_id).where(here)
    return [Manageable(stray_name(kind, row[0]), row[1], MANAGED, row[0], row[2]) for row in tx.execute(query)]


def _manageable(stray: Mapping[str, Any]) -> Manageable:
    return Manageable(stray["name"], -(-stray["size_bytes"] // GIB), stray["unsafe"], None, stray["volume_id"])


async def _strays(deps: Deps, caller: Caller, kind: str) -> list[dict[str, Any]]:
    """Return what is nobody's, as storage says it now."""

    def look(tx: Tx) -> tuple[str, Operation]:
        new = NewOperation("look_for_strays", caller.project_id, "pool", "pool", {}, (), caller.request_id)
        operation = insert_operation(tx, new, deps.clock(), deps.bell.lease())
        return operation.id, operation

    looked = await accept(deps, caller._replace(once=None), str, look)
    found: list[dict[str, Any]] = (await wait_for(deps, looked)).facts["strays"]
    return [stray for stray in found if stray["kind"] == kind]


def _backend_of(deps: Deps, host: str | None) -> str | None:
    return next((one for one in deps.backends if host in (pool_name(one), backend_host(one), HOST)), None)


def _no_host(deps: Deps, host: str | None) -> InvalidInput:
    known = ", ".join(pool_name(backend) for backend in deps.backends)
    given = "it is required" if host is None else f"there is no host {host[:64]!r}"
    return InvalidInput("host", f"{given}; there is {known}.")


async def _find_stray(deps: Deps, caller: Caller, kind: str, ref: object) -> dict[str, Any]:
    """Return the stray that a reference names. Raises InvalidInput, Unavailable."""
    known = (SOURCE_NAME, SOURCE_ID)
    given = [ref.get(key) for key in known if ref.get(key)] if isinstance(ref, Mapping) else [ref]
    if len(given) != 1 or not isinstance(given[0], str) or not given[0]:
        raise InvalidInput("ref", f"it must be an object with {' or '.join(known)}, and a text there.")
    wanted = stray_name(kind, given[0]) if is_uuid(given[0]) else given[0]
    for stray in await _strays(deps, caller, kind):
        if stray["name"] == wanted:
            if stray["unsafe"] is not None:
                raise InvalidInput("ref", f"{wanted} cannot be managed: {stray['unsafe']}.")
            return stray
    raise InvalidInput("ref", f"there is nothing called {wanted[:255]!r} on storage that is not managed.")


# Volumes ------------------------------------------------------------------------------------------------------------


async def manage_volume(deps: Deps, caller: Caller, new: NewManaged) -> Volume:
    """Accept to manage what a reference names: a volume of the caller's that is `managing` until its bytes are its own.
    Raises InvalidInput, NotFound (type), QuotaExceeded, Unavailable."""
    backend = _backend_of(deps, new.host)
    if backend is None:
        raise _no_host(deps, new.host)
    check_zone(deps, new.availability_zone or None)
    checked = new._replace(
        name=check_text("name", new.name),
        description=check_text("description", new.description),
        metadata=check_new_metadata(new.metadata, has_source=False),
    )
    stray = await _find_stray(deps, caller, "volume", new.ref)
    return await take_over(deps, caller, checked, stray, backend)


async def take_over(deps: Deps, caller: Caller, new: NewManaged, stray: Mapping[str, Any], backend: str) -> Volume:
    """Accept to manage a volume that was found on storage. Raises InvalidInput, NotFound (type), QuotaExceeded."""
    return await accept(deps, caller, Volume, _accept_managed, deps, caller, new, stray, backend)


def _accept_managed(
    tx: Tx, deps: Deps, caller: Caller, new: NewManaged, stray: Mapping[str, Any], backend: str
) -> tuple[Volume, Operation]:
    found = _manageable(stray)
    volume_type = type_for(tx, deps, caller, new.volume_type or None)
    check_size(deps, found.size_gib)
    wanted = NewVolume(found.size_gib, new.name, new.description, metadata=new.metadata)
    volume = add_volume(
        tx,
        deps,
        caller,
        wanted,
        volume_type,
        size_gib=found.size_gib,
        status="managing",
        backend=None if backend == deps.backends[0] else backend,
        bootable=new.bootable,
    )
    check_thawed(tx, deps, volume)
    work = {"stray": found.name, "size_gib": found.size_gib, "name": new.name or ""}
    return volume, queue_work(tx, deps, caller, "manage_volume", volume, work)


async def unmanage_volume(deps: Deps, caller: Caller, volume_id: str) -> None:
    """Accept to let go of a volume. Raises NotFound, WrongStatus, InUse."""
    await accept(deps, caller, Volume, _accept_unmanaged, deps, caller, volume_id)


def _accept_unmanaged(tx: Tx, deps: Deps, caller: Caller, volume_id: str) -> tuple[Volume, Operation]:
    now = deps.clock()
    volume = volumes.move_volume(
        tx, volume_id, VolumeMoves.unmanage, now, project_id=caller.scope, also={"reason": None}
    )
    check_detached(tx, volume)
    if snapshots.count_snapshots_of(tx, volume_id):
        raise InUse("volume", f"volume {volume_id} has snapshots; unmanage or delete them first.")
    check_ungrouped(volume)
    check_thawed(tx, deps, volume)
    check_not_source(tx, volume, [])
    work = {"stray": stray_name("volume", volume_id), "bases": bases_of(tx, volume_id)}
    return volume, queue_work(tx, deps, caller, "unmanage_volume", volume, work)


# Snapshots ----------------------------------------------------------------------------------------------------------


async def manage_snapshot(deps: Deps, caller: Caller, new: NewManagedSnapshot) -> Snapshot:
    """Accept to manage a stray snapshot of a volume. Raises InvalidInput, NotFound (volume), WrongStatus,
    QuotaExceeded, Unavailable."""
    checked = new._replace(
        name=check_text("name", new.name),
        description=check_text("description", new.description),
        metadata=check_metadata(new.metadata),
    )
    deps.db.look_up(volumes.find_volume, new.volume_id, caller.scope)
    stray = await _find_stray(deps, caller, "snapshot", new.ref)
    if stray["volume_id"] != new.volume_id:
        raise InvalidInput("ref", f"{stray['name']} is a snapshot of volume {stray['volume_id']}.")
    return await take_over_snapshot(deps, caller, checked, stray)


async def take_over_snapshot(deps: Deps, caller: Caller, new: NewManagedSnapshot, stray: Mapping[str, Any]) -> Snapshot:
    """Accept to manage a snapshot that was found on storage. Raises NotFound (volume), WrongStatus, QuotaExceeded."""
    return await accept(deps, caller, Snapshot, _accept_managed_snapshot, deps, caller, new, stray)


def _accept_managed_snapshot(
    tx: Tx, deps: Deps, caller: Caller, new: NewManagedSnapshot, stray: Mapping[str, Any]
) -> tuple[Snapshot, Operation]:
    now, found = deps.clock(), _manageable(stray)
    volume = volumes.hold_volume(tx, new.volume_id, MANAGEABLE_INTO, "manage a snapshot of", caller.scope)
    check_thawed(tx, deps, volume)
    usage = snapshot_usage(found.size_gib, volume.volume_type)
    take_quota(tx, volume.project_id, usage, deps.quota_defaults)
    snapshot = snapshot_record(
        volume,
        caller,
        now,
        project_id=volume.project_id,
        name=new.name,
        description=new.description,
        metadata=new.metadata,
        size_gib=found.size_gib,
    )
    snapshots.insert_snapshot(tx, snapshot)
    work = {"stray": found.name, "volume_id": volume.id, "name": new.name or ""}
    return snapshot, queue_work(tx, deps, caller, "manage_snapshot", snapshot, work)


async def unmanage_snapshot(deps: Deps, caller: Caller, snapshot_id: str) -> None:
    """Accept to let go of a snapshot. Raises NotFound, WrongStatus, InUse."""
    await accept(deps, caller, Snapshot, _accept_unmanaged_snapshot, deps, caller, snapshot_id)


def _accept_unmanaged_snapshot(tx: Tx, deps: Deps, caller: Caller, snapshot_id: str) -> tuple[Snapshot, Operation]:
    move = SnapshotMoves.unmanage
    snapshot = snapshots.move_snapshot(tx, snapshot_id, move, deps.clock(), project_id=caller.scope)
    if snapshot.owner == "backup":
        raise InUse("snapshot", f"snapshot {snapshot.id} belongs to a backup, which lets go of it itself.")
    if snapshot.group_snapshot_id is not None:
        raise InUse("snapshot", f"snapshot {snapshot.id} is part of group snapshot {snapshot.group_snapshot_id}.")
    volume = volumes.find_volume(tx, snapshot.volume_id)
    check_thawed(tx, deps, volume)
    check_not_source(tx, volume, [snapshot])
    work = {"stray": stray_name("snapshot", snapshot_id)}
    return snapshot, queue_work(tx, deps, caller, "unmanage_snapshot", snapshot, work)
