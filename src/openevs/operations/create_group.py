"""Create a group from a group snapshot or from another group: a copy of each volume.

From a group, its volumes are frozen first under ids of this operation's own, and let go of at the end, as with a volume
made from a volume; from a group snapshot these steps have nothing to do.

If it cannot be done, every volume and every frozen state is removed; the group and its volumes stay as `error` with the
reason, until the group is deleted with its volumes.
"""

from datetime import datetime

from openevs.domain.ids import GIB, SnapshotId, VolumeId
from openevs.domain.lifecycle import GroupMoves, VolumeMoves
from openevs.domain.model import Operation
from openevs.engine.port import Engine, VolumeSpec
from openevs.operations.ends import end_group, end_volume
from openevs.operations.freezing import FREEZE, release
from openevs.operations.kind import Facts, Kind, Step
from openevs.store.database import Tx


async def make(engine: Engine, operation: Operation, facts: Facts) -> Facts:
    """Make the volumes."""
    labels = {"project_id": operation.project_id, "group_id": operation.resource_id}
    for wanted in operation.input["volumes"]:
        spec = VolumeSpec(VolumeId(wanted["volume_id"]), wanted["size_gib"] * GIB, labels)
        await engine.ensure_volume_from_snapshot(spec, SnapshotId(wanted["snapshot_id"]))
    return {}


async def remove(engine: Engine, operation: Operation, facts: Facts) -> Facts:
    """Remove what `make` may have left."""
    for wanted in operation.input["volumes"]:
        await engine.ensure_no_volume(VolumeId(wanted["volume_id"]))
    return {}


def succeed(tx: Tx, operation: Operation, facts: Facts, now: datetime) -> None:
    """All volumes are there."""
    for wanted in operation.input["volumes"]:
        end_volume(tx, wanted["volume_id"], VolumeMoves.created, now)
    end_group(tx, operation.resource_id, GroupMoves.created, now)


def fail(tx: Tx, operation: Operation, reason: str, now: datetime) -> None:
    """No volume is there, and why."""
    for wanted in operation.input["volumes"]:
        end_volume(tx, wanted["volume_id"], VolumeMoves.create_failed, now, reason=reason)
    end_group(tx, operation.resource_id, GroupMoves.create_failed, now, reason=reason)


CREATE_GROUP = Kind(
    name="create_group",
    steps=(*FREEZE, Step("make", make), Step("release", release)),
    succeed=succeed,
    fail=fail,
    undo=(Step("remove", remove), Step("release", release)),
)
