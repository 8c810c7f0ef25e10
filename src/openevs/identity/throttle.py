"""Failed logins make further ones wait.

From `login_failures` failures in a row on, an account's next attempt is refused, unlooked at, for a time that doubles
with each further failure up to `login_wait_seconds`. What is counted belongs to the name tried, whether there is such
a user or not: the waiting tells nobody which names exist.
"""

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta
from math import ceil
from typing import Final, NamedTuple

from openevs.domain.errors import Unauthenticated

MOST_NAMES: Final = 10_000
"""Names remembered. Pushing one out takes as many failures of others, each at the cost of a password check."""
_FIRST_WAIT_SECONDS: Final = 1.0


class _Failures(NamedTuple):
    in_a_row: int
    last: datetime


class LoginThrottle:
    """Counts failed logins by name, in memory."""

    def __init__(self, failures: int, most_seconds: float, clock: Callable[[], datetime]) -> None:
        self._free = failures
        self._most_seconds = most_seconds
        self._clock = clock
        self._failures: OrderedDict[str, _Failures] = OrderedDict()

    def check(self, name: str) -> None:
        """Raise Unauthenticated, which says how long, while attempts for `name` have to wait."""
        failed = self._failures.get(name)
        if failed is None:
            return
        now = self._clock()
        if now < failed.last:  # the clock was set back: the wait begins anew, and does not last until it is then again
            failed = self._failures[name] = failed._replace(last=now)
        left = self._wait_seconds(failed.in_a_row) - (now - failed.last).total_seconds()
        if left > 0:
            raise Unauthenticated(f"Too many failed logins in a row; try again in {ceil(left)} seconds.")

    def failed(self, name: str) -> None:
        """Count one more failure of `name`."""
        known = self._failures.pop(name, None)
        now = self._clock()
        count = 0 if known is None or now - known.last > self._forget_after else known.in_a_row
        while len(self._failures) >= MOST_NAMES:
            self._failures.popitem(last=False)
        self._failures[name] = _Failures(count + 1, now)

    def succeeded(self, name: str) -> None:
        """Forget the failures of `name`."""
        self._failures.pop(name, None)

    @property
    def _forget_after(self) -> timedelta:
        return timedelta(seconds=10 * self._most_seconds + 60)

    def _wait_seconds(self, count: int) -> float:
        if count < self._free:
            return 0.0
        doublings = min(count - self._free, 32)
        return min(_FIRST_WAIT_SECONDS * (1 << doublings), self._most_seconds)
