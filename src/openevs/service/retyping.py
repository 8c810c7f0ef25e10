"""Changing the type of a volume. All types are on one engine, so no byte moves: what changes are limits and quotas."""

from typing import Final

from openevs.domain.errors import InUse, InvalidInput, NotFound
from openevs.domain.lifecycle import VolumeMoves
from openevs.domain.model import Caller, Operation, Volume, VolumeType
from openevs.domain.qos import limits_of
from openevs.domain.quota import volume_usage
from openevs.service.deps import Deps, accept
from openevs.service.types import type_for, wants_multiattach
from openevs.service.volumes import queue_volume_work
from openevs.store import volumes
from openevs.store.attachments import attachments_of_one
from openevs.store.database import Tx
from openevs.store.qos import qos_of_type
from openevs.store.quotas import give_quota, take_quota

POLICIES: Final = ("never", "on-demand")
"""Whether bytes may be moved for it. They need not be, so both do the same."""


async def retype_volume(deps: Deps, caller: Caller, volume_id: str, new_type: str) -> None:
    """Accept another type for a volume, attached or not. Raises NotFound, InvalidInput, WrongStatus, InUse,
    QuotaExceeded, Conflict."""
    await accept(deps, caller, Volume, _accept_retype, deps, caller, volume_id, new_type)


def _accept_retype(tx: Tx, deps: Deps, caller: Caller, volume_id: str, new_type: str) -> tuple[Volume, Operation]:
    now = deps.clock()
    before = volumes.find_volume(tx, volume_id, caller.scope)
    wanted = _wanted(tx, deps, caller, before, new_type)
    multiattach = wants_multiattach(wanted)
    if multiattach != before.multiattach and attachments_of_one(tx, volume_id):
        raise InUse("volume", f"volume {volume_id} is attached: it cannot change to or from a multiattach type.")
    also = {"volume_type": wanted.name, "type_id": wanted.id, "multiattach": multiattach, "reason": None}
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
        },
    }
    return volume, queue_volume_work(tx, deps, caller, "retype_volume", volume, work, now)


def _wanted(tx: Tx, deps: Deps, caller: Caller, volume: Volume, word: str) -> VolumeType:
    try:
        wanted = type_for(tx, deps, caller, word)
    except NotFound as error:
        raise InvalidInput("new_type", str(error)) from None
    if wanted.id == volume.type_id:
        raise InvalidInput("new_type", f"volume {volume.id} is of type {wanted.name!r} already.")
    if volume.group_id is not None:
        raise InUse("volume", f"volume {volume.id} belongs to group {volume.group_id}; take it out of that first.")
    return wanted
