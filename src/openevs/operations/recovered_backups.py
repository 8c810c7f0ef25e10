"""Rows for what is in the vault and in no row; what `recovery.py` does for the pool.

A backup's index names its project, its volume, its own name and the moment it is of. What only the database knew
(description, metadata, who made it) is gone. The frozen state that it was made of says so too: it becomes the backup's
base again, so that the next backup of the volume reads only what has changed.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final, NamedTuple

from openevs.domain.backup import Backup
from openevs.domain.ids import GIB, BackupId, ProjectId, SnapshotId, UserId, VolumeId
from openevs.engine.port import Objects
from openevs.operations.create_backup import BASE_OF
from openevs.store.backups import insert_backup, known_vault_ids
from openevs.store.database import Tx
from openevs.store.sweeping import finished_about
from openevs.vault.port import BackupFacts

_NO_VOLUME: Final = "00000000-0000-0000-0000-000000000000"


class FoundBackup(NamedTuple):
    """A backup in the vault."""

    facts: BackupFacts
    record: str


def without_row(tx: Tx, found: Iterable[FoundBackup]) -> list[FoundBackup]:
    """Return the backups that no row is, and that are not left over from a deletion; the oldest first."""
    every = sorted(found, key=lambda each: each.facts.created_at)
    known = known_vault_ids(tx)
    left = finished_about(tx, {each.facts.backup_id for each in every} - known)
    return [each for each in every if each.facts.backup_id not in known | left]


def bases_of(objects: Objects, backup_ids: Iterable[str]) -> dict[str, SnapshotId]:
    """Return the frozen state that each of these backups was made of, where storage still has it."""
    wanted = set(backup_ids)
    found = {
        facts.labels.get("purpose", "").removeprefix(BASE_OF): snapshot_id
        for snapshot_id, facts in objects.snapshots.items()
    }
    return {backup_id: snapshot_id for backup_id, snapshot_id in found.items() if backup_id in wanted}


def insert_found(
    tx: Tx, found: FoundBackup, project_id: str, owner: UserId, base: SnapshotId | None, zone: str
) -> None:
    """Make the row of a backup."""
    facts, labels = found.facts, found.facts.labels
    insert_backup(
        tx,
        Backup(
            id=facts.backup_id,
            project_id=ProjectId(project_id),
            user_id=owner,
            volume_id=VolumeId(labels.get("volume_id") or _NO_VOLUME),
            snapshot_id=None,
            parent_id=_parent(tx, facts.parent_id),
            name=labels.get("name") or None,
            description="Recovered from the vault.",
            size_gib=-(-facts.size_bytes // GIB),
            status="available",
            container=None,
            availability_zone=zone,
            metadata={},
            volume_metadata={},
            bootable=False,
            fail_reason=None,
            data_timestamp=_moment(labels) or facts.created_at,
            object_count=facts.object_count,
            bytes_read=facts.bytes_read,
            bytes_stored=facts.bytes_stored,
            vault_id=facts.backup_id,
            record=found.record,
            base_snapshot_id=base,
            restore_volume_id=None,
            created_at=facts.created_at,
            updated_at=None,
        ),
    )


def _parent(tx: Tx, parent_id: BackupId | None) -> BackupId | None:
    """The parent may be gone from the vault: then there is no row to be named."""
    return parent_id if parent_id in known_vault_ids(tx) else None


def _moment(labels: Mapping[str, str]) -> datetime | None:
    text = labels.get("taken_at")
    return datetime.fromisoformat(text) if text else None
