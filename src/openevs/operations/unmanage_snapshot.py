"""Unmanage a snapshot: let go of it without losing its bytes.

The request has moved the row to `unmanaging`. One step: the engine lets the snapshot be nobody's, under a name that
`manage_snapshot` can be given; its volume cannot be deleted until then. Then row and quota go. If it cannot be
done, the snapshot is `error` with the reason (it may be nobody's already), and may be unmanaged again.
"""

from datetime import datetime

from openevs.domain.ids import SnapshotId
from openevs.domain.lifecycle import SnapshotMoves
from openevs.domain.model import Operation
from openevs.engine.errors import Unsupported
from openevs.engine.port import Adopts, Engine
from openevs.operations.delete_snapshot import forget_snapshot
from openevs.operations.ends import end_snapshot
from openevs.operations.kind import Facts, Kind, Step
from openevs.store.database import Tx


async def release(engine: Engine, operation: Operation, facts: Facts) -> Facts:
    """Let go of the snapshot."""
    if not isinstance(engine, Adopts):
        raise Unsupported("this engine cannot let go of anything")
    await engine.ensure_snapshot_released(SnapshotId(operation.resource_id), operation.input["stray"])
    return {}


def succeed(tx: Tx, operation: Operation, facts: Facts, now: datetime) -> None:
    """The snapshot is nobody's, and its quota is given back."""
    forget_snapshot(tx, operation.resource_id)


def fail(tx: Tx, operation: Operation, reason: str, now: datetime) -> None:
    """The snapshot is managed still, and why."""
    end_snapshot(tx, operation.resource_id, SnapshotMoves.unmanage_failed, now, reason=reason)


UNMANAGE_SNAPSHOT = Kind(name="unmanage_snapshot", steps=(Step("release", release),), succeed=succeed, fail=fail)
