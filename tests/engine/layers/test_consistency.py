"""Is a snapshot one instant? Writers number what they write; the snapshot must be a state that the disk was in.

(a) One client, one write at a time: a snapshot is the state after exactly one of its writes.
(b) Four clients; each record says what the other three had been acknowledged for. If a snapshot holds a record, it must
    hold all that the record has seen.
(c) The same test finds fault with a copy of the file taken while it is written: it can fail.
"""

import asyncio
import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from openevs.domain.ids import VolumeId
from openevs.engine.nbd import NbdClient
from tests.engine.layers.bench import BLOCK, Bench, on_bench

CLIENTS, SLOTS = 4, 256
STRIDE = 77  # slots are not used in their order


@dataclass
class Writers:
    """Clients that write for as long as they are let."""

    begun: list[int] = field(default_factory=lambda: [0] * CLIENTS)
    acked: list[int] = field(default_factory=lambda: [0] * CLIENTS)
    halt: bool = False

    async def run(self, client: NbdClient, number: int) -> None:
        count = 0
        while not self.halt:
            count += 1
            record = struct.pack(f"<{CLIENTS + 1}Q", count, *self.acked)
            self.begun[number] = count
            at = (number * SLOTS + count * STRIDE % SLOTS) * BLOCK
            await client.write(at, record.ljust(BLOCK, b"."), fua=count % 7 == 0)
            self.acked[number] = count
            if count % 64 == 0:
                await client.flush()

    async def go_on(self, count: int) -> None:
        """Wait until so many more were acknowledged."""
        until = sum(self.acked) + count
        while sum(self.acked) < until:  # noqa: ASYNC110 - a test
            await asyncio.sleep(0.001)


def faults(data: bytes, least: Sequence[int], most: Sequence[int]) -> list[str]:
    """Return what shows that these bytes are no state that the disk was in between the two moments."""
    found, last, records = [], [], []
    for number in range(CLIENTS):
        kept = {}
        for slot in range(SLOTS):
            record = struct.unpack_from(f"<{CLIENTS + 1}Q", data, (number * SLOTS + slot) * BLOCK)
            if record[0]:
                kept[slot] = record[0]
                records.append(record)
        last.append(max(kept.values(), default=0))
        for count in range(max(1, last[-1] - SLOTS + 1), last[-1] + 1):
            if kept.get(count * STRIDE % SLOTS) != count:
                found.append(f"client {number}: write {count} is missing, {last[-1]} is there")
                break
        if not least[number] <= last[number] <= most[number]:
            found.append(f"client {number}: ends at {last[number]}, not within {least[number]}..{most[number]}")
    for record in records:
        found += [f"{seen} of client {n} was seen" for n, seen in enumerate(record[1:]) if seen > last[n]]
    return found


async def start(
    bench: Bench, volume_id: VolumeId, clients: int
) -> tuple[Writers, list[asyncio.Task[None]], list[NbdClient]]:
    connections = [await bench.connect(volume_id) for _ in range(clients)]
    writers = Writers()
    tasks = [asyncio.create_task(writers.run(client, number)) for number, client in enumerate(connections)]
    await writers.go_on(64 * clients)
    return writers, tasks, connections


@pytest.mark.parametrize("clients", [1, CLIENTS])
def test_a_live_snapshot_is_one_instant(clients: int) -> None:
    async def test(bench: Bench) -> None:
        volume_id = await bench.volume(CLIENTS * SLOTS * BLOCK)
        writers, tasks, connections = await start(bench, volume_id, clients)
        taken = []
        for _ in range(10):
            await writers.go_on(random.randrange(1, 100))
            least = list(writers.acked)
            snapshot_id = await bench.snapshot(volume_id)
            taken.append((snapshot_id, least, list(writers.begun)))
        writers.halt = True
        await asyncio.gather(*tasks)
        for client in connections:
            await client.close()
        for snapshot_id, least, most in taken:
            data = bytes(await bench.engine.read(snapshot_id, 0, CLIENTS * SLOTS * BLOCK))
            assert faults(data, least, most) == []

    on_bench(test)


def test_a_copy_under_writing_is_found_at_fault() -> None:
    async def test(bench: Bench) -> None:
        volume_id = await bench.volume(CLIENTS * SLOTS * BLOCK)
        writers, tasks, connections = await start(bench, volume_id, CLIENTS)
        found = False
        while not found:  # a copy may be right by chance
            least = list(writers.acked)
            async with await bench.connect(volume_id) as reader:
                parts = []
                for at in range(0, CLIENTS * SLOTS * BLOCK, 64 * BLOCK):
                    parts.append(await reader.read(at, 64 * BLOCK))
                    await writers.go_on(10)
            found = bool(faults(b"".join(parts), least, list(writers.begun)))
        writers.halt = True
        await asyncio.gather(*tasks)
        for client in connections:
            await client.close()

    on_bench(test)
