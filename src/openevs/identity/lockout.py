"""Access keys that were used with a wrong secret too often are locked for a while, as at the public cloud's gateway.

More than `MOST_FAILURES` wrong signatures in a row lock a key for `LOCKED_FOR`; requests signed in that time are
refused unlooked at and count for nothing. Only keys that there are can be counted: nobody can guess the secret of one
that there is not.
"""

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, NamedTuple

MOST_FAILURES: Final = 5
LOCKED_FOR: Final = timedelta(minutes=5)
MOST_KEYS: Final = 10_000
"""Keys remembered; the one that failed longest ago makes room."""


class _Failures(NamedTuple):
    in_a_row: int
    last: datetime


class Lockout:
    """Counts wrong signatures by access key, in memory."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._failures: OrderedDict[str, _Failures] = OrderedDict()

    def is_locked(self, access: str) -> bool:
        """Say whether a key is locked now."""
        failed = self._failures.get(access)
        if failed is None or failed.in_a_row <= MOST_FAILURES:
            return False
        # A clock that was set back must not lock for longer.
        if timedelta(0) <= self._clock() - failed.last < LOCKED_FOR:
            return True
        del self._failures[access]
        return False

    def failed(self, access: str) -> None:
        """Count one more wrong signature."""
        known = self._failures.pop(access, None)
        while len(self._failures) >= MOST_KEYS:
            self._failures.popitem(last=False)
        self._failures[access] = _Failures(1 if known is None else known.in_a_row + 1, self._clock())

    def succeeded(self, access: str) -> None:
        """Forget the failures of a key."""
        self._failures.pop(access, None)
