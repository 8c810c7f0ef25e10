"""Snapshots: one instant, for ever."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from openevs.domain.ids import VolumeId
from openevs.engine.port import Exports, ExportSpec
from openevs.testing.conformance.bench import ConformanceError, EngineBench, expect, expect_equal
from openevs.testing.conformance.twin import SIZE, STEP, Twin

_BLOCK: Final = 4096
_BLOCKS: Final = 37  # a prime, so that the writer's rounds do not fall in step with anything
_MANY: Final = 64


@asynccontextmanager
async def served(bench: EngineBench, volume_id: VolumeId) -> AsyncIterator[None]:
    """Keep the volume exported for a while, if the engine can: writes are then those of a connected client."""
    if isinstance(bench.engine, Exports):
        await bench.engine.ensure_export(ExportSpec(volume_id))
        yield
        if isinstance(bench.engine, Exports):  # asked anew: it may have been reopened
            await bench.engine.ensure_no_export(volume_id)
    else:
        yield


class _Writer:
    """Numbers its writes; what a volume holds then tells how many of them are in."""

    def __init__(self, bench: EngineBench, volume_id: VolumeId) -> None:
        self.begun = 0
        self.acknowledged = 0
        self._enough = False
        self._bench = bench
        self._volume_id = volume_id

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Write all the while. Raises ConformanceError if a write failed."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            # Asked, not cancelled: a write that is cut short would be neither acknowledged nor surely lost.
            self._enough = True
            await asyncio.wait([task])
        if error := task.exception():
            raise ConformanceError(f"a client's write failed under a snapshot: {error!r}") from error

    async def _run(self) -> None:
        while not self._enough:
            await self.write()

    async def write(self) -> None:
        """Write the next number into the next block."""
        self.begun += 1
        block = struct.pack(">Q", self.begun) * (_BLOCK // 8)
        await self._bench.write(self._volume_id, (self.begun % _BLOCKS) * _BLOCK, block)
        self.acknowledged = self.begun


async def check_frozen_while_written(bench: EngineBench) -> None:
    """A snapshot taken under a writing client holds the state after one of its writes: none earlier than the last
    acknowledged before the call, none later than the last begun before the return."""
    twin = Twin(bench)
    volume_id = await twin.volume()
    writer = _Writer(bench, volume_id)
    cuts = []
    async with served(bench, volume_id):
        for _ in range(_BLOCKS):
            await writer.write()
        async with writer.writing():
            for _ in range(4):
                await asyncio.sleep(0.02)
                at_least = writer.acknowledged
                order = twin.snapshot_spec(volume_id)
                await bench.engine.ensure_snapshot(order)
                cuts.append((order.snapshot_id, at_least, writer.begun))
            await asyncio.sleep(0.02)
        for snapshot_id, at_least, at_most in cuts:
            found = await bench.read(snapshot_id, 0, _BLOCKS * _BLOCK)
            state = {found[at * _BLOCK : at * _BLOCK + 8] for at in range(_BLOCKS)}
            last = max(struct.unpack(">Q", number)[0] for number in state)
            expected = {struct.pack(">Q", number) for number in range(last - _BLOCKS + 1, last + 1)}
            expect(
                state == expected, f"a snapshot is no single instant: it holds write {last} but lacks an earlier one"
            )
            for at in range(_BLOCKS):
                block = found[at * _BLOCK : (at + 1) * _BLOCK]
                expect(block == block[:8] * (_BLOCK // 8), "a snapshot holds a torn write")
            expect(last >= at_least, f"a snapshot lacks write {at_least}, acknowledged before; it ends with {last}")
            expect(last <= at_most, f"a snapshot holds write {last}, begun after its return; then {at_most} had begun")


async def check_repeat_is_the_same_moment(bench: EngineBench) -> None:
    """A repeat of ensure_snapshot after further writes, and after a reopening, returns the first moment and bytes."""
    twin = Twin(bench)
    volume_id = await twin.volume()
    await twin.write(volume_id)
    order = twin.snapshot_spec(volume_id)
    first = await bench.engine.ensure_snapshot(order)
    twin.took(order, first)
    await twin.write(volume_id)
    await twin.snapshot(volume_id)
    for when in ("after a write", "after a reopening", "after a growth"):
        again = await bench.engine.ensure_snapshot(order)
        expect_equal((again.taken_at, again.size_bytes), (first.taken_at, first.size_bytes), f"moment, {when}")
        await twin.compare(f"repeat {when}")
        await bench.reopen()
        if when == "after a reopening":
            await twin.grow(volume_id)


async def check_snapshots_are_independent(bench: EngineBench) -> None:
    """Snapshots with and without writes between them, of a volume that grows, each keep their own bytes and size."""
    twin = Twin(bench)
    volume_id = await twin.volume()
    await twin.snapshot(volume_id)
    moments = []
    for number in range(3):
        await twin.write(volume_id, number * 4096, SIZE // 4)
        await twin.snapshot(volume_id)
        snapshot_id = await twin.snapshot(volume_id)
        facts = await bench.engine.inspect_snapshot(snapshot_id)
        moments.append(facts.taken_at if facts else None)
        await twin.grow(volume_id, STEP)
    await twin.compare("seven snapshots")
    expect(all(moments) and sorted(filter(None, moments)) == moments, "moments of later snapshots are earlier")
    for snapshot_id in list(twin.snapshots)[1::2]:
        await twin.remove_snapshot(snapshot_id)
    await twin.compare("every other one deleted")
    await bench.engine.settle()
    await twin.compare("every other one deleted, and settled")
    await bench.reopen()
    await twin.compare("every other one deleted, settled and reopened")


async def check_same_id_at_once(bench: EngineBench) -> None:
    """Five calls for one snapshot id at once, under a writing client, take one snapshot."""
    twin = Twin(bench)
    volume_id = await twin.volume()
    writer = _Writer(bench, volume_id)
    async with served(bench, volume_id):
        for _ in range(_BLOCKS):
            await writer.write()
        order = twin.snapshot_spec(volume_id)
        async with writer.writing():
            facts = await asyncio.gather(*(bench.engine.ensure_snapshot(order) for _ in range(5)))
        expect(len({one.taken_at for one in facts}) == 1, "five calls at once gave more than one moment")
        before = await bench.read(order.snapshot_id, 0, SIZE)
        await writer.write()
        expect(await bench.read(order.snapshot_id, 0, SIZE) == before, "a snapshot changed after it was taken")
    objects = await bench.engine.list_objects()
    made = [facts for facts in objects.snapshots.values() if facts.volume_id == volume_id]
    expect_equal(len(made), 1, "snapshots after five calls for one")
    await asyncio.gather(*(bench.engine.ensure_no_snapshot(order.snapshot_id) for _ in range(3)))
    expect(await bench.engine.inspect_snapshot(order.snapshot_id) is None, "it is there after three deletions at once")


async def check_many_snapshots(bench: EngineBench) -> None:
    """A volume with a long line of snapshots: each keeps its bytes, also while others of them are deleted."""
    twin = Twin(bench)
    volume_id = await twin.volume(SIZE // 2)
    async with served(bench, volume_id):
        for number in range(_MANY):
            await twin.write(volume_id, (number * 37 % 64) * 8192, 4096)
            await twin.snapshot(volume_id)
    for snapshot_id in list(twin.snapshots)[::5]:
        await twin.compare_bytes(snapshot_id, f"{_MANY} snapshots")
    for snapshot_id in list(twin.snapshots)[::3] + list(twin.snapshots)[1::3]:
        await twin.remove_snapshot(snapshot_id)
    await twin.compare("two of three deleted")
    await bench.engine.settle()
    await bench.reopen()
    await twin.compare("two of three deleted, settled and reopened")
