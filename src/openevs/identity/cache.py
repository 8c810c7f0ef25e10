"""What tokens were found to stand for a moment ago."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from openevs.identity.port import Grant

MOST_ENTRIES: Final = 4096
MOST_AGE: Final = timedelta(seconds=5)
"""How long another process's revocation may go unseen here; changes made in this process are seen at once."""


class Answer(NamedTuple):
    """What was found; None: the token is not valid."""

    grant: Grant | None


class GrantCache:
    """Bounded in number and in age; the oldest makes room for the newest."""

    def __init__(self, clock: Callable[[], datetime], most_age: timedelta = MOST_AGE) -> None:
        self._clock = clock
        self._most_age = most_age
        self._entries: dict[str, tuple[datetime, datetime, Answer]] = {}
        """Digest → when it was found, until when that may be believed, and what was found."""

    def get(self, digest: str) -> Answer | None:
        """Return what a token's digest was found to stand for if that was lately, and it has not expired."""
        entry = self._entries.get(digest)
        if entry is None:
            return None
        kept_at, until, answer = entry
        # An age below zero means that the clock was set back: how old the entry is, nobody knows then.
        if kept_at <= self._clock() < until:
            return answer
        del self._entries[digest]
        return None

    def put(self, digest: str, grant: Grant | None, found_at: datetime | None = None) -> None:
        """Keep what was found just now, or at `found_at` for an answer that took its time."""
        self._entries.pop(digest, None)
        if len(self._entries) >= MOST_ENTRIES:
            del self._entries[next(iter(self._entries))]
        kept_at = found_at or self._clock()
        until = kept_at + self._most_age
        self._entries[digest] = (kept_at, until if grant is None else min(until, grant.expires_at), Answer(grant))

    def clear(self) -> None:
        """Forget everything: something that grants rest on has changed."""
        self._entries.clear()
