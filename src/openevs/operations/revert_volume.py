"""Put a volume's bytes back to one of its snapshots: EVS's `rollback` and Cinder's `revert`, which differ in the
statuses they show.

This is the one destructive operation, so the engine keeps, with the volume and in the same atomic write, the token of
the last one it applied. The token is the operation's number, which only grows: a step that is run again after it has
had its effect (and after a client may have written to the volume since) changes nothing, and one that comes late, after
a newer roll-back, is refused.

Forward only: it is tried until it succeeds, unless storage says that it never can. Then the volume is
`error_rollbacking` (EVS; another roll-back may be tried) or `error` (Cinder), with the reason, and its bytes are those
from before.
"""

from collections.abc import Callable
from datetime import datetime

from openevs.domain.ids import SnapshotId, VolumeId
from openevs.domain.lifecycle import Move, SnapshotMoves, VolumeMoves
from openevs.domain.model import Operation
from openevs.engine.port import Engine
from openevs.operations.disconnect_volume import stop_serving
from openevs.operations.ends import end_snapshot, end_volume
from openevs.operations.kind import Facts, Kind, Step
from openevs.store.database import Tx


async def put_back(engine: Engine, operation: Operation, facts: Facts) -> Facts:
    """Put the bytes back. It has no attachment; but a connection that failed may have left it served."""
    await stop_serving(engine, operation, facts)
    snapshot_id = SnapshotId(operation.input["snapshot_id"])
    await engine.ensure_reverted(VolumeId(operation.resource_id), snapshot_id, operation.seq)
    return {}


def _succeed(volume_move: Move, snapshot_move: Move) -> Callable[[Tx, Operation, Facts, datetime], None]:
    def succeed(tx: Tx, operation: Operation, facts: Facts, now: datetime) -> None:
        """The volume has the snapshot's bytes."""
        end_volume(tx, operation.resource_id, volume_move, now)
        end_snapshot(tx, operation.input["snapshot_id"], snapshot_move, now)

    return succeed


def _fail(volume_move: Move, snapshot_move: Move) -> Callable[[Tx, Operation, str, datetime], None]:
    def fail(tx: Tx, operation: Operation, reason: str, now: datetime) -> None:
        """The volume has its own bytes still, and why."""
        end_volume(tx, operation.resource_id, volume_move, now, reason=reason)
        end_snapshot(tx, operation.input["snapshot_id"], snapshot_move, now)

    return fail


ROLLBACK_VOLUME = Kind(
    name="rollback_volume",
    steps=(Step("put_back", put_back),),
    succeed=_succeed(VolumeMoves.rolled_back, SnapshotMoves.rolled_back),
    fail=_fail(VolumeMoves.rollback_failed, SnapshotMoves.rolled_back),
    forward_only=True,
)
REVERT_VOLUME = Kind(
    name="revert_volume",
    steps=(Step("put_back", put_back),),
    succeed=_succeed(VolumeMoves.reverted, SnapshotMoves.reverted),
    fail=_fail(VolumeMoves.revert_failed, SnapshotMoves.reverted),
    forward_only=True,
)
