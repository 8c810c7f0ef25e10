"""Backups made, restored, imported and deleted."""

from openevs.domain.ids import BackupId, new_uuid
from openevs.service import backups, restoring, volumes
from openevs.service.backups import NewBackup
from openevs.service.volumes import NewVolume
from tests.operations.scenarios.scenario import Act, Scenario, add_volume
from tests.operations.stage import Stage


async def add_backup(stage: Stage, name: str, *, incremental: bool = False) -> None:
    """Make a backup of the volume."""
    new = NewBackup(stage.things["volume"], name=name, incremental=incremental)
    stage.things[name] = (await backups.create_backup(stage.deps, stage.caller, new)).id
    await stage.settled()


async def backed_up_volume(stage: Stage) -> None:
    """A volume with a backup, written to since."""
    await add_volume(stage, "volume", "past")
    await add_backup(stage, "backup")
    await stage.write("volume", "present")


async def new_backup(stage: Stage) -> None:
    """Ask for a backup on top of the one there is."""
    new = NewBackup(stage.things["volume"], name="new", incremental=True)
    stage.things["new"] = (await backups.create_backup(stage.deps, stage.caller, new)).id


async def restored_text(stage: Stage, name: str) -> str:
    """Restore a backup into a new volume, and return what that holds."""
    volume = await restoring.restore_backup(stage.deps, stage.caller, stage.things[name], None, None)
    stage.things["restored"] = volume.id
    await stage.settled()
    return await stage.read("restored")


async def backup_made(stage: Stage) -> None:
    """The backup is there, its frozen state is the only one, and it restores what the volume held."""
    row = await stage.backup("new")
    assert row is not None
    assert (row.status, row.fail_reason) == ("available", None)
    assert (await stage.objects()).snapshots.keys() == {row.base_snapshot_id}
    volume = await stage.volume("volume")
    assert volume is not None
    assert volume.status == "available"
    assert await restored_text(stage, "new") == "present"


async def backup_not_made(stage: Stage) -> None:
    """The row says why; the vault has nothing of it; the volume is as it was; deleting it works."""
    row, volume = await stage.backup("new"), await stage.volume("volume")
    assert row is not None
    assert volume is not None
    assert (row.status, bool(row.fail_reason), volume.status) == ("error", True, "available")
    assert await stage.app.vault.inspect(row.id) is None
    await backups.delete_backup(stage.deps, stage.caller, row.id)
    await stage.settled()
    assert await stage.backup("new") is None
    assert await restored_text(stage, "backup") == "past"


async def delete_backup(stage: Stage) -> None:
    """Ask for the backup's deletion."""
    await backups.delete_backup(stage.deps, stage.caller, stage.things["backup"])


async def backup_deleted(stage: Stage) -> None:
    """The backup is gone from the vault, its frozen state from storage; the volume is not."""
    assert await stage.backup("backup") is None
    assert await stage.app.vault.list_backups() == []
    assert (await stage.objects()).snapshots == {}
    assert await stage.read("volume") == "present"


async def backup_not_deleted(stage: Stage) -> None:
    """The row says why, and an administrator's force deletes it."""
    row = await stage.backup("backup")
    assert row is not None
    assert (row.status, bool(row.fail_reason)) == ("error_deleting", True)
    await backups.delete_backup(stage.deps, stage.caller, row.id, force=True)
    await stage.settled()
    await backup_deleted(stage)


async def restore_backup(stage: Stage) -> None:
    """Ask for the volume to be what it was."""
    await restoring.restore_backup(stage.deps, stage.caller, stage.things["backup"], stage.things["volume"], None)


async def backup_restored(stage: Stage) -> None:
    """The volume is what it was."""
    row, volume = await stage.backup("backup"), await stage.volume("volume")
    assert row is not None
    assert volume is not None
    assert (row.status, volume.status, volume.reason) == ("available", "available", None)
    assert await stage.read("volume") == "past"


async def backup_not_restored(stage: Stage) -> None:
    """The volume says why; the backup can be restored again."""
    row, volume = await stage.backup("backup"), await stage.volume("volume")
    assert row is not None
    assert volume is not None
    assert (row.status, volume.status, bool(volume.reason)) == ("available", "error_restoring", True)
    await restore_backup(stage)
    await stage.settled()
    await backup_restored(stage)


async def new_volume_from_backup(stage: Stage) -> None:
    """Ask for a volume that holds what the backup does, and is larger."""
    new, backup_id = NewVolume(2, "new"), stage.things["backup"]
    stage.things["new"] = (await restoring.create_volume_from_backup(stage.deps, stage.caller, new, backup_id)).id


async def restore_into_new_volume(stage: Stage) -> None:
    """Ask for the backup to be restored, into no volume that is there."""
    made = await restoring.restore_backup(stage.deps, stage.caller, stage.things["backup"], None, "new")
    stage.things["new"] = made.id


def volume_made_of_backup(size_gib: int) -> Act:
    """Return the check that the new volume holds what the backup does, and says so."""

    async def check(stage: Stage) -> None:
        row, backup = await stage.volume("new"), await stage.backup("backup")
        assert row is not None
        assert backup is not None
        assert (row.status, row.size_gib, row.reason) == ("available", size_gib, None)
        assert row.metadata["src_backup_id"] == backup.id
        assert await stage.read("new") == "past"
        assert backup.status == "available"

    return check


def volume_not_made_of_backup(status: str) -> Act:
    """Return the check that the row says why, that deleting it works, and that the backup is what it was."""

    async def check(stage: Stage) -> None:
        row = await stage.volume("new")
        assert row is not None
        assert (row.status, bool(row.reason)) == (status, True)
        await volumes.delete_volume(stage.deps, stage.caller, row.id, cascade=False)
        await stage.settled()
        assert await stage.volume("new") is None
        assert row.id not in (await stage.objects()).volumes
        assert await restored_text(stage, "backup") == "past"

    return check


async def exported_backup(stage: Stage) -> None:
    """A backup whose row is to come again."""
    await backed_up_volume(stage)


async def import_backup(stage: Stage) -> None:
    """Ask for the same backup under another id."""
    row = await stage.backup("backup")
    assert row is not None
    twin = row._replace(id=BackupId(new_uuid()), status="creating", base_snapshot_id=None)
    stage.things["new"] = (await backups.import_backup(stage.deps, stage.caller, twin)).id


async def backup_imported(stage: Stage) -> None:
    """It restores the same."""
    row = await stage.backup("new")
    assert row is not None
    assert (row.status, row.fail_reason) == ("available", None)
    assert await restored_text(stage, "new") == "past"


async def backup_not_imported(stage: Stage) -> None:
    """The row says why; deleting it leaves what it is a twin of."""
    row = await stage.backup("new")
    assert row is not None
    assert (row.status, bool(row.fail_reason)) == ("error", True)
    await backups.delete_backup(stage.deps, stage.caller, row.id)
    await stage.settled()
    assert await restored_text(stage, "backup") == "past"


SCENARIOS = (
    Scenario(
        "create_backup", "incremental", backed_up_volume, new_backup, backup_made, backup_not_made, "undone",
        kept="volume",
    ),
    Scenario(
        "delete_backup", "only_one", backed_up_volume, delete_backup, backup_deleted, backup_not_deleted,
        "retried by force", kept="volume",
    ),
    Scenario(
        "restore_backup", "into_volume", backed_up_volume, restore_backup, backup_restored, backup_not_restored,
        "retried by force",  # not kept: its writes carry no token; they are refused while somebody has the volume
    ),
    Scenario(
        "restore_backup", "of_creation", backed_up_volume, new_volume_from_backup,
        volume_made_of_backup(2), volume_not_made_of_backup("error"), "retried by force",
    ),
    Scenario(
        "restore_backup", "into_new_volume", backed_up_volume, restore_into_new_volume,
        volume_made_of_backup(1), volume_not_made_of_backup("error_restoring"), "retried by force",
    ),
    Scenario(
        "import_backup", "twin", exported_backup, import_backup, backup_imported, backup_not_imported,
        "retried by force",
    ),
)  # fmt: skip
