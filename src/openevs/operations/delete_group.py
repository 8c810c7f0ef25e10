"""Delete a group, with the volumes that the request moved to `deleting` along with it.

They have neither snapshots nor attachments; frozen states of them that backups have kept go first. All rows and quotas
go in one transaction. If the engine cannot, group and volumes are `error_deleting` with the reason, and deleting the
group with its volumes may be asked for again.
"""

from datetime import datetime

from openevs.domain.group import groups_usage
from openevs.domain.ids import VolumeId
from openevs.domain.lifecycle import GroupMoves, VolumeMoves
from openevs.domain.model import Operation
from openevs.engine.port import Engine, Exports
from openevs.operations.delete_volume import forget_volume, remove_bases
from openevs.operations.ends import end_group, end_volume
from openevs.operations.kind import Facts, Kind, Step
from openevs.store.backups import forget_bases
from openevs.store.database import Tx
from openevs.store.groups import delete_group_row, find_group, volumes_of_group
from openevs.store.quotas import give_quota


async def remove(engine: Engine, operation: Operation, facts: Facts) -> Facts:
    """Remove the volumes from storage. A connection that failed may have left one served."""
    await remove_bases(engine, operation, facts)
    for volume_id in operation.input["volumes"]:
        if isinstance(engine, Exports):
            await engine.ensure_no_export(VolumeId(volume_id))
        await engine.ensure_no_volume(VolumeId(volume_id))
    return {}


def succeed(tx: Tx, operation: Operation, facts: Facts, now: datetime) -> None:
    """Everything is gone, and the quotas are given back."""
    forget_bases(tx, operation.input.get("bases", ()))
    for volume_id in operation.input["volumes"]:
        forget_volume(tx, volume_id, now)
    if volumes_of_group(tx, operation.resource_id):
        # Statuses were set by hand while the deletion went on: what has volumes, or is in use, cannot go before them.
        reason = "Its volumes were deleted, and have been used since: their status had been set by hand."
        end_group(tx, operation.resource_id, GroupMoves.delete_failed, now, reason=reason)
        return
    give_quota(tx, find_group(tx, operation.resource_id).project_id, groups_usage())
    delete_group_row(tx, operation.resource_id)


def fail(tx: Tx, operation: Operation, reason: str, now: datetime) -> None:
    """Not all volumes could be removed, and why."""
    for volume_id in operation.input["volumes"]:
        end_volume(tx, volume_id, VolumeMoves.delete_failed, now, reason=reason)
    end_group(tx, operation.resource_id, GroupMoves.delete_failed, now, reason=reason)


DELETE_GROUP = Kind(name="delete_group", steps=(Step("remove", remove),), succeed=succeed, fail=fail)
