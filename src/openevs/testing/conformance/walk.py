"""A long random life, compared with a plain model."""

import random
from typing import Final

from openevs.domain.ids import SnapshotId, VolumeId
from openevs.engine.port import Exports, ExportSpec, SnapshotSpec, VolumeSpec
from openevs.testing.conformance.bench import EngineBench
from openevs.testing.conformance.twin import LABELS, STEP, Twin

_OPERATIONS: Final = 200
_SEED: Final = 20250101
_MOST_VOLUMES: Final = 4
_MOST_SNAPSHOTS: Final = 12
_LARGEST: Final = 4 * STEP
_COMPARE_EVERY: Final = 20


async def check_random_walk(bench: EngineBench) -> None:
    """Many random operations, with repeats, exports and reopenings among them, leave what a model leaves."""
    await random_walk(bench, _SEED, _OPERATIONS)


async def random_walk(bench: EngineBench, seed: int, operations: int) -> None:
    """Do that many random operations; the same seed does the same ones."""
    walk = _Walk(bench, seed)
    for number in range(operations):
        name = await walk.step()
        if number % _COMPARE_EVERY == _COMPARE_EVERY - 1:
            await walk.twin.compare(f"random walk of seed {seed}, after operation {number} ({name})")
    await walk.end()
    await bench.engine.settle()
    await walk.twin.compare(f"random walk of seed {seed}, at its end")


class _Walk:
    def __init__(self, bench: EngineBench, seed: int) -> None:
        self.twin = Twin(bench)
        self._bench = bench
        self._rng = random.Random(seed)  # noqa: S311 - test data
        self._exported: list[VolumeId] = []
        self._moves = {
            "write": (30, self._write),
            "snapshot": (22, self._snapshot),
            "remove_snapshot": (12, self._remove_snapshot),
            "revert": (10, self._revert),
            "clone": (8, self._clone),
            "volume": (5, self._volume),
            "remove_volume": (3, self._remove_volume),
            "grow": (5, self._grow),
            "repeat": (8, self._repeat),
            "export": (6, self._export),
            "settle": (3, self._settle),
            "reopen": (4, bench.reopen),
        }

    async def step(self) -> str:
        """Do one operation, and return its name."""
        weights = [weight for weight, _ in self._moves.values()]
        name = self._rng.choices(list(self._moves), weights)[0] if self.twin.volumes else "volume"
        await self._moves[name][1]()
        return name

    async def end(self) -> None:
        """End the exports."""
        while self._exported:
            await self._export_end()

    async def _volume(self) -> None:
        if len(self.twin.volumes) < _MOST_VOLUMES:
            await self.twin.volume(self._rng.randint(1, 2) * STEP)

    async def _write(self) -> None:
        volume_id = self._any_volume()
        size = len(self.twin.volumes[volume_id].data)
        offset = self._rng.randrange(0, size, 512)
        length = min(size - offset, 512 * self._rng.choice((1, 7, 16, 300)))
        await self.twin.write(volume_id, offset, length)

    async def _snapshot(self) -> None:
        if len(self.twin.snapshots) < _MOST_SNAPSHOTS:
            await self.twin.snapshot(self._any_volume())

    async def _remove_snapshot(self) -> None:
        if self.twin.snapshots:
            await self.twin.remove_snapshot(self._any_snapshot())

    async def _revert(self) -> None:
        if self.twin.snapshots:
            snapshot_id = self._any_snapshot()
            volume_id = self.twin.snapshots[snapshot_id].volume_id
            if volume_id not in self._exported:
                await self.twin.revert(volume_id, snapshot_id)

    async def _clone(self) -> None:
        if self.twin.snapshots and len(self.twin.volumes) < _MOST_VOLUMES:
            await self.twin.clone(self._any_snapshot(), self._rng.choice((0, 512, STEP)))

    async def _remove_volume(self) -> None:
        volume_id = self._any_volume()
        if volume_id in self._exported:
            return
        for snapshot_id in self.twin.snapshots_of(volume_id):
            await self.twin.remove_snapshot(snapshot_id)
        await self.twin.remove_volume(volume_id)

    async def _grow(self) -> None:
        volume_id = self._any_volume()
        if len(self.twin.volumes[volume_id].data) < _LARGEST:
            await self.twin.grow(volume_id, self._rng.choice((512, STEP)))

    async def _repeat(self) -> None:
        """Ask again for what is there already; the twin stays as it is."""
        engine = self._bench.engine
        volume_id = self._any_volume()
        volume = self.twin.volumes[volume_id]
        await engine.ensure_volume(VolumeSpec(volume_id, len(volume.data), LABELS))
        await engine.ensure_volume_size(volume_id, len(volume.data))
        for snapshot_id in self.twin.snapshots_of(volume_id):
            await engine.ensure_snapshot(SnapshotSpec(snapshot_id, volume_id, LABELS))
            if volume.token and volume_id not in self._exported:
                await engine.ensure_reverted(volume_id, snapshot_id, volume.token)

    async def _export(self) -> None:
        if self._exported:
            await self._export_end()
        elif isinstance(self._bench.engine, Exports):
            volume_id = self._any_volume()
            await self._bench.engine.ensure_export(ExportSpec(volume_id))
            self._exported.append(volume_id)

    async def _export_end(self) -> None:
        volume_id = self._exported.pop()
        if isinstance(self._bench.engine, Exports):
            await self._bench.engine.ensure_no_export(volume_id)

    async def _settle(self) -> None:
        await self._bench.engine.settle()

    def _any_volume(self) -> VolumeId:
        return self._rng.choice(list(self.twin.volumes))

    def _any_snapshot(self) -> SnapshotId:
        return self._rng.choice(list(self.twin.snapshots))
