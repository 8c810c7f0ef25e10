"""What can be asked of backups. Rules: those of Cinder's API; where the bytes go is the vault's business."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from openevs.domain.backup import (
    BACKUP_STATUSES,
    TRANSITIONAL_BACKUP_STATUSES,
    Backup,
    BackupMoves,
    backup_usage,
    newest_parent,
    own_snapshot_name,
)
from openevs.domain.errors import InUse, InvalidInput, NotFound
from openevs.domain.ids import BackupId, new_uuid
from openevs.domain.lifecycle import SnapshotMoves, VolumeMoves, reset
from openevs.domain.model import Caller, Operation, Snapshot, Volume
from openevs.domain.rules import check_metadata, check_text
from openevs.service.deps import Deps, accept, queue_work, settle, why_put_off
from openevs.service.parts import check_thawed
from openevs.service.placing import check_zone
from openevs.service.queries import BACKUP_FILTERS, ListQuery, read_page
from openevs.service.snapshots import snapshot_record
from openevs.store import backups as store
from openevs.store import snapshots, volumes
from openevs.store.database import Tx
from openevs.store.quotas import take_quota
from openevs.store.tables import backup as table


class NewBackup(NamedTuple):
    """A backup as it is asked for."""

    volume_id: str
    snapshot_id: str | None = None
    name: str | None = None
    description: str | None = None
    container: str | None = None
    availability_zone: str | None = None
    metadata: Mapping[str, object] = {}
    incremental: bool = False
    force: bool = False
    """Also of a volume that is in use."""


async def create_backup(deps: Deps, caller: Caller, new: NewBackup) -> Backup:
    """Accept a backup, the caller's whosever the volume is: it is `creating` until the vault has it. The volume is
    `backing-up` for the moment that freezing it takes, a snapshot for as long as it is read.

    Raises InvalidInput, NotFound, WrongStatus, InUse, QuotaExceeded, Conflict.
    """
    check_zone(deps, new.availability_zone)
    checked = new._replace(
        availability_zone=deps.settings.api.availability_zone,
        name=check_text("name", new.name),
        description=check_text("description", new.description),
        container=check_text("container", new.container),
        metadata=check_metadata(new.metadata),
    )
    return await accept(deps, caller, Backup, _accept_backup, deps, caller, checked)


def _accept_backup(tx: Tx, deps: Deps, caller: Caller, new: NewBackup) -> tuple[Backup, Operation]:
    now, backup_id = deps.clock(), BackupId(new_uuid())
    volume = volumes.find_volume(tx, new.volume_id, caller.scope)
    check_thawed(tx, deps, volume)
    if new.snapshot_id is None:
        snapshot = _own_snapshot(tx, caller, volume, backup_id, new.force, now)
    else:
        snapshot = _given_snapshot(tx, caller, volume, new.snapshot_id, now)
    mine = [each for each in store.backups_of(tx, volume.id) if each.project_id == caller.project_id]
    parent = _parent(new, mine, snapshot) if new.incremental else None
    backup = _insert(tx, deps, caller, new, volume, snapshot, parent, backup_id, now)
    own = new.snapshot_id is None
    work: dict[str, Any] = {
        "volume_id": volume.id,
        "name": new.name or "",
        "size_gib": backup.size_gib,
        "snapshot_id": snapshot.id,
        "taken_at": backup.data_timestamp.isoformat(),
        "own_snapshot": own,
        "parent_vault_id": parent.vault_id if parent else None,
        "parent_base": parent.base_snapshot_id if parent else None,
        # The newest frozen state of a volume is the base of what comes next: those of before have served. Another
        # project's backups of it are a row of their own, and go on from theirs.
        "old_bases": [each.own_base for each in mine if each.own_base is not None] if own else [],
    }
    claims = [_content(backup), ("snapshot", snapshot.id)]
    if own:
        # By which a sweep knows it for ours, should it be left over.
        work["passing_snapshot_id"] = snapshot.id
        claims.append(("volume", volume.id))
    return backup, queue_work(tx, deps, caller, "create_backup", backup, work, claims)


def _own_snapshot(tx: Tx, caller: Caller, volume: Volume, backup_id: str, force: bool, now: datetime) -> Snapshot:
    move = VolumeMoves.back_up_attached if force else VolumeMoves.back_up
    volumes.move_volume(tx, volume.id, move, now, project_id=caller.scope)
    name = own_snapshot_name(backup_id)
    made = snapshot_record(volume, caller, now, project_id=volume.project_id, name=name, owner="backup")
    return snapshots.insert_snapshot(tx, made)


def _given_snapshot(tx: Tx, caller: Caller, volume: Volume, snapshot_id: str, now: datetime) -> Snapshot:
    found = snapshots.find_snapshot(tx, snapshot_id, caller.scope)
    if found.volume_id != volume.id:
        raise InvalidInput("snapshot_id", f"snapshot {snapshot_id} was not taken of volume {volume.id}.")
    return snapshots.move_snapshot(tx, snapshot_id, SnapshotMoves.back_up, now, project_id=caller.scope)


def _parent(new: NewBackup, mine: Iterable[Backup], snapshot: Snapshot) -> Backup:
    parent = newest_parent(mine, snapshot.created_at if new.snapshot_id is not None else None)
    if parent is None:
        raise InvalidInput("incremental", f"volume {new.volume_id} has no backup that this one could be on top of.")
    return parent


def _insert(
    tx: Tx,
    deps: Deps,
    caller: Caller,
    new: NewBackup,
    volume: Volume,
    snapshot: Snapshot,
    parent: Backup | None,
    backup_id: BackupId,
    now: datetime,
) -> Backup:
    backup = Backup(
        id=backup_id,
        project_id=caller.project_id,
        user_id=caller.user_id,
        volume_id=volume.id,
        snapshot_id=snapshot.id if new.snapshot_id is not None else None,
        parent_id=parent.id if parent else None,
        name=new.name,
        description=new.description,
        size_gib=snapshot.size_gib,
        status="creating",
        container=new.container,
        availability_zone=new.availability_zone,
        metadata={key: str(value) for key, value in new.metadata.items()},
        volume_metadata=volume.metadata,
        bootable=volume.bootable,
        fail_reason=None,
        data_timestamp=snapshot.created_at,
        object_count=0,
        bytes_read=0,
        bytes_stored=0,
        vault_id=backup_id,
        record=None,
        base_snapshot_id=None,
        restore_volume_id=None,
        created_at=now,
        updated_at=None,
    )
    take_quota(tx, backup.project_id, backup_usage(backup.size_gib), deps.quota_defaults)
    return store.insert_backup(tx, backup)


def _content(backup: Backup) -> tuple[str, str]:
    """Return the claim of what makes, finds or removes a backup's content. Several rows may be the same backup in the
    vault: only while they take turns can one of them tell whether it is the last."""
    return "vault_backup", backup.vault_id


class Shown(NamedTuple):
    """A backup as it is shown."""

    backup: Backup
    has_dependents: bool


async def get_backup(deps: Deps, caller: Caller, backup_id: str) -> Shown:
    """Return a backup. Raises NotFound."""

    def find(tx: Tx) -> Shown:
        found = store.find_backup(tx, backup_id, caller.scope)
        return Shown(found, bool(store.parents_among(tx, [found.id])))

    await settle(deps, caller, backup_id)
    shown = await deps.db.read(find)
    if shown.backup.status not in TRANSITIONAL_BACKUP_STATUSES:
        return shown
    return shown._replace(backup=shown.backup._replace(fail_reason=why_put_off(deps, shown.backup)))


async def list_backups(deps: Deps, caller: Caller, query: ListQuery) -> tuple[list[Shown], int | None]:
    """Return one page of backups and, if asked for, how many there are in all. Raises InvalidInput, NotFound."""

    def list_backups_page(tx: Tx) -> tuple[list[Shown], int | None]:
        rows, count = read_page(tx, table, Backup._make, BACKUP_FILTERS, caller, query)
        parents = store.parents_among(tx, [row.id for row in rows])
        return [Shown(row, row.id in parents) for row in rows], count

    return await deps.db.read(list_backups_page)


async def update_backup(deps: Deps, caller: Caller, backup_id: str, changes: Mapping[str, Any]) -> Backup:
    """Change name or description, or replace the metadata (keys of `changes`). Raises InvalidInput, NotFound."""
    values: dict[str, Any] = {}
    for field, value in changes.items():
        values[field] = check_metadata(value) if field == "metadata" else check_text(field, value)

    def update(tx: Tx) -> Backup:
        return store.update_backup(tx, backup_id, caller.scope, deps.clock(), values)

    return await deps.db.write(update)


async def reset_backup_status(deps: Deps, caller: Caller, backup_id: str, status: str) -> None:
    """Set a status by hand (administrators). Raises InvalidInput, NotFound."""
    move = reset(status, BACKUP_STATUSES, never="deleting")
    await deps.db.write(store.move_backup, backup_id, move, deps.clock())


async def delete_backup(deps: Deps, caller: Caller, backup_id: str, *, force: bool = False) -> None:
    """Accept the deletion of a backup that no other was made on top of; `force`: in any status (administrators).
    Raises NotFound, WrongStatus, InUse, Conflict."""
    await accept(deps, caller, Backup, _accept_deletion, deps, caller, backup_id, force)


def _accept_deletion(tx: Tx, deps: Deps, caller: Caller, backup_id: str, force: bool) -> tuple[Backup, Operation]:
    now = deps.clock()
    move = BackupMoves.force_delete if force else BackupMoves.delete
    backup = store.move_backup(tx, backup_id, move, now, project_id=caller.scope)
    if store.parents_among(tx, [backup.id]):
        raise InUse("backup", f"backup {backup_id} has incremental backups on top of it; delete those first.")
    work = {
        "vault_id": None if store.sharing_vault_id(tx, backup) else backup.vault_id,
        "base": backup.own_base,
    }
    return backup, queue_work(tx, deps, caller, "delete_backup", backup, work, [_content(backup)])


async def find_exported(deps: Deps, caller: Caller, backup_id: str) -> Backup:
    """Return a backup whose record can be taken elsewhere (administrators). Raises NotFound, InvalidInput."""
    found = (await get_backup(deps, caller, backup_id)).backup
    if found.status != "available" or found.record is None:
        raise InvalidInput(
            "backup_id", f"backup {backup_id} is {found.status}; only one that is available has a record."
        )
    return found


async def import_backup(deps: Deps, caller: Caller, imported: Backup) -> Backup:
    """Accept a backup that the vault is said to have (administrators): `creating` until it is found there.
    Raises InvalidInput (a backup of that id is here), QuotaExceeded."""

    def accept_import(tx: Tx) -> tuple[Backup, Operation]:
        try:
            store.find_backup(tx, imported.id)
        except NotFound:
            pass
        else:
            raise InvalidInput("backup_url", f"a backup {imported.id} is here already.")
        take_quota(tx, imported.project_id, backup_usage(imported.size_gib), deps.quota_defaults)
        store.insert_backup(tx, imported)
        work = {"record": imported.record, "vault_id": imported.vault_id, "size_gib": imported.size_gib}
        return imported, queue_work(tx, deps, caller, "import_backup", imported, work, [_content(imported)])

    return await accept(deps, caller, Backup, accept_import)
