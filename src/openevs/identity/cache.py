"""Grants of tokens that were verified a moment ago."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from openevs.identity.port import Grant

MOST_ENTRIES: Final = 4096
MOST_AGE: Final = timedelta(seconds=5)
"""How long another process's revocation may go unseen here; changes made in this process are seen at once."""


class GrantCache:
    """Bounded in number and in age; the oldest makes room for the newest."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._entries: dict[str, tuple[datetime, Grant]] = {}

    def get(self, digest: str) -> Grant | None:
        """Return the grant of a token's digest if it was kept lately and has not expired."""
        entry = self._entries.get(digest)
        if entry is None:
            return None
        kept_at, grant = entry
        now = self._clock()
        # An age below zero means that the clock was set back: how old the entry is, nobody knows then.
        if timedelta(0) <= now - kept_at < MOST_AGE and now < grant.expires_at:
            return grant
        del self._entries[digest]
        return None

    def put(self, digest: str, grant: Grant) -> None:
        """Keep what was just read from the database."""
        self._entries.pop(digest, None)
        if len(self._entries) >= MOST_ENTRIES:
            del self._entries[next(iter(self._entries))]
        self._entries[digest] = (self._clock(), grant)

    def clear(self) -> None:
        """Forget everything: something that grants rest on has changed."""
        self._entries.clear()
