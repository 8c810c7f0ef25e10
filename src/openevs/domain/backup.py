"""Backups: a volume's bytes at one instant, kept in a vault, away from the volume."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final, NamedTuple

from openevs.domain.ids import BackupId, ProjectId, SnapshotId, UserId, VolumeId
from openevs.domain.lifecycle import Move
from openevs.domain.rules import BACKUP_SNAPSHOT_PREFIX


class Backup(NamedTuple):
    """A backup. Its volume and its snapshot may be gone."""

    id: BackupId
    project_id: ProjectId
    user_id: UserId
    volume_id: VolumeId
    snapshot_id: SnapshotId | None
    """The snapshot that it was asked to be made of; None: of the volume."""
    parent_id: BackupId | None
    """The backup that this one was made on top of (incremental)."""
    name: str | None
    description: str | None
    size_gib: int
    status: str
    container: str | None
    """A word of the client's; the vault has one place for all."""
    availability_zone: str | None
    metadata: dict[str, str]
    volume_metadata: dict[str, str]
    """What the volume had; a volume that a restore makes gets it."""
    bootable: bool
    fail_reason: str | None
    data_timestamp: datetime
    """The instant whose bytes it holds."""
    object_count: int
    bytes_read: int
    bytes_stored: int
    vault_id: BackupId
    """Its name in the vault: another one's, if it was imported under a new id."""
    record: str | None
    """By which the vault finds it for another database."""
    base_snapshot_id: SnapshotId | None
    """The frozen state that it was made of, if storage still has it: what has changed since can be told from it."""
    restore_volume_id: VolumeId | None
    created_at: datetime
    updated_at: datetime | None

    @property
    def own_base(self) -> SnapshotId | None:
        """The frozen state that is there for this backup alone, and goes with it; a user's snapshot is not."""
        return self.base_snapshot_id if self.base_snapshot_id != self.snapshot_id else None


class Moved(NamedTuple):
    """How far work that moves a backup's bytes has come."""

    bytes_done: int
    bytes_total: int
    seconds: float


BACKUP_STATUSES: Final = frozenset("creating available deleting error restoring error_deleting".split())
TRANSITIONAL_BACKUP_STATUSES: Final = frozenset("creating deleting restoring".split())


def _move(action: str, froms: str, to: str) -> Move:
    return Move(action, frozenset(froms.split()), to)


class BackupMoves:
    """Every change of a backup's status."""

    created: Final = _move("finish creating", "creating", "available")
    create_failed: Final = _move("fail creating", "creating", "error")
    restore: Final = _move("restore", "available", "restoring")
    restored: Final = _move("finish restoring", "restoring", "available")
    delete: Final = _move("delete", "available error", "deleting")
    force_delete: Final = Move("force-delete", BACKUP_STATUSES - {"deleting"}, "deleting")
    delete_failed: Final = _move("fail deleting", "deleting", "error_deleting")


def backup_usage(size_gib: int) -> dict[str, int]:
    """Return what one backup counts against the quotas: the volume's full size, whatever it takes."""
    return {"backups": 1, "backup_gigabytes": size_gib}


def own_snapshot_name(backup_id: str) -> str:
    """Return the name of the snapshot that a backup takes for itself."""
    return f"{BACKUP_SNAPSHOT_PREFIX}{backup_id}"


def newest_parent(backups: Iterable[Backup], before: datetime | None) -> Backup | None:
    """Return the backup on top of which an incremental one is made: the newest that is available and, for the backup
    of a snapshot, older than that."""
    usable = [row for row in backups if row.status == "available" and (before is None or row.data_timestamp < before)]
    return max(usable, key=lambda row: row.data_timestamp, default=None)
