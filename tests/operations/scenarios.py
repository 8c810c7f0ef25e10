"""How each kind of operation is set up and started, and what must hold when it has ended.

`SCENARIOS` is the table from which every test of operations is made. A kind of the catalog that is not in it is a
failed test, not a kind without tests.
"""

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from openevs.domain.errors import NotFound, Unavailable
from openevs.domain.ids import GIB, BackupId, ProjectId, SnapshotId, VolumeId, new_uuid
from openevs.domain.model import Snapshot
from openevs.engine.port import Limits
from openevs.service import (
    attachments,
    backups,
    copying,
    group_snapshots,
    group_types,
    groups,
    managing,
    qos,
    restoring,
    retyping,
    reverting,
    snapshots,
    transfers,
    types,
    volumes,
)
from openevs.service.attachments import NewAttachment
from openevs.service.backups import NewBackup
from openevs.service.connections import read_connector
from openevs.service.copying import NewCopy
from openevs.service.group_snapshots import NewGroupSnapshot
from openevs.service.groups import NewGroup
from openevs.service.managing import NewManaged, NewManagedSnapshot
from openevs.service.snapshots import NewSnapshot
from openevs.service.volumes import NewVolume
from openevs.store.attachments import attachments_of_one
from openevs.store.database import Tx
from openevs.store.group_snapshots import find_group_snapshot, snapshots_of_group_snapshot
from openevs.store.groups import count_groups
from tests.operations.stage import Stage

Act = Callable[[Stage], Awaitable[None]]


@dataclass(frozen=True)
class Scenario:
    """One way in which a kind of operation is used."""

    kind: str
    name: str
    prepare: Act
    start: Act
    succeeded: Act
    failed: Act
    """What must hold after the operation has failed for good."""
    after_failure: Literal["undone", "retried by force", "forward only"]
    kept: str | None = None
    """Name of a volume that clients may write to when the operation has succeeded."""

    def __str__(self) -> str:
        return f"{self.kind}-{self.name}"


async def nothing(stage: Stage) -> None:
    """Set up nothing."""


async def add_volume(stage: Stage, name: str, text: str) -> None:
    """Make a volume with some bytes."""
    made = await volumes.create_volume(stage.deps, stage.caller, NewVolume(1, name))
    stage.things[name] = made.id
    await stage.settled()
    await stage.write(name, text)


async def add_snapshot(stage: Stage, name: str, of: str) -> None:
    """Make a snapshot."""
    made = await snapshots.create_snapshot(stage.deps, stage.caller, NewSnapshot(stage.things[of], name))
    stage.things[name] = made.id
    await stage.settled()


async def one_volume(stage: Stage) -> None:
    """A volume."""
    await add_volume(stage, "volume", "present")


async def volume_with_past(stage: Stage) -> None:
    """A volume with a snapshot, written to since."""
    await add_volume(stage, "volume", "past")
    await add_snapshot(stage, "snapshot", "volume")
    await stage.write("volume", "present")


# Making ---------------------------------------------------------------------------------------------------------


async def new_volume(stage: Stage, **source: str) -> None:
    """Ask for a volume."""
    made = await volumes.create_volume(stage.deps, stage.caller, NewVolume(2, "new", **source))  # type: ignore[arg-type]
    stage.things["new"] = made.id


async def new_volume_from_snapshot(stage: Stage) -> None:
    """Ask for a volume from a snapshot."""
    await new_volume(stage, snapshot_id=stage.things["snapshot"])


async def new_volume_from_volume(stage: Stage) -> None:
    """Ask for a volume from a volume."""
    await new_volume(stage, source_volid=stage.things["volume"])


def volume_made(text: str) -> Act:
    """Return the check that the new volume is there with these bytes."""

    async def check(stage: Stage) -> None:
        row = await stage.volume("new")
        assert row is not None
        assert (row.status, row.size_gib, row.reason) == ("available", 2, None)
        assert await stage.read("new") == text

    return check


async def volume_not_made(stage: Stage) -> None:
    """The row says why; nothing is on storage; deleting it works."""
    row = await stage.volume("new")
    assert row is not None
    assert (row.status, bool(row.reason)) == ("error", True)
    assert row.id not in (await stage.objects()).volumes
    await volumes.delete_volume(stage.deps, stage.caller, row.id, cascade=False)
    await stage.settled()
    assert await stage.volume("new") is None


async def new_snapshot(stage: Stage) -> None:
    """Ask for a snapshot."""
    made = await snapshots.create_snapshot(stage.deps, stage.caller, NewSnapshot(stage.things["volume"], "new"))
    stage.things["new"] = made.id


async def snapshot_made(stage: Stage) -> None:
    """The new snapshot has the bytes of the moment."""
    row = await stage.snapshot("new")
    assert row is not None
    assert (row.status, row.progress, row.reason) == ("available", "100%", None)
    assert row.taken_at == (await stage.objects()).snapshots[row.id].taken_at
    assert await stage.read("new") == "present"


async def snapshot_not_made(stage: Stage) -> None:
    """The row says why; nothing is on storage; deleting it works."""
    row = await stage.snapshot("new")
    assert row is not None
    assert (row.status, bool(row.reason)) == ("error", True)
    assert row.id not in (await stage.objects()).snapshots
    await snapshots.delete_snapshot(stage.deps, stage.caller, row.id)
    await stage.settled()
    assert await stage.snapshot("new") is None


# Deleting -------------------------------------------------------------------------------------------------------


async def delete_snapshot(stage: Stage) -> None:
    """Ask for the deletion of the snapshot."""
    await snapshots.delete_snapshot(stage.deps, stage.caller, stage.things["snapshot"])


async def snapshot_deleted(stage: Stage) -> None:
    """The snapshot is gone, the volume is not."""
    assert await stage.snapshot("snapshot") is None
    assert stage.things["snapshot"] not in (await stage.objects()).snapshots
    assert await stage.read("volume") == "present"


async def snapshot_not_deleted(stage: Stage) -> None:
    """The row says why, and an administrator's force deletes it."""
    row = await stage.snapshot("snapshot")
    assert row is not None
    assert (row.status, bool(row.reason)) == ("error_deleting", True)
    await snapshots.force_delete_snapshot(stage.deps, stage.caller, row.id)
    await stage.settled()
    await snapshot_deleted(stage)


async def delete_volume(stage: Stage) -> None:
    """Ask for the deletion of the volume with its snapshots."""
    await volumes.delete_volume(stage.deps, stage.caller, stage.things["volume"], cascade=True)


async def volume_deleted(stage: Stage) -> None:
    """Volume and snapshots are gone."""
    assert await stage.volume("volume") is None
    objects = await stage.objects()
    assert (objects.volumes, objects.snapshots) == ({}, {})


async def volume_not_deleted(stage: Stage) -> None:
    """The rows say why, and an administrator's force deletes them."""
    row, past = await stage.volume("volume"), await stage.snapshot("snapshot")
    assert row is not None
    assert past is not None
    assert (row.status, past.status) == ("error_deleting", "error_deleting")
    assert row.reason
    assert past.reason
    await volumes.delete_volume(stage.deps, stage.caller, row.id, cascade=True, force=True)
    await stage.settled()
    await volume_deleted(stage)


# Changing -------------------------------------------------------------------------------------------------------


async def extend_volume(stage: Stage) -> None:
    """Ask for a larger volume."""
    await volumes.extend_volume(stage.deps, stage.caller, stage.things["volume"], 3, attached=False)


async def volume_extended(stage: Stage) -> None:
    """The volume is larger."""
    row = await stage.volume("volume")
    assert row is not None
    assert (row.status, row.size_gib, row.reason) == ("available", 3, None)


async def volume_not_extended(stage: Stage) -> None:
    """The volume is as it was, and says why."""
    row = await stage.volume("volume")
    assert row is not None
    assert (row.status, row.size_gib, bool(row.reason)) == ("error_extending", 1, True)
    assert await stage.read("volume") == "present"


async def rollback_volume(stage: Stage) -> None:
    """Ask for EVS's roll-back."""
    await snapshots.rollback_snapshot(stage.deps, stage.caller, stage.things["snapshot"], stage.things["volume"])


async def revert_volume(stage: Stage) -> None:
    """Ask for Cinder's revert."""
    await reverting.revert_volume(stage.deps, stage.caller, stage.things["volume"], stage.things["snapshot"])


async def volume_reverted(stage: Stage) -> None:
    """The volume is available, and so is the snapshot."""
    row, past = await stage.volume("volume"), await stage.snapshot("snapshot")
    assert row is not None
    assert past is not None
    assert (row.status, row.reason, past.status) == ("available", None, "available")


def volume_not_reverted(status: str) -> Act:
    """Return the check that the volume has its bytes of before, and says why."""

    async def check(stage: Stage) -> None:
        row, past = await stage.volume("volume"), await stage.snapshot("snapshot")
        assert row is not None
        assert past is not None
        assert (row.status, bool(row.reason), past.status) == (status, True, "available")

    return check


async def typed_volume(stage: Stage) -> None:
    """An attached volume of a type that has QoS specs, and another such type."""
    caller = stage.caller
    for name, most in (("slow", "10"), ("fast", "1000")):
        made = await types.create_type(stage.deps, stage.caller, name, None, is_public=True, specs={})
        specs = await qos.create_qos(stage.deps, stage.caller, name, "front-end", {"total_iops_sec": most})
        await qos.associate(stage.deps, caller, specs.id, made.id)
        stage.things |= {f"type {name}": made.id, f"specs {name}": specs.id}
    volume = await volumes.create_volume(stage.deps, caller, NewVolume(1, "volume", volume_type="slow"))
    stage.things["volume"] = volume.id
    await stage.settled()
    await connect_volume(stage)


async def retype_volume(stage: Stage) -> None:
    """Ask for another type."""
    await retyping.retype_volume(stage.deps, stage.caller, stage.things["volume"], "fast")


def volume_of_type(name: str, most: int, *, failed: bool = False) -> Act:
    """Return the check that the volume is of a type, with its limit."""

    async def check(stage: Stage) -> None:
        row = await stage.volume("volume")
        assert row is not None
        assert (row.status, row.volume_type, bool(row.reason)) == ("in-use", name, failed)
        assert row.type_id == stage.things[f"type {name}"]
        assert stage.storage.exports[row.id].pace.limits == Limits(total_requests=most)

    return check


async def change_specs(stage: Stage) -> None:
    """Ask for another limit."""
    await qos.set_keys(stage.deps, stage.caller, stage.things["specs slow"], {"total_iops_sec": "20"})


async def specs_without_effect(stage: Stage) -> None:
    """The specs say what was asked for; the volume has it if the call was carried out before it failed."""
    row = await stage.volume("volume")
    assert row is not None
    assert (row.status, row.volume_type) == ("in-use", "slow")
    assert stage.storage.exports[row.id].pace.limits.total_requests in (10, 20)


# Handing over ---------------------------------------------------------------------------------------------------


async def offered_volume(stage: Stage) -> None:
    """A volume with a snapshot, offered to whoever has the key."""
    await volume_with_past(stage)
    offer = await transfers.create_transfer(stage.deps, stage.caller, stage.things["volume"], None, no_snapshots=False)
    stage.things["transfer"], stage.things["key"] = offer[0].id, str(offer[1])


async def accept_transfer(stage: Stage) -> None:
    """Take it, as another project."""
    taker = stage.caller._replace(project_id=ProjectId("q"))
    await transfers.accept_transfer(stage.deps, taker, stage.things["transfer"], stage.things["key"])


async def volume_handed_over(stage: Stage) -> None:
    """Rows and storage say whose it is."""
    await rows_handed_over(stage)
    objects = await stage.objects()
    labels = [objects.volumes[VolumeId(stage.things["volume"])].labels]
    labels.append(objects.snapshots[SnapshotId(stage.things["snapshot"])].labels)
    assert labels == [{"project_id": "q", "name": "volume"}, {"project_id": "q", "name": "snapshot"}]


async def rows_handed_over(stage: Stage) -> None:
    """The rows say whose it is."""
    volume, snapshot = await stage.volume("volume"), await stage.snapshot("snapshot")
    assert volume is not None
    assert snapshot is not None
    assert (volume.status, volume.project_id, snapshot.project_id) == ("available", "q", "q")


# Managing -------------------------------------------------------------------------------------------------------


async def unmanage_volume(stage: Stage) -> None:
    """Ask to let go of the volume."""
    await managing.unmanage_volume(stage.deps, stage.caller, stage.things["volume"])


async def volume_unmanaged(stage: Stage) -> None:
    """The row is gone, the bytes are not."""
    assert await stage.volume("volume") is None
    assert stage.things["volume"] not in (await stage.objects()).volumes
    assert stage.storage.memory.released.keys() == {f"volume-{stage.things['volume']}"}


async def volume_not_unmanaged(stage: Stage) -> None:
    """The row says why, and letting go may be asked for again."""
    row = await stage.volume("volume")
    assert row is not None
    assert (row.status, bool(row.reason)) == ("error_managing", True)
    await unmanage_volume(stage)
    await stage.settled()
    await volume_unmanaged(stage)


async def unmanaged_volume(stage: Stage) -> None:
    """A volume that was let go."""
    await one_volume(stage)
    await unmanage_volume(stage)
    await stage.settled()


def stray(kind: str, resource_id: str, volume_id: str | None = None) -> dict[str, object]:
    """Return what a look at storage tells of what was let go."""
    name = f"{kind}-{resource_id}"
    return {"name": name, "kind": kind, "size_bytes": GIB, "volume_id": volume_id, "unsafe": None}


async def manage_volume(stage: Stage) -> None:
    """Ask to manage it again, once it was found."""
    found = stray("volume", stage.things["volume"])
    made = await managing.take_over(stage.deps, stage.caller, NewManaged(None, None, "new"), found, "layers")
    stage.things["new"] = made.id


async def volume_managed(stage: Stage) -> None:
    """The bytes are those of before, under another id."""
    row = await stage.volume("new")
    assert row is not None
    assert (row.status, row.size_gib, row.reason) == ("available", 1, None)
    assert await stage.read("new") == "present"
    assert stage.storage.memory.released == {}


async def volume_not_managed(stage: Stage) -> None:
    """The row says why, and the bytes are where they were; deleting the row does nothing to them."""
    row = await stage.volume("new")
    assert row is not None
    assert (row.status, bool(row.reason)) == ("error_managing", True)
    await volumes.delete_volume(stage.deps, stage.caller, row.id, cascade=False)
    await stage.settled()
    assert await stage.volume("new") is None
    await volume_unmanaged(stage)


async def unmanage_snapshot(stage: Stage) -> None:
    """Ask to let go of the snapshot."""
    await managing.unmanage_snapshot(stage.deps, stage.caller, stage.things["snapshot"])


async def snapshot_unmanaged(stage: Stage) -> None:
    """The row is gone, the bytes are not."""
    assert await stage.snapshot("snapshot") is None
    assert stage.things["snapshot"] not in (await stage.objects()).snapshots
    assert stage.storage.memory.released_snapshots.keys() == {f"snapshot-{stage.things['snapshot']}"}


async def snapshot_not_unmanaged(stage: Stage) -> None:
    """The row says why, and letting go may be asked for again."""
    row = await stage.snapshot("snapshot")
    assert row is not None
    assert (row.status, bool(row.reason)) == ("error", True)
    await unmanage_snapshot(stage)
    await stage.settled()
    await snapshot_unmanaged(stage)


async def unmanaged_snapshot(stage: Stage) -> None:
    """A snapshot that was let go, of a volume that was written to since it was taken."""
    await volume_with_past(stage)
    await unmanage_snapshot(stage)
    await stage.settled()


async def manage_snapshot(stage: Stage) -> None:
    """Ask to manage it again, once it was found."""
    found = stray("snapshot", stage.things["snapshot"], stage.things["volume"])
    new = NewManagedSnapshot(None, stage.things["volume"], "new")
    stage.things["new"] = (await managing.take_over_snapshot(stage.deps, stage.caller, new, found)).id


async def snapshot_managed(stage: Stage) -> None:
    """Bytes and moment are those of before, under another id."""
    row = await stage.snapshot("new")
    assert row is not None
    assert (row.status, row.progress, row.reason) == ("available", "100%", None)
    assert row.taken_at == (await stage.objects()).snapshots[row.id].taken_at
    assert await stage.read("new") == "past"


async def snapshot_not_managed(stage: Stage) -> None:
    """The row says why, and the bytes are where they were."""
    row = await stage.snapshot("new")
    assert row is not None
    assert (row.status, bool(row.reason)) == ("error", True)
    await snapshots.delete_snapshot(stage.deps, stage.caller, row.id)
    await stage.settled()
    await snapshot_unmanaged(stage)


async def look_for_strays(stage: Stage) -> None:
    """Ask what can be managed."""
    with contextlib.suppress(Unavailable):
        await managing.list_manageable(stage.deps, stage.caller, "volume", "openevs@layers#layers")


async def strays_found(stage: Stage) -> None:
    """The operation has the answer."""
    (stray,) = (await stage.last_operation()).facts["strays"]
    assert (stray["name"], stray["kind"]) == (f"volume-{stage.things['volume']}", "volume")


# Backups --------------------------------------------------------------------------------------------------------


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


async def backed_up_group(stage: Stage) -> None:
    """A group of two, of one of which there is a backup."""
    await group_of_two(stage)
    made = await backups.create_backup(stage.deps, stage.caller, NewBackup(stage.things["first"]))
    stage.things["backup"] = made.id
    await stage.settled()


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


# Connecting -----------------------------------------------------------------------------------------------------


async def connect_volume(stage: Stage) -> None:
    """Ask for an attachment with a connection."""
    wish = read_connector({"host": "client"})
    new = NewAttachment(stage.things["volume"], None, None, wish, complete=True)
    with contextlib.suppress(Unavailable):  # raised when the operation has failed, which is for the test to see
        stage.things["attachment"] = (await attachments.create_attachment(stage.deps, stage.caller, new)).id


async def attached_volume(stage: Stage) -> None:
    """A volume with an attachment that is connected."""
    await add_volume(stage, "volume", "present")
    await connect_volume(stage)


async def volume_connected(stage: Stage) -> None:
    """The volume is in use, and the attachment says where it is served."""
    row = await stage.volume("volume")
    assert row is not None
    (attachment,) = stage.deps.db.read_now(attachments_of_one, row.id)
    assert (row.status, attachment.status) == ("in-use", "attached")
    served = stage.storage.exports[row.id].facts
    assert attachment.connection_info is not None
    assert attachment.connection_info["data"]["socket_path"] == served.socket_path


async def volume_not_connected(stage: Stage) -> None:
    """All is as before the request."""
    row = await stage.volume("volume")
    assert row is not None
    assert row.status == "available"
    assert stage.deps.db.read_now(attachments_of_one, row.id) == []
    assert row.id not in stage.storage.exports


async def disconnect_volume(stage: Stage) -> None:
    """Ask for the end of the attachment."""
    with contextlib.suppress(Unavailable):
        await attachments.delete_attachment(stage.deps, stage.caller, stage.things["attachment"])


async def volume_not_disconnected(stage: Stage) -> None:
    """The volume says why, and asking again works."""
    row = await stage.volume("volume")
    assert row is not None
    assert (row.status, bool(row.reason)) == ("error_detaching", True)
    await attachments.delete_attachment(stage.deps, stage.caller, stage.things["attachment"])
    await volume_not_connected(stage)


async def shared_volume(stage: Stage) -> None:
    """A volume that several may attach, and one has."""
    made = await volumes.create_volume(stage.deps, stage.caller, NewVolume(1, "volume", multiattach=True))
    stage.things["volume"] = made.id
    await stage.settled()
    await stage.write("volume", "present")
    await connect_volume(stage)
    stage.things["first"] = stage.things["attachment"]


async def twice_attached_volume(stage: Stage) -> None:
    """A volume that two have attached."""
    await shared_volume(stage)
    await connect_another(stage)


async def connect_another(stage: Stage) -> None:
    """Ask for one more attachment with a connection."""
    new = NewAttachment(stage.things["volume"], None, None, read_connector({"host": "other"}), complete=True)
    with contextlib.suppress(Unavailable):
        stage.things["attachment"] = (await attachments.create_attachment(stage.deps, stage.caller, new)).id


async def both_connected(stage: Stage) -> None:
    """Both are attached, and the second one says where the volume is served."""
    row = await stage.volume("volume")
    assert row is not None
    first, second = stage.deps.db.read_now(attachments_of_one, row.id)
    assert (row.status, first.status, second.status) == ("in-use", "attached", "attached")
    assert second.connection_info is not None
    assert second.connection_info["data"]["socket_path"] == stage.storage.exports[row.id].facts.socket_path


async def first_stays_connected(stage: Stage) -> None:
    """The first attachment is what it was, and the only one."""
    row = await stage.volume("volume")
    assert row is not None
    (only,) = stage.deps.db.read_now(attachments_of_one, row.id)
    assert (row.status, only.id, only.status) == ("in-use", stage.things["first"], "attached")
    assert row.id in stage.storage.exports


async def one_not_disconnected(stage: Stage) -> None:
    """The volume says why, is still served to both, and asking again works."""
    row = await stage.volume("volume")
    assert row is not None
    assert (row.status, bool(row.reason)) == ("error_detaching", True)
    assert row.id in stage.storage.exports
    await attachments.delete_attachment(stage.deps, stage.caller, stage.things["attachment"])
    await first_stays_connected(stage)


# Groups ---------------------------------------------------------------------------------------------------------


async def empty_group(stage: Stage) -> None:
    """A group of a type that asks for one instant."""
    specs = {"consistent_group_snapshot_enabled": "<is> True"}
    kind = await group_types.create_group_type(stage.deps, stage.caller, "kind", None, specs, is_public=True)
    new = NewGroup(kind.id, [stage.deps.volume_type], "group")
    stage.things["group"] = (await groups.create_group(stage.deps, stage.caller, new)).id


async def group_of_two(stage: Stage) -> None:
    """A group with two volumes."""
    await empty_group(stage)
    for name in ("first", "second"):
        made = await volumes.create_volume(stage.deps, stage.caller, NewVolume(1, name, group_id=stage.things["group"]))
        stage.things[name] = made.id
        await stage.settled()
        await stage.write(name, f"past of {name}")


async def group_with_past(stage: Stage) -> None:
    """A group of two with a group snapshot, written to since."""
    await group_of_two(stage)
    await new_group_snapshot(stage)
    stage.things["taken"] = stage.things.pop("new")
    await stage.settled()
    for name in ("first", "second"):
        await stage.write(name, "present")


async def new_group_snapshot(stage: Stage) -> None:
    """Ask for a snapshot of the group."""
    new = NewGroupSnapshot(stage.things["group"], "snapshot")
    made = await group_snapshots.create_group_snapshot(stage.deps, stage.caller, new)
    stage.things["new"] = made.id


def _taken(stage: Stage) -> str:
    return stage.things.get("taken") or stage.things["new"]


async def _members(stage: Stage) -> tuple[str, list[Snapshot]]:
    """Return the status of the group snapshot and its snapshots."""
    taken = _taken(stage)

    def find(tx: Tx) -> tuple[str, list[Snapshot]]:
        try:
            found = find_group_snapshot(tx, taken)
        except NotFound:
            return "gone", snapshots_of_group_snapshot(tx, taken)
        return found.status, snapshots_of_group_snapshot(tx, found.id)

    return await stage.deps.db.read(find)


async def group_snapshot_made(stage: Stage) -> None:
    """There is one instant, and each snapshot has the bytes of its volume."""
    status, rows = await _members(stage)
    assert (status, [row.status for row in rows]) == ("available", ["available"] * 2)
    assert len({row.taken_at for row in rows}) == 1
    assert {row.taken_at for row in rows} == {each.taken_at for each in (await stage.objects()).snapshots.values()}
    for row in rows:
        stage.things["member"] = row.id
        name = next(name for name in ("first", "second") if stage.things[name] == row.volume_id)
        assert await stage.read("member") == f"past of {name}"


async def group_snapshot_not_made(stage: Stage) -> None:
    """The rows say why; nothing is on storage; deleting it works."""
    status, rows = await _members(stage)
    assert (status, {row.status for row in rows}) == ("error", {"error"})
    assert all(row.reason for row in rows)
    assert (await stage.objects()).snapshots == {}
    await delete_group_snapshot(stage)
    await stage.settled()
    assert await _members(stage) == ("gone", [])


async def delete_group_snapshot(stage: Stage) -> None:
    """Ask for the deletion of the group snapshot."""
    await group_snapshots.delete_group_snapshot(stage.deps, stage.caller, _taken(stage))


async def group_snapshot_deleted(stage: Stage) -> None:
    """It is gone, the volumes are not."""
    assert await _members(stage) == ("gone", [])
    assert (await stage.objects()).snapshots == {}
    assert [await stage.read(name) for name in ("first", "second")] == ["present"] * 2


async def group_snapshot_not_deleted(stage: Stage) -> None:
    """The rows say why; once an administrator has reset the status it is deleted."""
    status, rows = await _members(stage)
    assert (status, {row.status for row in rows}) == ("error_deleting", {"error_deleting"})
    await group_snapshots.reset_group_snapshot_status(stage.deps, stage.caller, _taken(stage), "error")
    await delete_group_snapshot(stage)
    await stage.settled()
    await group_snapshot_deleted(stage)


async def delete_group(stage: Stage) -> None:
    """Ask for the deletion of the group with its volumes."""
    await groups.delete_group(stage.deps, stage.caller, stage.things["group"], with_volumes=True)


async def group_deleted(stage: Stage) -> None:
    """Group and volumes are gone."""
    assert [await stage.volume(name) for name in ("first", "second")] == [None, None]
    assert (await stage.objects()).volumes == {}
    assert await stage.deps.db.read(lambda tx: count_groups(tx, [])) == 0


async def group_not_deleted(stage: Stage) -> None:
    """Group and volumes say why, and may be deleted again."""
    group, _ = await groups.get_group(stage.deps, stage.caller, stage.things["group"])
    assert (group.status, bool(group.reason)) == ("error_deleting", True)
    await delete_group(stage)
    await stage.settled()
    await group_deleted(stage)


async def group_from_group(stage: Stage) -> None:
    """Ask for a group like the group."""
    new = NewCopy(source_group_id=stage.things["group"])
    stage.things["new"] = (await copying.copy_group(stage.deps, stage.caller, new)).id


async def group_from_snapshot(stage: Stage) -> None:
    """Ask for a group from the group snapshot."""
    new = NewCopy(group_snapshot_id=stage.things["taken"])
    stage.things["new"] = (await copying.copy_group(stage.deps, stage.caller, new)).id


async def group_copied(stage: Stage) -> None:
    """The copies are there with the bytes of the past, and nothing was left over from making them."""
    group, volume_ids = await groups.get_group(stage.deps, stage.caller, stage.things["new"])
    assert (group.status, group.reason, len(volume_ids)) == ("available", None, 2)
    found = set()
    for volume_id in volume_ids:
        stage.things["member"] = volume_id
        row = await stage.volume("member")
        assert row is not None
        assert row.status == "available"
        found.add(await stage.read("member"))
    assert found == {"past of first", "past of second"}


async def group_not_copied(stage: Stage) -> None:
    """Group and volumes say why; nothing is on storage; deleting the group works."""
    group, volume_ids = await groups.get_group(stage.deps, stage.caller, stage.things["new"])
    assert (group.status, bool(group.reason), len(volume_ids)) == ("error", True, 2)
    assert not set(volume_ids) & set((await stage.objects()).volumes)
    await groups.delete_group(stage.deps, stage.caller, group.id, with_volumes=True)
    await stage.settled()
    assert await stage.deps.db.read(lambda tx: count_groups(tx, [])) == 1


SCENARIOS = (
    Scenario(
        "connect_volume", "attach", one_volume, connect_volume, volume_connected, volume_not_connected, "undone",
        kept="volume",
    ),
    Scenario(
        "disconnect_volume", "detach", attached_volume, disconnect_volume,
        volume_not_connected, volume_not_disconnected, "forward only", kept="volume",
    ),
    Scenario(
        "connect_volume", "attach_another", shared_volume, connect_another, both_connected, first_stays_connected,
        "undone", kept="volume",
    ),
    Scenario(
        "disconnect_volume", "detach_one_of_two", twice_attached_volume, disconnect_volume,
        first_stays_connected, one_not_disconnected, "forward only", kept="volume",
    ),
    Scenario(
        "create_volume", "empty", nothing, new_volume, volume_made(""), volume_not_made, "undone", kept="new"
    ),
    Scenario(
        "create_volume", "from_snapshot", volume_with_past, new_volume_from_snapshot,
        volume_made("past"), volume_not_made, "undone", kept="new",
    ),
    Scenario(
        "create_volume", "from_volume", one_volume, new_volume_from_volume,
        volume_made("present"), volume_not_made, "undone", kept="new",
    ),
    Scenario(
        "create_snapshot", "of_volume", one_volume, new_snapshot, snapshot_made, snapshot_not_made, "undone",
        kept="volume",
    ),
    Scenario(
        "delete_snapshot", "only_one", volume_with_past, delete_snapshot,
        snapshot_deleted, snapshot_not_deleted, "retried by force", kept="volume",
    ),
    Scenario(
        "delete_volume", "with_snapshot", volume_with_past, delete_volume,
        volume_deleted, volume_not_deleted, "retried by force",
    ),
    Scenario(
        "extend_volume", "detached", one_volume, extend_volume, volume_extended, volume_not_extended, "forward only",
        kept="volume",
    ),
    Scenario(
        "retype_volume", "attached", typed_volume, retype_volume,
        volume_of_type("fast", 1000), volume_of_type("slow", 10, failed=True), "undone",
    ),
    Scenario(
        "limit_volumes", "attached", typed_volume, change_specs,
        volume_of_type("slow", 20), specs_without_effect, "forward only",
    ),
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
    Scenario(
        "rollback_volume", "to_snapshot", volume_with_past, rollback_volume,
        volume_reverted, volume_not_reverted("error_rollbacking"), "forward only", kept="volume",
    ),
    Scenario(
        "revert_volume", "to_snapshot", volume_with_past, revert_volume,
        volume_reverted, volume_not_reverted("error"), "forward only", kept="volume",
    ),
    Scenario(
        "label_volume", "handed_over", offered_volume, accept_transfer, volume_handed_over, rows_handed_over,
        "forward only", kept="volume",
    ),
    Scenario(
        "unmanage_volume", "detached", one_volume, unmanage_volume,
        volume_unmanaged, volume_not_unmanaged, "retried by force",
    ),
    Scenario(
        "unmanage_volume", "backed_up", backed_up_volume, unmanage_volume,
        volume_unmanaged, volume_not_unmanaged, "retried by force",
    ),
    Scenario(
        "manage_volume", "of_stray", unmanaged_volume, manage_volume,
        volume_managed, volume_not_managed, "undone", kept="new",
    ),
    Scenario(
        "unmanage_snapshot", "only_one", volume_with_past, unmanage_snapshot,
        snapshot_unmanaged, snapshot_not_unmanaged, "retried by force", kept="volume",
    ),
    Scenario(
        "manage_snapshot", "of_stray", unmanaged_snapshot, manage_snapshot,
        snapshot_managed, snapshot_not_managed, "undone", kept="volume",
    ),
    Scenario(
        "look_for_strays", "one", unmanaged_volume, look_for_strays, strays_found, volume_unmanaged, "retried by force"
    ),
    Scenario(
        "create_group_snapshot", "of_two", group_of_two, new_group_snapshot,
        group_snapshot_made, group_snapshot_not_made, "undone", kept="first",
    ),
    Scenario(
        "delete_group_snapshot", "of_two", group_with_past, delete_group_snapshot,
        group_snapshot_deleted, group_snapshot_not_deleted, "retried by force", kept="first",
    ),
    Scenario(
        "delete_group", "of_two", group_of_two, delete_group, group_deleted, group_not_deleted, "retried by force",
    ),
    Scenario(
        "delete_group", "backed_up", backed_up_group, delete_group, group_deleted, group_not_deleted,
        "retried by force",
    ),
    Scenario(
        "create_group", "from_group", group_of_two, group_from_group, group_copied, group_not_copied, "undone",
        kept="first",
    ),
    Scenario(
        "create_group", "from_snapshot", group_with_past, group_from_snapshot, group_copied, group_not_copied, "undone",
        kept="first",
    ),
)  # fmt: skip
