"""Delete a volume, with the snapshots that the request moved to `deleting` along with it (`cascade`).

Snapshots first, since a volume that has some is not removed; then the volume; then all rows and quotas in one
transaction. If the engine cannot, the volume is `error_deleting` and so are its snapshots, with the reason; an
administrator's `os-force_delete` tries again.
"""

from datetime import datetime

from openevs.domain.ids import SnapshotId, VolumeId
from openevs.domain.lifecycle import VOLUME_STATUSES, SnapshotMoves, VolumeMoves, reset
from openevs.domain.model import Operation
from openevs.domain.quota import volume_usage
from openevs.engine.port import Engine
from openevs.operations.delete_snapshot import forget_snapshot
from openevs.operations.disconnect_volume import stop_serving
from openevs.operations.ends import end_snapshot, end_volume
from openevs.operations.kind import Facts, Kind, Step
from openevs.store.attachments import attachments_of
from openevs.store.backups import forget_bases
from openevs.store.database import Tx
from openevs.store.quotas import give_quota
from openevs.store.snapshots import count_snapshots_of
from openevs.store.volumes import delete_volume_row, find_volume, move_volume


async def remove_snapshots(engine: Engine, operation: Operation, facts: Facts) -> Facts:
    """Remove the volume's snapshots from storage."""
    for snapshot_id in operation.input["snapshots"]:
        await engine.ensure_no_snapshot(SnapshotId(snapshot_id))
    return await remove_bases(engine, operation, facts)


async def remove_bases(engine: Engine, operation: Operation, facts: Facts) -> Facts:
    """Remove the frozen states that only backups still know; the backups themselves stay."""
    for snapshot_id in operation.input.get("bases", ()):
        await engine.ensure_no_snapshot(SnapshotId(snapshot_id))
    return {}


async def remove(engine: Engine, operation: Operation, facts: Facts) -> Facts:
    """Remove the volume from storage. It has no attachment; but a connection that failed may have left it served."""
    await stop_serving(engine, operation, facts)
    await engine.ensure_no_volume(VolumeId(operation.resource_id))
    return {}


def succeed(tx: Tx, operation: Operation, facts: Facts, now: datetime) -> None:
    """Everything is gone, and the quotas are given back."""
    forget_bases(tx, operation.input.get("bases", ()))
    for snapshot_id in operation.input["snapshots"]:
        forget_snapshot(tx, snapshot_id)
    forget_volume(tx, operation.resource_id, now)


def forget_volume(tx: Tx, volume_id: str, now: datetime) -> None:
    """Remove a volume's row and give its quota back, unless something has come to depend on the row."""
    if count_snapshots_of(tx, volume_id) or attachments_of(tx, [volume_id]):
        # Made after an administrator had taken the volume out of `deleting` by hand: the row cannot go before them.
        reason = "Its bytes were deleted: its status had been set by hand while the deletion went on."
        move_volume(tx, volume_id, reset("error", VOLUME_STATUSES), now, also={"reason": reason})
        return
    volume = find_volume(tx, volume_id)
    give_quota(tx, volume.project_id, volume_usage(volume.size_gib, volume.volume_type))
    delete_volume_row(tx, volume_id)


def fail(tx: Tx, operation: Operation, reason: str, now: datetime) -> None:
    """The volume could not be removed, and why."""
    for snapshot_id in operation.input["snapshots"]:
        end_snapshot(tx, snapshot_id, SnapshotMoves.delete_failed, now, reason=reason)
    end_volume(tx, operation.resource_id, VolumeMoves.delete_failed, now, reason=reason)


DELETE_VOLUME = Kind(
    name="delete_volume",
    steps=(Step("remove_snapshots", remove_snapshots), Step("remove", remove)),
    succeed=succeed,
    fail=fail,
)
