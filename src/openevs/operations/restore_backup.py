"""Restore a backup into a volume: one that is there, or one that the request has made for it.

The request has made the backup `restoring` and the volume `restoring-backup` (a new one that was asked for with
`backup_id` is `creating`). Everything that the volume held is overwritten; each chunk is checked before its bytes are
written. After an interruption it is begun again from the start, when nothing of the earlier attempt is under way any
more: what was given up may still be writing.

If it cannot be done the volume is `error_restoring` (one that was `creating`: `error`): it may hold anything, and says
so. The former can be restored again, both can be deleted. The backup is what it was.
"""

import contextlib
import time
from datetime import datetime
from functools import partial
from typing import Any, Final

import structlog

from openevs.domain.backup import BackupMoves
from openevs.domain.ids import GIB, BackupId, VolumeId
from openevs.domain.lifecycle import VolumeMoves
from openevs.domain.model import Operation
from openevs.engine.errors import Transient, Unsupported
from openevs.engine.port import Engine, VolumeSpec, Writes
from openevs.operations.disconnect_volume import stop_serving
from openevs.operations.ends import end_backup, end_volume
from openevs.operations.kind import Beside, Facts, Kind, LongStep, Step
from openevs.operations.progress import rate
from openevs.store.backups import find_backup
from openevs.store.database import Tx
from openevs.store.volumes import find_volume

log = structlog.get_logger()

ORIGIN: Final = "src_backup_id"
"""The key of a volume's metadata that names the backup its bytes are from."""
_ZEROED_AT_ONCE: Final = GIB
"""A call that makes more zero would take so long that it were given up."""
_FAILED: Final = {"creating": VolumeMoves.create_failed, "restoring-backup": VolumeMoves.restore_failed}


async def make(engine: Engine, operation: Operation, facts: Facts) -> Facts:
    """Make the volume, if it is a new one."""
    work = operation.input
    if work["make"]:
        labels = {"project_id": operation.project_id, "name": work["name"]}
        await engine.ensure_volume(VolumeSpec(VolumeId(operation.resource_id), work["size_gib"] * GIB, labels))
    return {}


async def write(engine: Engine, beside: Beside, operation: Operation, facts: Facts) -> Facts:
    """Overwrite the volume with what the backup holds; what it has beyond that becomes zeros. It has no attachment; but
    a connection that failed may have left it served."""
    if not isinstance(engine, Writes):
        raise Unsupported("this engine cannot write volumes, so nothing can be restored into them")
    volume_id, work = VolumeId(operation.resource_id), operation.input
    await stop_serving(engine, operation, facts)
    with contextlib.suppress(Transient):  # what an earlier attempt wrote may be lost: all of it is written again
        await engine.flush(volume_id)
    zero = partial(_zero, engine, volume_id)
    began = time.monotonic()
    restored = await beside.vault.restore(
        BackupId(work["vault_id"]), partial(engine.write, volume_id), zero, partial(beside.report, work["backup_id"])
    )
    await zero(restored.size_bytes, work["size_gib"] * GIB - restored.size_bytes)
    await engine.flush(volume_id)
    seconds = time.monotonic() - began
    log.info(
        "backup_restored", backup_id=work["backup_id"], volume_id=volume_id, bytes_done=restored.size_bytes,
        seconds=round(seconds, 3), bytes_per_second=rate(restored.size_bytes, seconds),
    )  # fmt: skip
    return {}


async def _zero(engine: Writes, volume_id: VolumeId, offset_bytes: int, length_bytes: int) -> None:
    end = offset_bytes + length_bytes
    for start in range(offset_bytes, end, _ZEROED_AT_ONCE):
        await engine.write_zeros(volume_id, start, min(_ZEROED_AT_ONCE, end - start))


def succeed(tx: Tx, operation: Operation, facts: Facts, now: datetime) -> None:
    """The volume holds what the backup does."""
    end_volume(tx, operation.resource_id, VolumeMoves.restored, now, _origin(tx, operation))
    end_backup(tx, operation.input["backup_id"], BackupMoves.restored, now)


def _origin(tx: Tx, operation: Operation) -> dict[str, Any]:
    """Return what the volume says of where its bytes are from: nothing as long as they are of a backup of its own."""
    volume, backup = find_volume(tx, operation.resource_id), find_backup(tx, operation.input["backup_id"])
    known = volume.metadata.get(ORIGIN)
    if backup.volume_id == volume.id and known is None:
        return {}
    return {"metadata": {**volume.metadata, ORIGIN: backup.id}}


def fail(tx: Tx, operation: Operation, reason: str, now: datetime) -> None:
    """The volume may hold anything, and why."""
    end_volume(tx, operation.resource_id, _FAILED[operation.input["begun_as"]], now, reason=reason)
    end_backup(tx, operation.input["backup_id"], BackupMoves.restored, now)


RESTORE_BACKUP = Kind(
    name="restore_backup", steps=(Step("make", make), LongStep("write", write)), succeed=succeed, fail=fail
)
