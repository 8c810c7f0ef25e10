"""Delete a group snapshot with all its snapshots.

The request has moved the rows to `deleting`. If the engine cannot, they are `error_deleting` with the reason; an
administrator resets the group snapshot's status, and it can be deleted again.
"""

from datetime import datetime

from openevs.domain.ids import SnapshotId
from openevs.domain.lifecycle import GroupSnapshotMoves, SnapshotMoves
from openevs.domain.model import Operation
from openevs.engine.port import Engine
from openevs.operations.delete_snapshot import forget_snapshot
from openevs.operations.ends import end_group_snapshot, end_snapshot
from openevs.operations.kind import Facts, Kind, Step
from openevs.store.database import Tx
from openevs.store.group_snapshots import delete_group_snapshot_row


async def remove(engine: Engine, operation: Operation, facts: Facts) -> Facts:
    """Remove the snapshots from storage."""
    for snapshot_id in operation.input["objects"]:
        await engine.ensure_no_snapshot(SnapshotId(snapshot_id))
    return {}


def succeed(tx: Tx, operation: Operation, facts: Facts, now: datetime) -> None:
    """Everything is gone, and the quotas are given back."""
    for snapshot_id in operation.input["objects"]:
        forget_snapshot(tx, snapshot_id)
    delete_group_snapshot_row(tx, operation.resource_id)


def fail(tx: Tx, operation: Operation, reason: str, now: datetime) -> None:
    """Not all snapshots could be removed, and why."""
    for snapshot_id in operation.input["objects"]:
        end_snapshot(tx, snapshot_id, SnapshotMoves.delete_failed, now, reason=reason)
    end_group_snapshot(tx, operation.resource_id, GroupSnapshotMoves.delete_failed, now, reason=reason)


DELETE_GROUP_SNAPSHOT = Kind(name="delete_group_snapshot", steps=(Step("remove", remove),), succeed=succeed, fail=fail)
