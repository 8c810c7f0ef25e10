"""Import a backup's record: find in the vault what another database, or this one before, has made there.

The request has made the row (`creating`) from what the record says, and counted it. If the vault has it, the row says
what the vault does; if not, it is `error`, and can be deleted.
"""

from datetime import datetime

from openevs.domain.backup import BackupMoves
from openevs.domain.ids import GIB
from openevs.domain.model import Operation
from openevs.engine.errors import Mismatch
from openevs.engine.port import Engine
from openevs.operations.ends import end_backup
from openevs.operations.kind import Beside, Facts, Kind, LongStep
from openevs.store.database import Tx


async def find(engine: Engine, beside: Beside, operation: Operation, facts: Facts) -> Facts:
    """Find it in the vault, and see that it is what the record says."""
    work = operation.input
    found = await beside.vault.import_record(work["record"])
    if found.backup_id != work["vault_id"] or found.size_bytes != work["size_gib"] * GIB:
        raise Mismatch(
            f"the vault has backup {found.backup_id} with {found.size_bytes} bytes under this record, not "
            f"{work['vault_id']} with {work['size_gib']} GiB"
        )
    return {
        "object_count": found.object_count,
        "bytes_read": found.bytes_read,
        "bytes_stored": found.bytes_stored,
        "record": work["record"],
    }


def succeed(tx: Tx, operation: Operation, facts: Facts, now: datetime) -> None:
    """The backup is there."""
    end_backup(tx, operation.resource_id, BackupMoves.created, now, facts)


def fail(tx: Tx, operation: Operation, reason: str, now: datetime) -> None:
    """The vault does not have it, and why."""
    end_backup(tx, operation.resource_id, BackupMoves.create_failed, now, reason=reason)


IMPORT_BACKUP = Kind(name="import_backup", steps=(LongStep("find", find),), succeed=succeed, fail=fail)
