"""What can be asked of snapshots.

Each function checks, changes rows in one transaction and returns; the bytes are the operation's business
(`operations/create_snapshot.py` and its neighbours). Rules: spec 2.2, 2.8, 3.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

import structlog

from openevs.domain.errors import Conflict, InUse, InvalidInput, WrongStatus
from openevs.domain.ids import ProjectId, SnapshotId, new_uuid
from openevs.domain.lifecycle import SERVICE_UPDATES, SNAPSHOT_STATUSES, SnapshotMoves, reset
from openevs.domain.model import Caller, Operation, Snapshot, SnapshotOwner, Volume
from openevs.domain.quota import snapshot_usage
from openevs.domain.rules import (
    BACKUP_SNAPSHOT_PREFIX,
    SNAPSHOTTABLE,
    Force,
    check_metadata,
    check_text,
    is_reserved_name,
)
from openevs.service.deps import Deps, accept, queue_work, settle, with_reason
from openevs.service.parts import check_thawed
from openevs.service.queries import SNAPSHOT_FILTERS, ListQuery, list_rows
from openevs.service.reverting import begin_reverting
from openevs.store import snapshots as store
from openevs.store.database import Tx
from openevs.store.operations import claimant
from openevs.store.quotas import take_quota
from openevs.store.tables import snapshot as table
from openevs.store.tables import volume as volume_table
from openevs.store.volumes import count_volumes, find_volume, hold_volume

log = structlog.get_logger()


class NewSnapshot(NamedTuple):
    """A snapshot as it is asked for."""

    volume_id: str
    name: str | None = None
    description: str | None = None
    metadata: Mapping[str, object] = {}
    force: Force = "no"


async def create_snapshot(deps: Deps, caller: Caller, new: NewSnapshot) -> Snapshot:
    """Accept a snapshot of a volume: it is `creating` until its bytes are frozen.

    Raises InvalidInput, NotFound (volume), WrongStatus (see `SNAPSHOTTABLE`), Conflict (too many snapshots of the
    volume), QuotaExceeded.
    """
    checked = new._replace(
        name=check_text("name", new.name),
        description=check_text("description", new.description),
        metadata=check_metadata(new.metadata),
    )
    if is_reserved_name(checked.name):
        log.warning("snapshot_name_reserved", name=checked.name, volume_id=checked.volume_id)
    return await accept(deps, caller, Snapshot, _accept_snapshot, deps, caller, checked)


def _accept_snapshot(tx: Tx, deps: Deps, caller: Caller, new: NewSnapshot) -> tuple[Snapshot, Operation]:
    now = deps.clock()
    try:
        volume = hold_volume(tx, new.volume_id, SNAPSHOTTABLE[new.force], "snapshot", caller.project_id)
    except WrongStatus as wrong:
        if wrong.found in SNAPSHOTTABLE["yes"] and new.force == "no":  # then that is what is missing
            wrong = WrongStatus(wrong.kind, wrong.resource_id, wrong.found, wrong.allowed, "snapshot, without force,")
        raise wrong from None
    check_thawed(tx, deps, volume)
    snapshot = add_snapshot(tx, deps, caller, volume, new, now)
    work = {"volume_id": volume.id, "name": new.name or ""}
    return snapshot, queue_work(tx, deps, caller, "create_snapshot", snapshot, work)


def add_snapshot(
    tx: Tx,
    deps: Deps,
    caller: Caller,
    volume: Volume,
    new: NewSnapshot,
    now: datetime,
    group_snapshot_id: str | None = None,
) -> Snapshot:
    """Add the row of a snapshot of a volume and count it. Raises InUse (too many of the volume), QuotaExceeded."""
    if store.count_snapshots_of(tx, volume.id) >= deps.snapshots_per_volume:
        raise InUse(
            "volume", f"volume {volume.id} already has {deps.snapshots_per_volume} snapshots, the most it may have."
        )
    take_quota(tx, caller.project_id, snapshot_usage(volume.size_gib, volume.volume_type), deps.quota_defaults)
    snapshot = snapshot_record(
        volume,
        caller,
        now,
        project_id=caller.project_id,
        name=new.name,
        description=new.description,
        metadata=new.metadata,
        group_snapshot_id=group_snapshot_id,
    )
    return store.insert_snapshot(tx, snapshot)


def snapshot_record(
    volume: Volume,
    caller: Caller,
    now: datetime,
    *,
    project_id: str,
    name: str | None,
    description: str | None = None,
    metadata: Mapping[str, object] = {},
    size_gib: int | None = None,
    owner: SnapshotOwner = "user",
    group_snapshot_id: str | None = None,
) -> Snapshot:
    """Return the record of a snapshot of a volume that is to be made; it has the volume's size unless another one is
    given."""
    return Snapshot(
        id=SnapshotId(new_uuid()),
        project_id=ProjectId(project_id),
        user_id=caller.user_id,
        volume_id=volume.id,
        name=name,
        description=description,
        size_gib=volume.size_gib if size_gib is None else size_gib,
        status="creating",
        progress="0%",
        metadata={key: str(value) for key, value in metadata.items()},
        owner=owner,
        volume_type=volume.volume_type,
        created_at=now,
        updated_at=None,
        taken_at=None,
        cut_ms=None,
        stall_ms=None,
        reason=None,
        group_snapshot_id=group_snapshot_id,
    )


async def get_snapshot(deps: Deps, caller: Caller, snapshot_id: str) -> Snapshot:
    """Return a snapshot of the caller's project (an administrator: of any). Raises NotFound."""
    await settle(deps, caller, snapshot_id)
    return with_reason(deps, deps.db.look_up(store.find_snapshot, snapshot_id, caller.scope))


async def list_snapshots(deps: Deps, caller: Caller, query: ListQuery) -> tuple[list[Snapshot], int | None]:
    """Return one page of snapshots and, if asked for, how many there are in all.
    Raises InvalidInput, NotFound (marker)."""
    return await list_rows(deps, table, Snapshot._make, SNAPSHOT_FILTERS, caller, query)


async def update_snapshot(deps: Deps, caller: Caller, snapshot_id: str, changes: Mapping[str, str | None]) -> Snapshot:
    """Change name or description (keys of `changes`). Raises InvalidInput, NotFound."""
    values = {field: check_text(field, text) for field, text in changes.items()}
    if is_reserved_name(values.get("name")):
        log.warning("snapshot_name_reserved", name=values["name"], snapshot_id=snapshot_id)
    return await deps.db.write(store.update_snapshot, snapshot_id, caller.scope, deps.clock(), values)


async def delete_snapshot(deps: Deps, caller: Caller, snapshot_id: str) -> None:
    """Accept the deletion of a snapshot. Raises NotFound, WrongStatus, InUse (a backup or a group snapshot owns it, or
    a volume is just being made from it)."""
    await accept(deps, caller, Snapshot, _accept_deletion, deps, caller, snapshot_id, False)


async def force_delete_snapshot(deps: Deps, caller: Caller, snapshot_id: str) -> None:
    """Accept the deletion of a snapshot in any status (administrators). Raises NotFound, WrongStatus, Conflict."""
    await accept(deps, caller, Snapshot, _accept_deletion, deps, caller, snapshot_id, True)


def _accept_deletion(tx: Tx, deps: Deps, caller: Caller, snapshot_id: str, force: bool) -> tuple[Snapshot, Operation]:
    now = deps.clock()
    project_id = None if force else caller.scope
    found = store.find_snapshot(tx, snapshot_id, project_id)
    if found.owner == "backup" and not force:
        raise InUse("snapshot", f"snapshot {snapshot_id} belongs to a backup and goes with it.")
    check_thawed(tx, deps, find_volume(tx, found.volume_id))
    if found.group_snapshot_id is not None:
        raise InUse("snapshot", f"it belongs to group snapshot {found.group_snapshot_id} and goes with it.")
    using = [volume_table.c.snapshot_id == snapshot_id, volume_table.c.status == "creating"]
    move = SnapshotMoves.force_delete if force else SnapshotMoves.delete
    snapshot = store.move_snapshot(tx, snapshot_id, move, now, project_id=project_id, also={"reason": None})
    if count_volumes(tx, using):
        raise InUse("snapshot", f"a volume is just being made from snapshot {snapshot_id}; try again when it is done.")
    return snapshot, queue_work(tx, deps, caller, "delete_snapshot", snapshot, {"volume_id": snapshot.volume_id})


async def rollback_snapshot(deps: Deps, caller: Caller, snapshot_id: str, volume_id: str) -> Snapshot:
    """Accept rolling the source volume back to any of its snapshots (EVS `rollback`, spec 3.3).

    The volume keeps its size and its other snapshots. Raises NotFound, InvalidInput (another volume), WrongStatus
    (volume not detached, snapshot not available), InUse.
    """
    return await accept(deps, caller, Snapshot, _accept_rollback, deps, caller, snapshot_id, volume_id)


def _accept_rollback(
    tx: Tx, deps: Deps, caller: Caller, snapshot_id: str, volume_id: str
) -> tuple[Snapshot, Operation]:
    snapshot = store.find_snapshot(tx, snapshot_id, caller.scope)
    if snapshot.volume_id != volume_id:
        raise InvalidInput(
            "volume_id", f"snapshot {snapshot_id} was taken of volume {snapshot.volume_id}, not of {volume_id}."
        )
    if snapshot.owner == "user" and (snapshot.name or "").startswith(BACKUP_SNAPSHOT_PREFIX):
        # A constraint of the rollback page (spec 3.3). The name may have been given by a user, who can change it.
        raise InUse(
            "snapshot",
            f"snapshot {snapshot_id} has a name that begins with {BACKUP_SNAPSHOT_PREFIX}, which is reserved for "
            "backups; a volume cannot be rolled back to it. Rename it first.",
        )
    return begin_reverting(tx, deps, caller, snapshot, "rollback_volume")


async def reset_snapshot_status(deps: Deps, caller: Caller, snapshot_id: str, status: str) -> Snapshot:
    """Set a status by hand (administrators), also while work is under way: that work then ends without a change of
    the status. Raises InvalidInput, NotFound."""
    return await deps.db.write(store.move_snapshot, snapshot_id, reset(status, SNAPSHOT_STATUSES), deps.clock())


async def report_snapshot_status(
    deps: Deps, caller: Caller, snapshot_id: str, status: str, progress: str | None
) -> Snapshot:
    """Take over what somebody else says of a snapshot (`os-update_snapshot_status`): of one that no work of ours is
    about, which says for itself how it ends. Raises InvalidInput, NotFound, Conflict."""

    def report(tx: Tx) -> Snapshot:
        found = store.find_snapshot(tx, snapshot_id, caller.scope)
        if claimant(tx, "snapshot", snapshot_id) is not None:
            raise Conflict(f"Snapshot {snapshot_id} is {found.status}, and the work on it goes on.")
        if status not in SERVICE_UPDATES.get(found.status, ()):
            raise InvalidInput("status", f"a snapshot that is {found.status} cannot become {status}.")
        also = {"progress": progress} if progress is not None else {}
        return store.move_snapshot(tx, snapshot_id, reset(status, SNAPSHOT_STATUSES), deps.clock(), also=also)

    return await deps.db.write(report)
