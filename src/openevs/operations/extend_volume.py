"""Grow a volume, attached or not.

The request has moved the row to `extending`, remembered the status before, and counted the growth. The engine grows the
volume; the row takes the new size and the remembered status in the transaction that closes the operation. Forward only:
a device that a client may already have seen larger is not shrunk. If it cannot be done for good, the volume is
`error_extending` with its old size, the quota is given back, and its bytes are untouched.
"""

from datetime import datetime

from openevs.domain.ids import GIB, VolumeId
from openevs.domain.lifecycle import VolumeMoves
from openevs.domain.model import Operation
from openevs.domain.quota import growth_usage
from openevs.engine.port import Engine
from openevs.operations.ends import end_volume
from openevs.operations.kind import Facts, Kind, Step
from openevs.store.database import Tx
from openevs.store.quotas import give_quota
from openevs.store.volumes import find_volume


async def grow(engine: Engine, operation: Operation, facts: Facts) -> Facts:
    """Grow the volume on storage."""
    await engine.ensure_volume_size(VolumeId(operation.resource_id), operation.input["new_size_gib"] * GIB)
    return {}


def succeed(tx: Tx, operation: Operation, facts: Facts, now: datetime) -> None:
    """The volume has its new size."""
    size = {"size_gib": operation.input["new_size_gib"]}
    end_volume(tx, operation.resource_id, VolumeMoves.extended, now, size)


def fail(tx: Tx, operation: Operation, reason: str, now: datetime) -> None:
    """The volume has its old size, and why."""
    volume = find_volume(tx, operation.resource_id)
    end_volume(tx, volume.id, VolumeMoves.extend_failed, now, reason=reason)
    growth = operation.input["new_size_gib"] - operation.input["old_size_gib"]
    give_quota(tx, volume.project_id, growth_usage(growth, volume.volume_type))


EXTEND_VOLUME = Kind(name="extend_volume", steps=(Step("grow", grow),), succeed=succeed, fail=fail, forward_only=True)
