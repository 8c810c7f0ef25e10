"""How far work that moves many bytes has come: for whoever asks, and now and then for the log."""

from collections import OrderedDict
from typing import Final

import structlog

from openevs.domain.backup import Moved
from openevs.vault.port import Progress

log = structlog.get_logger()

_LOG_SECONDS: Final = 10.0
"""Work that takes longer is logged this often."""
_KEPT: Final = 256
"""Of so many resources, the last that moved anything; far more than are under way at a time."""


class Progresses:
    """The last known progress by resource. Nothing of it needs to survive: after a restart, work counts anew."""

    def __init__(self) -> None:
        self._last: OrderedDict[str, Moved] = OrderedDict()
        self._logged: dict[str, float] = {}

    def note(self, resource_id: str, progress: Progress) -> None:
        """Keep how far it has come."""
        self._last[resource_id] = Moved(progress.bytes_read, progress.bytes_total, progress.seconds)
        self._last.move_to_end(resource_id)
        if progress.seconds - self._since(resource_id, progress.seconds) >= _LOG_SECONDS:
            self._logged[resource_id] = progress.seconds
            log.info(
                "bytes_moved", resource_id=resource_id, bytes_done=progress.bytes_read,
                bytes_total=progress.bytes_total, bytes_per_second=rate(progress.bytes_read, progress.seconds),
            )  # fmt: skip
        while len(self._last) > _KEPT:
            self._logged.pop(self._last.popitem(last=False)[0], None)

    def get(self, resource_id: str) -> Moved | None:
        """Return how far it has come; None if nothing is known."""
        return self._last.get(resource_id)

    def _since(self, resource_id: str, seconds: float) -> float:
        """Return when it was logged last, or began: a second attempt counts its seconds from zero again."""
        last = self._logged.get(resource_id, 0.0)
        return last if last <= seconds else 0.0


def rate(moved: int, seconds: float) -> int:
    """Return bytes per second."""
    return round(moved / seconds) if seconds else 0
