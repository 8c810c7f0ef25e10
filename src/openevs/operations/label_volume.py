"""Let storage know whose a volume is, after it has changed hands.

The request has changed the owner in the rows, and that is all that counts while there is a database; storage is told so
that it can be made anew from there if it is lost. One step: the labels of the volume, and of the snapshots that went
along. The volume is as usable as ever meanwhile; what is deleted before it is labelled needs no label.

If it cannot be done for good, the labels stay the old ones, and the message says so.
"""

from datetime import datetime

from openevs.domain.ids import SnapshotId, VolumeId
from openevs.domain.model import Operation
from openevs.engine.port import Engine
from openevs.operations.kind import Facts, Kind, Step
from openevs.store.database import Tx


async def label(engine: Engine, operation: Operation, facts: Facts) -> Facts:
    """Label the volume and its snapshots."""
    labels = {"project_id": operation.project_id}
    await engine.ensure_labels(VolumeId(operation.resource_id), labels)
    for snapshot_id in operation.input["snapshots"]:
        await engine.ensure_labels(SnapshotId(snapshot_id), labels)
    return {}


def succeed(tx: Tx, operation: Operation, facts: Facts, now: datetime) -> None:
    """Storage says what the rows do."""


def fail(tx: Tx, operation: Operation, reason: str, now: datetime) -> None:
    """Storage names an earlier owner; the rows are right."""


LABEL_VOLUME = Kind(name="label_volume", steps=(Step("label", label),), succeed=succeed, fail=fail, forward_only=True)
