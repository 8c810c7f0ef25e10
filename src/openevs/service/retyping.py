"""Changing the type of a volume, and its backend. Backends are names of one pool, so no byte has to move: what changes
are limits, quotas and the name under which the volume is offered."""

from typing import Final

from openevs.domain.backends import backend_host, pool_name
from openevs.domain.errors import InUse, InvalidInput
from openevs.domain.lifecycle import MIGRATED, VolumeMoves
from openevs.domain.model import Caller, Operation, Volume, VolumeType
from openevs.domain.qos import limits_of
from openevs.domain.quota import volume_usage
from openevs.service.deps import Deps, accept, queue_work
from openevs.service.membership import check_ungrouped
from openevs.service.placing import may_be_on, place, switched_off
from openevs.service.types import type_for, wants_multiattach
from openevs.store import volumes
from openevs.store.attachments import attachments_of_one
from openevs.store.database import Tx
from openevs.store.qos import qos_of_type
from openevs.store.quotas import give_quota, take_quota
from openevs.store.snapshots import count_snapshots_of
from openevs.store.types import find_type

MIGRATABLE: Final = frozenset({"available", "in-use"})
POLICIES: Final = ("never", "on-demand")
"""Whether the volume may change its backend for it."""


async def retype_volume(deps: Deps, caller: Caller, volume_id: str, new_type: str, policy: str = POLICIES[0]) -> None:
    """Accept another type for a volume, attached or not. Raises NotFound, InvalidInput, WrongStatus, InUse,
    QuotaExceeded, Conflict."""
    await accept(deps, caller, Volume, _accept_retype, deps, caller, volume_id, new_type, policy)


def _accept_retype(
    tx: Tx, deps: Deps, caller: Caller, volume_id: str, new_type: str, policy: str
) -> tuple[Volume, Operation]:
    now = deps.clock()
    before = volumes.find_volume(tx, volume_id, caller.scope)
    wanted = _wanted(tx, deps, caller, before, new_type)
    multiattach = wants_multiattach(wanted)
    if multiattach != before.multiattach and attachments_of_one(tx, volume_id):
        raise InUse("volume", f"volume {volume_id} is attached: it cannot change to or from a multiattach type.")
    moves = _move_for(tx, deps, before, wanted, policy)
    also = {"volume_type": wanted.name, "type_id": wanted.id, "multiattach": multiattach, "reason": None, **moves}
    volume = volumes.move_volume(tx, volume_id, VolumeMoves.retype, now, project_id=caller.scope, also=also)
    # What is counted goes from one type's quota to the other's; the totals stay.
    give_quota(tx, volume.project_id, volume_usage(volume.size_gib, before.volume_type))
    take_quota(tx, volume.project_id, volume_usage(volume.size_gib, wanted.name), deps.quota_defaults)
    work = {
        "limits": limits_of(qos_of_type(tx, wanted.id), volume.size_gib),
        "limits_before": limits_of(qos_of_type(tx, before.type_id), volume.size_gib),
        "before": {
            "volume_type": before.volume_type,
            "type_id": before.type_id,
            "multiattach": before.multiattach,
            "backend": before.backend,
            "migration_status": before.migration_status,
        },
    }
    return volume, queue_work(tx, deps, caller, "retype_volume", volume, work)


def _wanted(tx: Tx, deps: Deps, caller: Caller, volume: Volume, word: str) -> VolumeType:
    wanted = type_for(tx, deps, caller, word)
    if wanted.id == volume.type_id:
        raise InvalidInput("new_type", f"volume {volume.id} is of type {wanted.name!r} already.")
    check_ungrouped(volume)
    return wanted


def _move_for(tx: Tx, deps: Deps, volume: Volume, wanted: VolumeType, policy: str) -> dict[str, str]:
    """Return what changes in the row if the type wants another backend; nothing if the volume stays where it is.
    Clients that see the new type look for the end of the migration, which has no bytes to move, at the same moment."""
    now_on = volume.backend or deps.backends[0]
    backend, no_place = place(tx, deps, wanted, now_on)
    if no_place is not None:
        raise InvalidInput("new_type", no_place)
    if backend == now_on:
        return {}
    if policy == POLICIES[0]:
        raise InvalidInput(
            "migration_policy", f"type {wanted.name!r} is on backend {backend}, the volume on {now_on}: only on-demand."
        )
    return {"backend": backend, "migration_status": MIGRATED}


async def migrate_volume(deps: Deps, caller: Caller, volume_id: str, host: str) -> None:
    """Put a volume on another backend (administrators). Backends are names of one pool, so the storage does it by
    itself: the bytes are where they should be already. Raises NotFound, InvalidInput, WrongStatus, InUse."""

    def migrate(tx: Tx) -> None:
        volume = volumes.hold_volume(tx, volume_id, MIGRATABLE, "migrate", caller.scope)
        backend = _target(tx, deps, volume, host)
        if count_snapshots_of(tx, volume_id):
            raise InUse("volume", f"volume {volume_id} has snapshots; delete them first.")
        check_ungrouped(volume)
        values = {"backend": backend, "migration_status": MIGRATED}
        volumes.update_volume(tx, volume_id, caller.scope, deps.clock(), values)

    await deps.db.write(migrate)


def _target(tx: Tx, deps: Deps, volume: Volume, host: str) -> str:
    """Return the backend of a host to which a volume may move. Raises InvalidInput."""
    now_on = volume.backend or deps.backends[0]
    backend = next((one for one in deps.backends if host in (pool_name(one), backend_host(one))), None)
    if backend is None or backend == now_on:
        others = ", ".join(pool_name(one) for one in deps.backends if one != now_on) or "none"
        raise InvalidInput("host", f"{host[:64]!r} is none of the hosts to which it could move: {others}.")
    if backend in switched_off(tx, deps):
        raise InvalidInput("host", f"{host!r} is disabled or frozen by an operator.")
    if volume.type_id is not None and not may_be_on(deps, find_type(tx, volume.type_id), backend):
        raise InvalidInput("host", f"{host!r} is not what the volume's type, {volume.volume_type!r}, asks for.")
    return backend
