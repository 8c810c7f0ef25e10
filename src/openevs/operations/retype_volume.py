"""Retype a volume.

The request has changed the type in the row, moved what is counted to the other type's quota, and made the volume
`retyping`. What is left is one call: if the volume is served, its limits become those of the new type. Then the volume
is what it was before, `available` or `in-use`.

If it cannot be done, type and quota are as before, and the volume too.
"""

from datetime import datetime

from openevs.domain.ids import VolumeId
from openevs.domain.lifecycle import VolumeMoves
from openevs.domain.model import Operation
from openevs.domain.quota import volume_usage
from openevs.engine.port import Engine, Limits, Throttles
from openevs.operations.ends import end_volume
from openevs.operations.kind import Facts, Kind, Step
from openevs.store.database import Tx
from openevs.store.quotas import give_quota
from openevs.store.volumes import find_volume


async def limit(engine: Engine, operation: Operation, facts: Facts) -> Facts:
    """Make the limits of the new type hold."""
    return await _limit(engine, operation, operation.input["limits"])


async def limit_as_before(engine: Engine, operation: Operation, facts: Facts) -> Facts:
    """Make the limits of the old type hold."""
    return await _limit(engine, operation, operation.input["limits_before"])


async def _limit(engine: Engine, operation: Operation, limits: dict[str, int]) -> Facts:
    if isinstance(engine, Throttles):
        await engine.ensure_limits(VolumeId(operation.resource_id), Limits(**limits))
    return {}


def succeed(tx: Tx, operation: Operation, facts: Facts, now: datetime) -> None:
    """The volume is of the new type."""
    end_volume(tx, operation.resource_id, VolumeMoves.retyped, now)


def fail(tx: Tx, operation: Operation, reason: str, now: datetime) -> None:
    """The volume is of the old type still, and why."""
    before, volume = operation.input["before"], find_volume(tx, operation.resource_id)
    give_quota(tx, volume.project_id, volume_usage(volume.size_gib, volume.volume_type))
    # Taken back whatever the limit says: it was counted there a moment ago.
    back = {name: -amount for name, amount in volume_usage(volume.size_gib, before["volume_type"]).items()}
    give_quota(tx, volume.project_id, back)
    end_volume(tx, operation.resource_id, VolumeMoves.retyped, now, before, reason=reason)


RETYPE_VOLUME = Kind(
    name="retype_volume",
    steps=(Step("limit", limit),),
    succeed=succeed,
    fail=fail,
    undo=(Step("limit_as_before", limit_as_before),),
)
