"""What to read for one segment of a backup, and how it is cut into chunks. Pure.

A slot that has changed much, or is in many pieces already, is read whole and becomes a chunk of its own, which equal
content finds again. What changed little is gathered: pieces of several slots share a chunk, so that a backup of
scattered small changes reads and stores little more than those.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from openevs.vault.index import SEGMENT_BYTES, SLOT_BYTES, Run, without

_MOSTLY: Final = 2
"""A slot of which one part in so many has changed is read whole."""
_RUNS_MAX: Final = 64
"""A slot in more runs than this is read whole: each of them is another chunk to fetch when it is restored."""


class Piece(NamedTuple):
    """Bytes to read; the offset is that in the segment."""

    offset: int
    length: int


class Plan(NamedTuple):
    """A segment's work."""

    kept: list[Run]
    """What stays of the parent's."""
    chunks: list[list[Piece]]
    """Each list becomes one chunk."""


def by_segment(extents: Iterable[tuple[int, int]], size_bytes: int) -> Iterator[tuple[int, list[Piece]]]:
    """Yield the number of each segment that the extents (offset, length, in order) touch, and what is in it."""
    number, pieces = -1, list[Piece]()
    for start, length in extents:
        at, end = start, min(start + length, size_bytes)
        while at < end:
            here = at // SEGMENT_BYTES
            if here != number:
                if pieces:
                    yield number, pieces
                number, pieces = here, []
            until = min(end, (here + 1) * SEGMENT_BYTES)
            pieces.append(Piece(at - here * SEGMENT_BYTES, until - at))
            at = until
    if pieces:
        yield number, pieces


def plan(base: Sequence[Run], changed: Sequence[Piece], length: int) -> Plan:
    """Return how a segment of this length with these changes is made from the parent's runs."""
    chunks: list[list[Piece]] = []
    cuts: list[Piece] = []
    pack: list[Piece] = []
    packed = 0
    for slot, pieces, there in _by_slot(changed, base):
        whole = Piece(slot, min(SLOT_BYTES, length - slot))
        if sum(piece.length for piece in pieces) * _MOSTLY >= whole.length or len(pieces) + there > _RUNS_MAX:
            chunks.append([whole])
            cuts.append(whole)
            continue
        cuts += pieces
        for piece in pieces:
            if packed + piece.length > SLOT_BYTES:
                chunks.append(pack)
                pack, packed = [], 0
            pack.append(piece)
            packed += piece.length
    if pack:
        chunks.append(pack)
    return Plan(without(base, cuts), chunks)


def _by_slot(changed: Iterable[Piece], base: Sequence[Run]) -> Iterator[tuple[int, list[Piece], int]]:
    """Yield the offset of each slot that has changed, its changes, and how many of the parent's runs are in it."""
    counts: dict[int, int] = {}
    for run in base:
        counts[run.offset // SLOT_BYTES] = counts.get(run.offset // SLOT_BYTES, 0) + 1
    number, pieces = -1, list[Piece]()
    for start, length in changed:
        at, end = start, start + length
        while at < end:
            if at // SLOT_BYTES != number:
                if pieces:
                    yield number * SLOT_BYTES, pieces, counts.get(number, 0)
                number, pieces = at // SLOT_BYTES, []
            until = min(end, (number + 1) * SLOT_BYTES)
            pieces.append(Piece(at, until - at))
            at = until
    if pieces:
        yield number * SLOT_BYTES, pieces, counts.get(number, 0)
