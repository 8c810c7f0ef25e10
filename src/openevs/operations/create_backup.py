"""Create a backup.

The request has made the row (`creating`), counted it, and either taken a snapshot of the user's out of circulation
(`backing-up`) or made one of the backup's own, for which the volume is `backing-up` too. Then, in this order:

* freeze   the volume is frozen at one instant, as the backup's own snapshot; from then on it is what it was before the
           request, and others may work on it
* copy     what has changed since the parent was made (or all that is not zero) goes from the frozen state to the vault;
           this is what takes long. After an interruption it is begun again, and stores nothing twice
* let_go   the frozen states of earlier backups are removed: the one of this backup tells what changes from now on

The own snapshot's row goes when the backup is there; its frozen state stays on storage as the backup's base. If the
backup cannot be made, whatever is in the vault and on storage of it is removed, and the row stays as `error`.
"""

import time
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Final

import structlog

from openevs.domain.backup import BackupMoves
from openevs.domain.ids import GIB, BackupId, SnapshotId, VolumeId
from openevs.domain.lifecycle import SnapshotMoves, VolumeMoves
from openevs.domain.model import Operation
from openevs.engine.errors import Mismatch, Unsupported
from openevs.engine.port import ChangedBlocks, Engine, Extent, Reads, SnapshotSpec
from openevs.operations.ends import end_backup, end_snapshot, end_volume
from openevs.operations.kind import Beside, Facts, Kind, LongStep, Step
from openevs.operations.progress import rate
from openevs.store.backups import forget_bases, update_backup
from openevs.store.database import Tx
from openevs.store.operations import release_claim
from openevs.store.snapshots import delete_snapshot_row
from openevs.vault.port import BackupOrder

log = structlog.get_logger()

BASE_OF: Final = "base of backup "
"""What the label `purpose` of a frozen state begins with that was made for a backup; the backup's id follows."""


async def freeze(engine: Engine, operation: Operation, facts: Facts) -> Facts:
    """Freeze the volume, unless the backup is of a snapshot, which is frozen already."""
    work = operation.input
    if not work["own_snapshot"]:
        return {}
    labels = {"project_id": operation.project_id, "purpose": BASE_OF + operation.resource_id}
    spec = SnapshotSpec(SnapshotId(work["snapshot_id"]), VolumeId(work["volume_id"]), labels)
    frozen = await engine.ensure_snapshot(spec)
    return {"taken_at": frozen.taken_at.isoformat(), "size_gib": frozen.size_bytes // GIB}


def frozen(tx: Tx, operation: Operation, facts: Facts, now: datetime) -> None:
    """The volume is free again; the snapshot is the backup's until it is done."""
    if not operation.input["own_snapshot"]:
        return
    taken_at = datetime.fromisoformat(facts["taken_at"])
    end_snapshot(tx, operation.input["snapshot_id"], SnapshotMoves.frozen_for_backup, now, {"taken_at": taken_at})
    update_backup(tx, operation.resource_id, None, now, {"data_timestamp": taken_at})
    _free_volume(tx, operation, now)


def _free_volume(tx: Tx, operation: Operation, now: datetime) -> None:
    end_volume(tx, operation.input["volume_id"], VolumeMoves.backed_up, now)
    release_claim(tx, operation, "volume", operation.input["volume_id"])


async def copy(engine: Engine, beside: Beside, operation: Operation, facts: Facts) -> Facts:
    """Bring to the vault what it does not have yet."""
    if not isinstance(engine, Reads):
        raise Unsupported("this engine cannot read volumes, so there is nothing to make backups of")
    work = operation.input
    source, size_bytes = SnapshotId(work["snapshot_id"]), work["size_gib"] * GIB
    backup_id = BackupId(operation.resource_id)
    parent = BackupId(work["parent_vault_id"]) if work["parent_vault_id"] else None
    extents, whole = await _changed(engine, source, size_bytes, work["parent_base"] if parent else None)
    # Without the parent's frozen state, nothing tells what has become zeros since: the backup then says all by itself.
    # What it shares with the parent is in the vault already, and is not stored again.
    labels = {
        "project_id": operation.project_id, "volume_id": work["volume_id"], "name": work["name"],
        "taken_at": facts.get("taken_at") or work.get("taken_at", ""),
    }  # fmt: skip
    order = BackupOrder(backup_id, size_bytes, None if whole else parent, labels)
    began = time.monotonic()
    made = await beside.vault.ensure_backup(
        order, partial(engine.read, source), extents, partial(beside.report, operation.resource_id)
    )
    seconds = time.monotonic() - began
    log.info(
        "backup_stored", backup_id=backup_id, bytes_read=made.bytes_read, bytes_stored=made.bytes_stored,
        incremental=order.parent_id is not None, seconds=round(seconds, 3),
        bytes_per_second=rate(made.bytes_read, seconds),
    )  # fmt: skip
    return {
        "object_count": made.object_count,
        "bytes_read": made.bytes_read,
        "bytes_stored": made.bytes_stored,
        "record": await beside.vault.export_record(backup_id),
        "base": isinstance(engine, ChangedBlocks),
    }


async def _changed(
    engine: Engine, source: SnapshotId, size_bytes: int, since: str | None
) -> tuple[Sequence[Extent], bool]:
    """Return what may differ from the parent's frozen state, or, if that is not there, all that is not zero; and
    whether it is the latter."""
    if not isinstance(engine, ChangedBlocks):
        return [Extent(0, size_bytes)], True
    if since is not None:
        try:
            return await engine.changed_blocks(source, SnapshotId(since)), False
        except Mismatch:
            log.warning("backup_base_gone", snapshot_id=since)
    return await engine.changed_blocks(source, None), True


async def let_go(engine: Engine, operation: Operation, facts: Facts) -> Facts:
    """Remove frozen states that no later backup needs."""
    work = operation.input
    for snapshot_id in work["old_bases"]:
        await engine.ensure_no_snapshot(SnapshotId(snapshot_id))
    if work["own_snapshot"] and not facts["base"]:
        await engine.ensure_no_snapshot(SnapshotId(work["snapshot_id"]))
    return {}


async def remove(engine: Engine, beside: Beside, operation: Operation, facts: Facts) -> Facts:
    """Remove what was frozen, and what is in the vault: in this order, for a vault that cannot be used, and so was the
    reason, must not keep a volume from being deleted."""
    if operation.input["own_snapshot"]:
        await engine.ensure_no_snapshot(SnapshotId(operation.input["snapshot_id"]))
    await beside.vault.ensure_no_backup(BackupId(operation.resource_id))
    return {}


def succeed(tx: Tx, operation: Operation, facts: Facts, now: datetime) -> None:
    """The backup is there."""
    work = operation.input
    forget_bases(tx, work["old_bases"])
    values = {name: facts[name] for name in ("object_count", "bytes_read", "bytes_stored", "record")}
    base = work["snapshot_id"] if facts["base"] or not work["own_snapshot"] else None
    end_backup(tx, operation.resource_id, BackupMoves.created, now, {**values, "base_snapshot_id": base})
    _let_snapshot_go(tx, operation, now)


def fail(tx: Tx, operation: Operation, reason: str, now: datetime) -> None:
    """The backup is not there, and why."""
    if operation.input["own_snapshot"] and "taken_at" not in operation.facts:
        _free_volume(tx, operation, now)
    end_backup(tx, operation.resource_id, BackupMoves.create_failed, now, reason=reason)
    _let_snapshot_go(tx, operation, now)


def _let_snapshot_go(tx: Tx, operation: Operation, now: datetime) -> None:
    snapshot_id = operation.input["snapshot_id"]
    if operation.input["own_snapshot"]:
        delete_snapshot_row(tx, snapshot_id)
    else:
        end_snapshot(tx, snapshot_id, SnapshotMoves.backed_up, now)


CREATE_BACKUP = Kind(
    name="create_backup",
    steps=(Step("freeze", freeze, frozen), LongStep("copy", copy), Step("let_go", let_go)),
    succeed=succeed,
    fail=fail,
    undo=(LongStep("remove", remove),),
)
