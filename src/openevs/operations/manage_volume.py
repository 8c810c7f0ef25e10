"""Manage a volume: take over bytes that are on storage and nobody's.

The request has looked at what there is, made the row (`managing`) with its size, counted it and queued this. One step:
the engine gives the stray to the volume, under the volume's own id; a file that was put into the pool is copied first.

If it cannot be done, the stray is what it was, and the row stays as `error_managing` with the reason.
"""

from datetime import datetime

from openevs.domain.ids import GIB, VolumeId
from openevs.domain.lifecycle import VolumeMoves
from openevs.domain.model import Operation
from openevs.engine.errors import Unsupported
from openevs.engine.port import Adopts, Engine, VolumeSpec
from openevs.operations.ends import end_volume
from openevs.operations.kind import Facts, Kind, Step
from openevs.store.database import Tx


async def adopt(engine: Engine, operation: Operation, facts: Facts) -> Facts:
    """Give the stray to the volume."""
    if not isinstance(engine, Adopts):
        raise Unsupported("this engine cannot adopt anything")
    labels = {"project_id": operation.project_id, "name": operation.input["name"]}
    spec = VolumeSpec(VolumeId(operation.resource_id), operation.input["size_gib"] * GIB, labels)
    await engine.ensure_adopted(spec, operation.input["stray"])
    return {}


async def release(engine: Engine, operation: Operation, facts: Facts) -> Facts:
    """Let the stray be what it was."""
    if isinstance(engine, Adopts):
        await engine.ensure_released(VolumeId(operation.resource_id), operation.input["stray"])
    return {}


def succeed(tx: Tx, operation: Operation, facts: Facts, now: datetime) -> None:
    """The volume is there."""
    end_volume(tx, operation.resource_id, VolumeMoves.managed, now)


def fail(tx: Tx, operation: Operation, reason: str, now: datetime) -> None:
    """The volume is not there, and why."""
    end_volume(tx, operation.resource_id, VolumeMoves.manage_failed, now, reason=reason)


MANAGE_VOLUME = Kind(
    name="manage_volume",
    steps=(Step("adopt", adopt),),
    succeed=succeed,
    fail=fail,
    undo=(Step("release", release),),
)
