"""Making a backup: reading, hashing and compressing, and storing go on at once, each chunk in a task of its own.

The number of chunks under way bounds the memory that it takes. Hashing, compressing and storing one chunk is one trip
to a thread, so that the loop has little to do but to read.
"""

import asyncio
import itertools
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from datetime import datetime
from typing import Final

from openevs.domain.ids import BackupId
from openevs.vault.claims import Hold
from openevs.vault.contents import Contents
from openevs.vault.errors import Missing
from openevs.vault.index import FORMAT, SEGMENT_BYTES, SLOT_BYTES, Root, Run, SegmentRef, encode_segment, without
from openevs.vault.planning import Piece, by_segment, plan
from openevs.vault.port import BackupOrder, Read
from openevs.vault.work import Crew, Meter, group, in_thread

_SEGMENTS_AT_ONCE: Final = 4
_NEAR_BYTES: Final = 16 << 10
"""Pieces no further apart than this are read in one go: a request costs more than what lies between."""
_ZEROS: Final = bytes(SLOT_BYTES)


class Making:
    """One backup under way."""

    def __init__(
        self, contents: Contents, pool: Executor, at_once: int, order: BackupOrder, read: Read, meter: Meter
    ) -> None:
        self._contents = contents
        self._pool = pool
        self._at_once = at_once
        self._order = order
        self._read = read
        self._meter = meter

    async def run(self, extents: Iterable[tuple[int, int]], created_at: datetime) -> None:
        """Store everything but the index, then the index. Raises Missing (the parent)."""
        order = self._order
        await in_thread(self._pool, self._contents.note_begun, order.backup_id)
        parent: dict[int, SegmentRef] = {}
        if order.parent_id is not None:
            root, _ = await in_thread(self._pool, self._contents.need_root, order.parent_id)
            parent = {ref.number: ref for ref in root.segments if ref.number * SEGMENT_BYTES < order.size_bytes}
        with self._contents.claims.holding(ref.name for ref in parent.values()) as hold:
            if order.parent_id is not None and not await in_thread(self._pool, self._is_there, order.parent_id):
                raise Missing(f"backup {order.parent_id} was removed while another was being made on it")
            made = await self._segments(by_segment(extents, order.size_bytes), parent, hold)
            segments = tuple(ref for _, ref in sorted({**parent, **made}.items()) if ref.chunk_count)
            root = Root(
                FORMAT, order.backup_id, order.parent_id, order.size_bytes, created_at,
                self._meter.bytes_read, self._meter.bytes_stored, dict(order.labels), segments,
            )  # fmt: skip
            await in_thread(self._pool, self._contents.put_root, root)

    def _is_there(self, backup_id: BackupId) -> bool:
        return self._contents.root(backup_id) is not None

    async def _segments(
        self, changed: Iterable[tuple[int, list[Piece]]], parent: dict[int, SegmentRef], hold: Hold
    ) -> dict[int, SegmentRef]:
        made = []
        async with group() as tasks:  # one: a chunk that fails also ends the segments that would begin more of them
            outer, inner = Crew(tasks, _SEGMENTS_AT_ONCE), Crew(tasks, self._at_once)
            for number, pieces in changed:
                base = parent.get(number)
                made.append(await outer.start(lambda n=number, p=pieces, b=base: self._segment(n, p, b, hold, inner)))  # type: ignore[misc]
        return {ref.number: ref for ref in (task.result() for task in made)}

    async def _segment(
        self, number: int, pieces: Sequence[Piece], base: SegmentRef | None, hold: Hold, crew: Crew
    ) -> SegmentRef:
        start = number * SEGMENT_BYTES
        length = min(SEGMENT_BYTES, self._order.size_bytes - start)
        runs: list[Run] = []
        if base is not None:
            backup_id = self._order.parent_id or self._order.backup_id
            runs = await in_thread(self._pool, self._contents.segment, base.name, backup_id, start)
            runs = without(runs, [(length, SEGMENT_BYTES)])
        kept, chunks = plan(runs, pieces, length)
        tasks = [await crew.start(lambda c=chunk: self._chunk(start, c, hold)) for chunk in chunks]  # type: ignore[misc]
        made = [run for task in tasks for run in await task]
        ref, stored = await in_thread(self._pool, self._store_segment, number, sorted(kept + made), hold)
        self._meter.add(stored=stored)
        return ref

    async def _chunk(self, start: int, pieces: Sequence[Piece], hold: Hold) -> list[Run]:
        found = await asyncio.gather(*(self._read_pieces(start, near) for near in _near(pieces)))
        data = list(itertools.chain.from_iterable(found))
        runs, stored = await in_thread(self._pool, self._store_chunk, pieces, data, hold)
        self._meter.add(stored=stored)
        return runs

    async def _read_pieces(self, start: int, pieces: Sequence[Piece]) -> Sequence[bytes | bytearray]:
        first, last = pieces[0].offset, pieces[-1]
        length = last.offset + last.length - first
        data = await self._read(start + first, length)
        self._meter.add(read=length)
        if len(pieces) == 1:
            return [data]
        return [data[piece.offset - first : piece.offset - first + piece.length] for piece in pieces]

    def _store_chunk(
        self, pieces: Sequence[Piece], data: Sequence[bytes | bytearray], hold: Hold
    ) -> tuple[list[Run], int]:
        full = [(piece, part) for piece, part in zip(pieces, data, strict=True) if part != _ZEROS[: piece.length]]
        if not full:
            return [], 0
        plain = full[0][1] if len(full) == 1 else b"".join(part for _, part in full)
        name, stored = self._contents.put(plain, hold)
        runs, inner = [], 0
        for piece, _ in full:
            runs.append(Run(piece.offset, piece.length, name, inner))
            inner += piece.length
        return runs, stored

    def _store_segment(self, number: int, runs: Sequence[Run], hold: Hold) -> tuple[SegmentRef, int]:
        if not runs:
            return SegmentRef(number, b"", 0), 0
        data, chunk_count = encode_segment(runs)
        name, stored = self._contents.put(data, hold)
        self._contents.claims.stored(hold, name, [run.chunk for run in runs])
        return SegmentRef(number, name, chunk_count), stored


def _near(pieces: Sequence[Piece]) -> Iterable[list[Piece]]:
    near: list[Piece] = []
    for piece in pieces:
        if near and piece.offset - near[-1].offset - near[-1].length > _NEAR_BYTES:
            yield near
            near = []
        near.append(piece)
    yield near
