"""The index of a backup: which chunk holds which bytes of the volume.

    root      one object per backup, by its id: size, parent, labels, figures, and the name of each segment
    segment   covers SEGMENT_BYTES of the volume: the names of its chunks, and runs
    run       (offset, length, chunk, offset in the chunk), in order; what no run covers reads as zeros

A segment is named by its hash, as a chunk is: an incremental backup names its parent's segments where nothing has
changed. So every index is whole, whatever became of the parent, and writing one costs what has changed, not what the
volume holds. A chunk is a slot of the volume (SLOT_BYTES, aligned, so that equal content is found again), or the pieces
of several slots that changed, one after the other.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple, TypeVar

import msgspec

SLOT_BYTES: Final = 1 << 20
SEGMENT_BYTES: Final = 1 << 30
FORMAT: Final = 1
T = TypeVar("T")


class IndexFormatError(Exception):
    """The bytes are no index of a format that this version knows."""


class Run(NamedTuple):
    """Bytes of a segment that are in a chunk."""

    offset: int
    """In the segment."""
    length: int
    chunk: bytes
    inner: int
    """Where in the chunk they begin."""

    @property
    def end(self) -> int:
        return self.offset + self.length


class SegmentRef(NamedTuple):
    """A segment as the root names it."""

    number: int
    name: bytes
    chunk_count: int


class Root(msgspec.Struct, frozen=True, array_like=True):
    """All of a backup but its segments."""

    format: int
    backup_id: str
    parent_id: str | None
    size_bytes: int
    created_at: datetime
    bytes_read: int
    bytes_stored: int
    labels: Mapping[str, str]
    segments: tuple[SegmentRef, ...]


class _Segment(msgspec.Struct, frozen=True, array_like=True):
    format: int
    chunks: list[bytes]
    runs: list[tuple[int, int, int, int]]


def encode_root(root: Root) -> bytes:
    """Return the root's bytes."""
    return msgspec.msgpack.encode(root)


def decode_root(data: bytes) -> Root:
    """Raises IndexFormatError."""
    root = _decoded(data, Root)
    if root.format != FORMAT:
        raise IndexFormatError(f"format {root.format} is not known to this version")
    return root


def encode_segment(runs: Sequence[Run]) -> tuple[bytes, int]:
    """Return the segment's bytes and how many chunks it names."""
    places: dict[bytes, int] = {}
    lines = [(run.offset, run.length, places.setdefault(run.chunk, len(places)), run.inner) for run in runs]
    return msgspec.msgpack.encode(_Segment(FORMAT, list(places), lines)), len(places)


def decode_segment(data: bytes) -> list[Run]:
    """Raises IndexFormatError."""
    segment = _decoded(data, _Segment)
    if segment.format != FORMAT:
        raise IndexFormatError(f"format {segment.format} is not known to this version")
    try:
        return [Run(offset, length, segment.chunks[place], inner) for offset, length, place, inner in segment.runs]
    except IndexError:
        raise IndexFormatError("a run names a chunk that is not listed") from None


def without(runs: Sequence[Run], cuts: Iterable[tuple[int, int]]) -> list[Run]:
    """Return the runs less the ranges (offset, length), which are in order and apart."""
    left: list[Run] = []
    rest = iter(runs)
    run = next(rest, None)
    for start, length in cuts:
        end = start + length
        while run is not None and run.end <= start:
            left.append(run)
            run = next(rest, None)
        while run is not None and run.offset < end:
            if run.offset < start:
                left.append(run._replace(length=start - run.offset))
            if run.end > end:
                run = Run(end, run.end - end, run.chunk, run.inner + end - run.offset)
                break
            run = next(rest, None)
    if run is not None:
        left.append(run)
    left.extend(rest)
    return left


def _decoded(data: bytes, kind: type[T]) -> T:
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except (msgspec.DecodeError, ValueError) as error:
        raise IndexFormatError(f"it cannot be read: {error}") from None
