"""Create a volume: empty, from a snapshot, or from another volume.

The request has made the row (`creating`), counted it and queued this. From another volume it takes three steps: the
source is frozen under an id of this operation's own (in its input, so that a repeat uses the same one), the new volume
is made from that, and the frozen state is let go of; the layers that both still need stay. For the other sources the
first and the last step have nothing to do.

If it cannot be done, volume and frozen state are removed, and the row stays as `error` with the reason.
"""

from datetime import datetime

from openevs.domain.ids import GIB, SnapshotId, VolumeId
from openevs.domain.lifecycle import VolumeMoves
from openevs.domain.model import Operation
from openevs.engine.errors import Unsupported
from openevs.engine.port import Engine, SnapshotSpec, VolumeSpec
from openevs.operations.ends import end_volume
from openevs.operations.kind import Facts, Kind, Step
from openevs.store.database import Tx


async def freeze_source(engine: Engine, operation: Operation, facts: Facts) -> Facts:
    """Freeze the source volume, if the source is a volume. Not at all if there is no place for the new one: its type
    may ask for what no backend has."""
    if "refused" in operation.input:
        raise Unsupported(operation.input["refused"])
    passing = operation.input.get("passing_snapshot_id")
    if passing is not None:
        labels = {"purpose": f"source of volume {operation.resource_id}"}
        await engine.ensure_snapshot(
            SnapshotSpec(SnapshotId(passing), VolumeId(operation.input["source_volid"]), labels)
        )
    return {}


async def make(engine: Engine, operation: Operation, facts: Facts) -> Facts:
    """Make the volume."""
    labels = {"project_id": operation.project_id, "name": operation.input["name"]}
    spec = VolumeSpec(VolumeId(operation.resource_id), operation.input["size_gib"] * GIB, labels)
    source = operation.input.get("passing_snapshot_id") or operation.input.get("snapshot_id")
    if source is None:
        await engine.ensure_volume(spec)
    else:
        await engine.ensure_volume_from_snapshot(spec, SnapshotId(source))
    return {}


async def release_source(engine: Engine, operation: Operation, facts: Facts) -> Facts:
    """Let go of what `freeze_source` made."""
    passing = operation.input.get("passing_snapshot_id")
    if passing is not None:
        await engine.ensure_no_snapshot(SnapshotId(passing))
    return {}


async def remove(engine: Engine, operation: Operation, facts: Facts) -> Facts:
    """Remove what `make` may have left."""
    await engine.ensure_no_volume(VolumeId(operation.resource_id))
    return {}


def succeed(tx: Tx, operation: Operation, facts: Facts, now: datetime) -> None:
    """The volume is there."""
    end_volume(tx, operation.resource_id, VolumeMoves.created, now)


def fail(tx: Tx, operation: Operation, reason: str, now: datetime) -> None:
    """The volume is not there, and why."""
    end_volume(tx, operation.resource_id, VolumeMoves.create_failed, now, reason=reason)


CREATE_VOLUME = Kind(
    name="create_volume",
    steps=(Step("freeze_source", freeze_source), Step("make", make), Step("release_source", release_source)),
    succeed=succeed,
    fail=fail,
    undo=(Step("remove", remove), Step("release_source", release_source)),
)
