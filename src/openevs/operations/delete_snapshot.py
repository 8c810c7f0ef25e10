"""Delete a snapshot.

The request has moved the row to `deleting`. The engine forgets the snapshot at once and gives its space back in the
background; the row and its quota go in the transaction that closes the operation. If the engine cannot, the snapshot
is `error_deleting` with the reason; an administrator's `os-force_delete` tries again.
"""

from datetime import datetime

from openevs.domain.ids import SnapshotId
from openevs.domain.lifecycle import SnapshotMoves
from openevs.domain.model import Operation
from openevs.domain.quota import snapshot_usage
from openevs.engine.port import Engine
from openevs.operations.ends import end_snapshot
from openevs.operations.kind import Facts, Kind, Step
from openevs.store.database import Tx
from openevs.store.quotas import give_quota
from openevs.store.snapshots import delete_snapshot_row, find_snapshot


async def remove(engine: Engine, operation: Operation, facts: Facts) -> Facts:
    """Remove the snapshot from storage."""
    await engine.ensure_no_snapshot(SnapshotId(operation.resource_id))
    return {}


def succeed(tx: Tx, operation: Operation, facts: Facts, now: datetime) -> None:
    """The snapshot is gone, and its quota is given back."""
    forget_snapshot(tx, operation.resource_id)


def forget_snapshot(tx: Tx, snapshot_id: str) -> None:
    """Remove a snapshot's row and give its quota back."""
    snapshot = find_snapshot(tx, snapshot_id)
    if snapshot.owner == "user":  # what a backup took for itself was never counted
        give_quota(tx, snapshot.project_id, snapshot_usage(snapshot.size_gib, snapshot.volume_type))
    delete_snapshot_row(tx, snapshot_id)


def fail(tx: Tx, operation: Operation, reason: str, now: datetime) -> None:
    """The snapshot could not be removed, and why."""
    end_snapshot(tx, operation.resource_id, SnapshotMoves.delete_failed, now, reason=reason)


DELETE_SNAPSHOT = Kind(name="delete_snapshot", steps=(Step("remove", remove),), succeed=succeed, fail=fail)
