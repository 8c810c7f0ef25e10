"""Restoring backups: into a volume that is there, or into one that is made for it."""

from openevs.domain.backup import Backup, BackupMoves
from openevs.domain.errors import InvalidInput
from openevs.domain.lifecycle import VolumeMoves
from openevs.domain.model import Caller, Operation, Volume
from openevs.domain.rules import SHOWN_METADATA, check_text
from openevs.service.deps import Deps, accept, queue_work
from openevs.service.placing import place
from openevs.service.types import type_for
from openevs.service.volumes import NewVolume, add_volume, check_detached, check_new_volume, check_size
from openevs.store import backups as store
from openevs.store import volumes
from openevs.store.database import Tx


async def restore_backup(deps: Deps, caller: Caller, backup_id: str, volume_id: str | None, name: str | None) -> Volume:
    """Accept the restoring of a backup; without a volume, into one that is made for it.
    Raises InvalidInput, NotFound, WrongStatus, InUse, QuotaExceeded, Conflict."""
    checked = check_text("name", name)
    return await accept(deps, caller, Volume, _accept_restore, deps, caller, backup_id, volume_id, checked)


def _accept_restore(
    tx: Tx, deps: Deps, caller: Caller, backup_id: str, volume_id: str | None, name: str | None
) -> tuple[Volume, Operation]:
    now = deps.clock()
    backup = store.move_backup(tx, backup_id, BackupMoves.restore, now, project_id=caller.scope)
    if volume_id is None:
        text = "auto-created_from_restore_from_backup"
        new = NewVolume(backup.size_gib, name or f"restore_backup_{backup_id}", text)
        volume = _new_volume(tx, deps, caller, backup, new, "restoring-backup")
    else:
        volume = volumes.move_volume(tx, volume_id, VolumeMoves.restore, now, project_id=caller.scope)
        check_detached(tx, volume)
        if volume.size_gib < backup.size_gib:
            raise InvalidInput(
                "volume_id", f"volume {volume.id} has {volume.size_gib} GiB, but the backup {backup.size_gib}."
            )
    return _queue_restore(tx, deps, caller, backup, volume, make=volume_id is None)


async def create_volume_from_backup(deps: Deps, caller: Caller, new: NewVolume, backup_id: str) -> Volume:
    """Accept a volume with a backup's bytes (microversion 3.47); it may be larger than the backup.
    Raises InvalidInput, NotFound, WrongStatus, QuotaExceeded."""
    checked = check_new_volume(deps, new)
    return await accept(deps, caller, Volume, _accept_volume, deps, caller, checked, backup_id)


def _accept_volume(tx: Tx, deps: Deps, caller: Caller, new: NewVolume, backup_id: str) -> tuple[Volume, Operation]:
    backup = store.move_backup(tx, backup_id, BackupMoves.restore, deps.clock(), project_id=caller.scope)
    if new.size_gib is not None and new.size_gib < backup.size_gib:
        raise InvalidInput("size", f"it is {new.size_gib} GiB, but the backup has {backup.size_gib}.", "EVS.1022")
    sized = new._replace(size_gib=new.size_gib or backup.size_gib)
    volume = _new_volume(tx, deps, caller, backup, sized, "creating")
    return _queue_restore(tx, deps, caller, backup, volume, make=True)


def _new_volume(tx: Tx, deps: Deps, caller: Caller, backup: Backup, new: NewVolume, status: str) -> Volume:
    volume_type = type_for(tx, deps, caller, new.volume_type)
    size_gib = new.size_gib or backup.size_gib
    check_size(deps, size_gib)
    backend, no_place = place(tx, deps, volume_type)
    if no_place is not None:
        raise InvalidInput("volume_type", no_place)
    passed_on = {key: value for key, value in backup.volume_metadata.items() if key not in SHOWN_METADATA}
    return add_volume(
        tx,
        deps,
        caller,
        new._replace(metadata={**passed_on, **new.metadata}),
        volume_type,
        size_gib=size_gib,
        status=status,
        backend=backend,
        bootable=backup.bootable,
    )


def _queue_restore(
    tx: Tx, deps: Deps, caller: Caller, backup: Backup, volume: Volume, *, make: bool
) -> tuple[Volume, Operation]:
    store.update_backup(tx, backup.id, None, deps.clock(), {"restore_volume_id": volume.id})
    work = {
        "backup_id": backup.id,
        "vault_id": backup.vault_id,
        "make": make,
        "name": volume.name or "",
        "size_gib": volume.size_gib,
        "begun_as": volume.status,
    }
    return volume, queue_work(tx, deps, caller, "restore_backup", volume, work, [("backup", backup.id)])
