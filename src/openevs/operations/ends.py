"""Moving the rows that an operation is about, when it has ended.

An administrator may have set a status by hand while the work went on (`os-reset_status`). Theirs stands; but the end of
the operation is not undone by it: its other rows, sizes and quotas still have to say what is on storage now. So here a
move that finds another status than the operation left is no error, and `facts` are kept in any case.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Protocol

import structlog

from openevs.domain.errors import WrongStatus
from openevs.domain.lifecycle import Move
from openevs.store.backups import move_backup, update_backup
from openevs.store.database import Tx
from openevs.store.group_snapshots import move_group_snapshot
from openevs.store.groups import move_group
from openevs.store.snapshots import move_snapshot, update_snapshot
from openevs.store.volumes import move_volume, update_volume

log = structlog.get_logger()
Values = Mapping[str, Any]
_NONE: Final[Values] = {}


def end_volume(
    tx: Tx, volume_id: str, move: Move, now: datetime, facts: Values = _NONE, reason: str | None = None
) -> None:
    """Move a volume (with the reason, if it has failed), unless its status was set by hand. Raises NotFound."""
    if not _moved(tx, move_volume, volume_id, move, now, {**facts, "reason": reason}) and facts:
        update_volume(tx, volume_id, None, now, facts)


def end_snapshot(
    tx: Tx, snapshot_id: str, move: Move, now: datetime, facts: Values = _NONE, reason: str | None = None
) -> None:
    """Move a snapshot (with the reason, if it has failed), unless its status was set by hand. Raises NotFound."""
    if not _moved(tx, move_snapshot, snapshot_id, move, now, {**facts, "reason": reason}) and facts:
        update_snapshot(tx, snapshot_id, None, now, facts)


def end_backup(
    tx: Tx, backup_id: str, move: Move, now: datetime, facts: Values = _NONE, reason: str | None = None
) -> None:
    """Move a backup (with the reason, if it has failed), unless its status was set by hand. Raises NotFound."""
    if not _moved(tx, move_backup, backup_id, move, now, {**facts, "fail_reason": reason}) and facts:
        update_backup(tx, backup_id, None, now, facts)


def end_group(tx: Tx, group_id: str, move: Move, now: datetime, reason: str | None = None) -> None:
    """Move a group (with the reason, if it has failed), unless its status was set by hand. Raises NotFound."""
    _moved(tx, move_group, group_id, move, now, {"reason": reason})


def end_group_snapshot(tx: Tx, group_snapshot_id: str, move: Move, now: datetime, reason: str | None = None) -> None:
    """Move a group snapshot (with the reason, if it has failed), unless its status was set by hand. Raises NotFound."""
    _moved(tx, move_group_snapshot, group_snapshot_id, move, now, {"reason": reason})


class _MoveOne(Protocol):
    """What moves one row of some kind."""

    def __call__(self, tx: Tx, row_id: str, move: Move, now: datetime, /, *, also: Values) -> object: ...


def _moved(tx: Tx, move_one: _MoveOne, row_id: str, move: Move, now: datetime, also: Values) -> bool:
    """Move a row, and say whether that was so. Raises NotFound."""
    try:
        move_one(tx, row_id, move, now, also=also)
    except WrongStatus as error:
        log.warning("status_was_set_by_hand", kind=error.kind, id=row_id, found=error.found, action=move.action)
        return False
    return True
