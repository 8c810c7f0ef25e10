"""A group snapshot of many attached volumes against that of one: at the engine, where a client waits for it.

Both run in turns on the same daemons: sixteen volumes that are served together, of which one is the peer's. A few
blocks are written to each before every round, as a guest would; what is timed is the engine's whole call."""

import asyncio
import random
import time
from collections.abc import Sequence
from pathlib import Path

from bench.figures import Row, Samples, milliseconds
from bench.rig import GIB, Rig
from openevs.domain.ids import SnapshotId, VolumeId, new_uuid
from openevs.engine.layers import LayersEngine
from openevs.engine.nbd import NbdClient
from openevs.engine.port import ExportSpec, SnapshotFacts, SnapshotSpec, VolumeSpec

VOLUMES = 16
_REACH = 4.0
_WRITES = 16
_SETTLE_SECONDS = 0.05


def measure(rig: Rig) -> list[Row]:
    """Return the rows about a group snapshot."""
    return asyncio.run(_measure(rig.folder / "groups", rig.rounds(40)))


async def _measure(folder: Path, rounds: int) -> list[Row]:
    (folder / "pool").mkdir(parents=True)
    engine = LayersEngine(folder / "pool", folder / "run")
    await engine.open()
    volumes = [VolumeId(new_uuid()) for _ in range(VOLUMES)]
    clients: list[NbdClient] = []
    try:
        for volume_id in volumes:
            await engine.ensure_volume(VolumeSpec(volume_id, GIB))
            facts = await engine.ensure_export(ExportSpec(volume_id, together="bench"))
            clients.append(await NbdClient.connect(facts.uri))
            await _scatter(clients[-1:], 500)
        return await _rows(engine, volumes, clients, rounds)
    finally:
        for client in clients:
            await client.close()
        for volume_id in volumes:
            await engine.ensure_no_export(volume_id)
        await engine.close()


async def _rows(
    engine: LayersEngine, volumes: Sequence[VolumeId], clients: Sequence[NbdClient], rounds: int
) -> list[Row]:
    taken: dict[int, list[tuple[float, SnapshotFacts]]] = {1: [], VOLUMES: []}
    for number in range(rounds):
        for count in random.sample(sorted(taken), 2):
            await _scatter(clients, _WRITES)
            await engine.settle()
            await asyncio.sleep(_SETTLE_SECONDS)
            first = number % VOLUMES if count == 1 else 0
            specs = [SnapshotSpec(SnapshotId(new_uuid()), each) for each in volumes[first : first + count]]
            began = time.perf_counter()
            facts = await _take(engine, specs)
            taken[count].append((time.perf_counter() - began, facts))
    whole = {count: milliseconds([took for took, _ in found]) for count, found in taken.items()}
    cuts = {count: Samples(tuple(facts.cut_ms or 0.0 for _, facts in found), "ms") for count, found in taken.items()}
    against = "of one of them"
    what = f"group snapshot of {VOLUMES} attached volumes"
    return [
        Row(f"{what}, the cut", cuts[VOLUMES], against, cuts[1], _REACH),
        Row(f"{what}, all of it", whole[VOLUMES], against, whole[1], _REACH),
    ]


async def _take(engine: LayersEngine, specs: Sequence[SnapshotSpec]) -> SnapshotFacts:
    if len(specs) == 1:
        return await engine.ensure_snapshot(specs[0])
    return (await engine.ensure_group_snapshot(specs))[0]


async def _scatter(clients: Sequence[NbdClient], writes: int) -> None:
    for client in clients:
        for _ in range(writes):
            await client.write(random.randrange(GIB // 4096) * 4096, b"\x5a" * 4096)  # noqa: S311
