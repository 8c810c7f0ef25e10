"""Create a snapshot.

The request has made the row (`creating`), counted it against the quota and queued this. What is left is one call: the
engine freezes the volume at one instant. If the process dies before, during or after that call, calling again gives
the same snapshot: the first success fixed the moment.

One step, so its facts are not stored for themselves: the transaction that makes the snapshot `available` and closes
the operation is also the record that the step was done. That is the only commit after the cut.

If it cannot be done, whatever the call may have left is removed, and the row stays as `error` with the reason. It goes
on counting against the quota until it is deleted, as in Cinder.
"""

from datetime import datetime

from openevs.domain.ids import GIB, SnapshotId, VolumeId
from openevs.domain.lifecycle import SnapshotMoves
from openevs.domain.model import Operation
from openevs.domain.quota import growth_usage
from openevs.engine.port import Engine, SnapshotSpec
from openevs.operations.ends import end_snapshot
from openevs.operations.kind import Facts, Kind, Step
from openevs.store.database import Tx
from openevs.store.quotas import give_quota
from openevs.store.snapshots import find_snapshot


async def freeze(engine: Engine, operation: Operation, facts: Facts) -> Facts:
    """Freeze the volume's bytes as they are now."""
    labels = {"project_id": operation.project_id, "name": operation.input["name"]}
    spec = SnapshotSpec(SnapshotId(operation.resource_id), VolumeId(operation.input["volume_id"]), labels)
    frozen = await engine.ensure_snapshot(spec)
    return {
        "size_gib": frozen.size_bytes // GIB,
        "taken_at": frozen.taken_at,
        "cut_ms": frozen.cut_ms,
        "stall_ms": frozen.stall_ms,
    }


async def remove(engine: Engine, operation: Operation, facts: Facts) -> Facts:
    """Remove what `freeze` may have left."""
    await engine.ensure_no_snapshot(SnapshotId(operation.resource_id))
    return {}


def succeed(tx: Tx, operation: Operation, facts: Facts, now: datetime) -> None:
    """The snapshot is there."""
    snapshot = find_snapshot(tx, operation.resource_id)
    if facts["size_gib"] != snapshot.size_gib:
        # The volume has grown between the request and the cut: usage follows the row, limit or no limit.
        shrinking = growth_usage(snapshot.size_gib - facts["size_gib"], snapshot.volume_type)
        give_quota(tx, snapshot.project_id, shrinking)
    end_snapshot(tx, snapshot.id, SnapshotMoves.created, now, {"progress": "100%", **facts})


def fail(tx: Tx, operation: Operation, reason: str, now: datetime) -> None:
    """The snapshot is not there, and why."""
    end_snapshot(tx, operation.resource_id, SnapshotMoves.create_failed, now, reason=reason)


CREATE_SNAPSHOT = Kind(
    name="create_snapshot",
    steps=(Step("freeze", freeze),),
    succeed=succeed,
    fail=fail,
    undo=(Step("remove", remove),),
)
