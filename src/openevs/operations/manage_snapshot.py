"""Manage a snapshot: take over one that was let go.

The request has looked at what there is, made the row (`creating`), counted it and queued this. One step: the engine
gives the stray to the snapshot, with the moment at which it was taken. If it cannot be done, the stray is what it was,
and the row stays as `error` with the reason.
"""

from datetime import datetime

from openevs.domain.ids import SnapshotId, VolumeId
from openevs.domain.lifecycle import SnapshotMoves
from openevs.domain.model import Operation
from openevs.engine.errors import Unsupported
from openevs.engine.port import Adopts, Engine, SnapshotSpec
from openevs.operations.ends import end_snapshot
from openevs.operations.kind import Facts, Kind, Step
from openevs.store.database import Tx


async def adopt(engine: Engine, operation: Operation, facts: Facts) -> Facts:
    """Give the stray to the snapshot."""
    if not isinstance(engine, Adopts):
        raise Unsupported("this engine cannot adopt anything")
    labels = {"project_id": operation.project_id, "name": operation.input["name"]}
    spec = SnapshotSpec(SnapshotId(operation.resource_id), VolumeId(operation.input["volume_id"]), labels)
    taken = await engine.ensure_snapshot_adopted(spec, operation.input["stray"])
    return {"taken_at": taken.taken_at, "cut_ms": taken.cut_ms, "stall_ms": taken.stall_ms}


async def release(engine: Engine, operation: Operation, facts: Facts) -> Facts:
    """Let the stray be what it was."""
    if isinstance(engine, Adopts):
        await engine.ensure_snapshot_released(SnapshotId(operation.resource_id), operation.input["stray"])
    return {}


def succeed(tx: Tx, operation: Operation, facts: Facts, now: datetime) -> None:
    """The snapshot is there."""
    end_snapshot(tx, operation.resource_id, SnapshotMoves.created, now, {"progress": "100%", **facts})


def fail(tx: Tx, operation: Operation, reason: str, now: datetime) -> None:
    """The snapshot is not there, and why."""
    end_snapshot(tx, operation.resource_id, SnapshotMoves.create_failed, now, reason=reason)


MANAGE_SNAPSHOT = Kind(
    name="manage_snapshot",
    steps=(Step("adopt", adopt),),
    succeed=succeed,
    fail=fail,
    undo=(Step("release", release),),
)
