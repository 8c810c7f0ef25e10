"""What keeps a chunk from being removed between the moment a backup finds it there and the moment its index says so.

Every backup under way has a `Hold`: the segments that it has finished, and the names that it has used since. A name is
claimed before the store is asked for it. A collection (there is one at a time) notes what is held when it begins, and
everything that is claimed from then on; it removes nothing that it has noted. A name that is being removed cannot be
claimed before it is gone: it is then stored anew.

All of it is in this process. Nothing of it needs to survive: after a crash there is no backup under way.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

WHOLE_MAX: Final = 1 << 16
"""Some 8 MB; a backup that has more chunks reads some of those again that it comes upon again."""


@dataclass(eq=False, slots=True)
class Hold:
    """What one backup under way needs."""

    segments: set[bytes] = field(default_factory=set)
    """Segments that are stored; the chunks they name are needed too."""
    names: set[bytes] = field(default_factory=set)
    """Names that were claimed, but may be in no stored segment yet."""
    whole: set[bytes] = field(default_factory=set)
    """Names of chunks that this backup has stored, or read and found whole: not more than `WHOLE_MAX` of them."""


class Claims:
    """The holds of one vault. Methods are called by threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._holds: set[Hold] = set()
        self._noted: set[bytes] | None = None
        self._dying: set[bytes] = set()

    @contextmanager
    def holding(self, segments: Iterable[bytes]) -> Iterator[Hold]:
        """Hold these segments, and what is claimed, while the block runs."""
        hold = Hold(set(segments))
        with self._changed:
            self._holds.add(hold)
        try:
            yield hold
        finally:
            with self._changed:
                self._holds.discard(hold)

    def claim(self, hold: Hold, name: bytes) -> None:
        """Keep the name from being removed; if it is being removed, wait until it is gone."""
        with self._changed:
            while name in self._dying:
                self._changed.wait()
            hold.names.add(name)
            if self._noted is not None:
                self._noted.add(name)

    def stored(self, hold: Hold, segment: bytes, names: Iterable[bytes]) -> None:
        """Note that a segment is stored, and that these names are in it."""
        with self._changed:
            hold.segments.add(segment)
            hold.names.difference_update(names)

    @contextmanager
    def collecting(self) -> Iterator[set[bytes]]:
        """Begin to note what must not be removed, and give the segments that are held now."""
        with self._changed:
            self._noted = set().union(*(hold.names for hold in self._holds))
            segments: set[bytes] = set().union(*(hold.segments for hold in self._holds))
        try:
            yield segments
        finally:
            with self._changed:
                self._noted = None

    @contextmanager
    def removing(self, names: Sequence[bytes]) -> Iterator[list[bytes]]:
        """Give those of the names that may be removed while the block runs."""
        with self._changed:
            noted = self._noted or set()
            free = [name for name in names if name not in noted]
            self._dying.update(free)
        try:
            yield free
        finally:
            with self._changed:
                self._dying.difference_update(free)
                self._changed.notify_all()
