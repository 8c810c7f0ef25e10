"""Extents by the million: two machine words each, in order, and joined where they touch."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

from openevs.engine.port import Extent


class Extents(Sequence[Extent]):
    """A sequence of extents that takes as little room as can be. Add in order of offsets; they may overlap."""

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._starts = array("Q")
        self._ends = array("Q")
        for start, length in ranges:
            self.add(start, length)

    def add(self, start: int, length: int) -> None:
        """Add one that begins no earlier than the last."""
        if self._ends and start <= self._ends[-1]:
            self._ends[-1] = max(self._ends[-1], start + length)
        else:
            self._starts.append(start)
            self._ends.append(start + length)

    def ranges(self) -> Iterator[tuple[int, int]]:
        """Yield offset and length of each."""
        return ((start, end - start) for start, end in zip(self._starts, self._ends, strict=True))

    def __len__(self) -> int:
        return len(self._starts)

    def __iter__(self) -> Iterator[Extent]:
        return (Extent(start, length) for start, length in self.ranges())

    @overload
    def __getitem__(self, index: int) -> Extent: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Extent]: ...
    def __getitem__(self, index: int | slice) -> Extent | Sequence[Extent]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        return Extent(self._starts[index], self._ends[index] - self._starts[index])
