"""Moving the rows that an operation is about, when it has ended.

An administrator may have set a status by hand while the work went on (`os-reset_status`). Theirs stands; but the end of
the operation is not undone by it: its other rows, sizes and quotas still have to say what is on storage now. So here a
move that finds another status than the operation left is no error, and `facts` are kept in any case.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

import structlog

from openevs.domain.errors import WrongStatus
from openevs.domain.lifecycle import Move
from openevs.store.backups import move_backup, update_backup
from openevs.store.database import Tx
from openevs.store.group_snapshots import move_group_snapshot, update_group_snapshot
from openevs.store.groups import move_group, update_group
from openevs.store.snapshots import move_snapshot, update_snapshot
from openevs.store.volumes import move_volume, update_volume

log = structlog.get_logger()


class _End(NamedTuple):
    """What moves one kind of row at the end of an operation."""

    move: Callable[..., object]
    update: Callable[..., object]
    reason: str = "reason"
    """The column that says why an operation has failed."""

    def __call__(
        self, tx: Tx, row_id: str, move: Move, now: datetime, facts: Mapping[str, Any] = {}, reason: str | None = None
    ) -> None:
        """Move a row (with the reason, if it has failed), unless its status was set by hand. Raises NotFound."""
        try:
            self.move(tx, row_id, move, now, also={**facts, self.reason: reason})
        except WrongStatus as error:
            log.warning("status_was_set_by_hand", kind=error.kind, id=row_id, found=error.found, action=move.action)
            if facts:
                self.update(tx, row_id, None, now, facts)


end_volume: Final = _End(move_volume, update_volume)
end_snapshot: Final = _End(move_snapshot, update_snapshot)
end_backup: Final = _End(move_backup, update_backup, "fail_reason")
end_group: Final = _End(move_group, update_group)
end_group_snapshot: Final = _End(move_group_snapshot, update_group_snapshot)
