"""Delete a backup: its content in the vault, unless another row is the same backup there; then the frozen state that is
kept for it alone; then the row, whose quota is given back. If it cannot be done the row is `error_deleting`, with the
reason; an administrator's `os-force_delete` tries again.
"""

from datetime import datetime

from openevs.domain.backup import BackupMoves, backup_usage
from openevs.domain.ids import BackupId, SnapshotId
from openevs.domain.model import Operation
from openevs.engine.port import Engine
from openevs.operations.ends import end_backup
from openevs.operations.kind import Beside, Facts, Kind, LongStep
from openevs.store.backups import delete_backup_row, find_backup
from openevs.store.database import Tx
from openevs.store.quotas import give_quota


async def remove(engine: Engine, beside: Beside, operation: Operation, facts: Facts) -> Facts:
    """Remove it from the vault, and its frozen state from storage."""
    if operation.input["vault_id"] is not None:
        await beside.vault.ensure_no_backup(BackupId(operation.input["vault_id"]))
    if operation.input["base"] is not None:
        await engine.ensure_no_snapshot(SnapshotId(operation.input["base"]))
    return {}


def succeed(tx: Tx, operation: Operation, facts: Facts, now: datetime) -> None:
    """The backup is gone."""
    backup = find_backup(tx, operation.resource_id)
    give_quota(tx, backup.project_id, backup_usage(backup.size_gib))
    delete_backup_row(tx, backup.id)


def fail(tx: Tx, operation: Operation, reason: str, now: datetime) -> None:
    """The backup could not be removed, and why."""
    end_backup(tx, operation.resource_id, BackupMoves.delete_failed, now, reason=reason)


DELETE_BACKUP = Kind(name="delete_backup", steps=(LongStep("remove", remove),), succeed=succeed, fail=fail)
