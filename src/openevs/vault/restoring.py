"""Writing a backup's bytes back, and reading them only to see whether they are all right.

Slots are handled in order, several at once. A chunk is fetched and checked once while the slots that need it pass by:
pieces of neighbouring slots share one.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from typing import Final, NamedTuple

from openevs.domain.ids import BackupId
from openevs.vault.contents import Contents
from openevs.vault.errors import Damaged
from openevs.vault.index import SEGMENT_BYTES, SLOT_BYTES, Root, Run
from openevs.vault.port import Write, Zero
from openevs.vault.work import Crew, Meter, group, in_thread

_KEPT_CHUNKS: Final = 64
_SLOTS_AT_ONCE: Final = 8


class _Cover(NamedTuple):
    """Bytes of the volume without a gap."""

    offset: int
    runs: list[Run]
    length: int


class Restoring:
    """One backup being written back."""

    def __init__(self, contents: Contents, pool: Executor, root: Root, meter: Meter) -> None:
        self._contents = contents
        self._pool = pool
        self._root = root
        self._backup_id = BackupId(root.backup_id)
        self._meter = meter
        self._kept: OrderedDict[bytes, asyncio.Task[bytes]] = OrderedDict()

    async def run(self, write: Write, zero: Zero) -> None:
        """Write and zero everything, once. Raises Damaged."""
        try:
            async with group() as tasks:
                crew = Crew(tasks, _SLOTS_AT_ONCE)
                end = 0
                for ref in self._root.segments:
                    start = ref.number * SEGMENT_BYTES
                    runs = await in_thread(self._pool, self._contents.segment, ref.name, self._backup_id, start)
                    for cover in _covers(start, runs):
                        if cover.offset > end:
                            await crew.start(lambda a=end, b=cover.offset: self._zero(a, b, zero))  # type: ignore[misc]
                        await crew.start(lambda c=cover: self._write(c, write))  # type: ignore[misc]
                        end = cover.offset + cover.length
                if end < self._root.size_bytes:
                    await crew.start(lambda: self._zero(end, self._root.size_bytes, zero))
        finally:
            await self._forget()

    async def _write(self, cover: _Cover, write: Write) -> None:
        parts, at = [], cover.offset
        for run in cover.runs:
            plain = await self._chunk(run.chunk, at)
            if run.inner + run.length > len(plain):
                raise Damaged(
                    f"chunk {run.chunk.hex()} of backup {self._backup_id} is shorter than the index says",
                    self._backup_id, run.chunk.hex(), at,
                )  # fmt: skip
            parts.append(plain if run.length == len(plain) else memoryview(plain)[run.inner : run.inner + run.length])
            at += run.length
        await write(cover.offset, bytes(parts[0]) if len(parts) == 1 else b"".join(parts))
        self._meter.add(read=cover.length)

    async def _zero(self, start: int, end: int, zero: Zero) -> None:
        await zero(start, end - start)
        self._meter.add(read=end - start)

    async def _chunk(self, name: bytes, offset: int) -> bytes:
        if (task := self._kept.get(name)) is None:
            task = self._kept[name] = asyncio.create_task(self._fetch(name, offset))
            while len(self._kept) > _KEPT_CHUNKS:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(name)
        return await asyncio.shield(task)

    async def _fetch(self, name: bytes, offset: int) -> bytes:
        plain, read = await in_thread(self._pool, self._contents.get, name, self._backup_id, offset)
        self._meter.add(stored=read)
        return plain

    async def _forget(self) -> None:
        if tasks := {task for task in self._kept.values() if not task.done()}:
            await asyncio.wait(tasks)
        for task in self._kept.values():
            if not task.cancelled():
                task.exception()


async def check(contents: Contents, pool: Executor, root: Root, meter: Meter) -> list[str]:
    """Read everything a backup needs; return a sentence for each thing that is damaged."""
    backup_id = BackupId(root.backup_id)
    complaints: list[str] = []
    seen: set[bytes] = set()

    async def look(name: bytes, offset: int) -> None:
        try:
            plain, read = await in_thread(pool, contents.get, name, backup_id, offset)
            meter.add(read=len(plain), stored=read)
        except Damaged as error:
            complaints.append(error.reason)

    async with group() as tasks:
        crew = Crew(tasks, _SLOTS_AT_ONCE)
        for ref in root.segments:
            start = ref.number * SEGMENT_BYTES
            try:
                runs = await in_thread(pool, contents.segment, ref.name, backup_id, start)
            except Damaged as error:
                complaints.append(error.reason)
                continue
            for run in runs:
                if run.chunk not in seen:
                    seen.add(run.chunk)
                    await crew.start(lambda n=run.chunk, at=start + run.offset: look(n, at))  # type: ignore[misc]
    return complaints


def _covers(start: int, runs: Sequence[Run]) -> Iterator[_Cover]:
    """Yield the runs of a segment joined where they touch, no further than a slot's end."""
    joined: list[Run] = []
    for run in runs:
        if joined and (joined[-1].end != run.offset or run.offset % SLOT_BYTES == 0):
            yield _cover(start, joined)
            joined = []
        joined.append(run)
    if joined:
        yield _cover(start, joined)


def _cover(start: int, runs: list[Run]) -> _Cover:
    return _Cover(start + runs[0].offset, runs, runs[-1].end - runs[0].offset)
