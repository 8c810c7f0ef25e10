"""Unmanage a volume: let go of it without losing its bytes.

The request has moved the row to `unmanaging`; nothing is attached, and there are no snapshots. Frozen states that
backups have kept are removed; the next backup, should the volume come back, is a whole one. Then the engine lets the
volume be nobody's, under a name that `manage_volume` can be given, and row and quota go. If it cannot be done, the
volume is `error_managing` with the reason and its bytes, and may be unmanaged again.
"""

from datetime import datetime

from openevs.domain.ids import VolumeId
from openevs.domain.lifecycle import VolumeMoves
from openevs.domain.model import Operation
from openevs.domain.quota import volume_usage
from openevs.engine.errors import Unsupported
from openevs.engine.port import Adopts, Engine
from openevs.operations.delete_volume import remove_bases
from openevs.operations.disconnect_volume import stop_serving
from openevs.operations.ends import end_volume
from openevs.operations.kind import Facts, Kind, Step
from openevs.store.backups import forget_bases
from openevs.store.database import Tx
from openevs.store.quotas import give_quota
from openevs.store.volumes import delete_volume_row, find_volume


async def release(engine: Engine, operation: Operation, facts: Facts) -> Facts:
    """Let go of the volume. It has no attachment; but a connection that failed may have left it served."""
    if not isinstance(engine, Adopts):
        raise Unsupported("this engine cannot let go of anything")
    await stop_serving(engine, operation, facts)
    await engine.ensure_released(VolumeId(operation.resource_id), operation.input["stray"])
    return {}


def succeed(tx: Tx, operation: Operation, facts: Facts, now: datetime) -> None:
    """The volume is nobody's, and its quota is given back."""
    forget_bases(tx, operation.input.get("bases", ()))
    volume = find_volume(tx, operation.resource_id)
    give_quota(tx, volume.project_id, volume_usage(volume.size_gib, volume.volume_type))
    delete_volume_row(tx, volume.id)


def fail(tx: Tx, operation: Operation, reason: str, now: datetime) -> None:
    """The volume is managed still, and why."""
    end_volume(tx, operation.resource_id, VolumeMoves.unmanage_failed, now, reason=reason)


UNMANAGE_VOLUME = Kind(
    name="unmanage_volume",
    steps=(Step("remove_bases", remove_bases), Step("release", release)),
    succeed=succeed,
    fail=fail,
)
