"""What engines with one mistake each have in common: a storage that mistakes can reach, and a check that finds them."""

import asyncio
from dataclasses import replace

import pytest

from openevs.domain.ids import SnapshotId, VolumeId
from openevs.engine.errors import EngineError
from openevs.engine.memory import MemoryEngine, MemoryStorage
from openevs.engine.port import VolumeFacts
from openevs.testing.conformance import CHECKS, ConformanceError, ExportBench, MemoryBench, run_check
from openevs.testing.exporting import ExportingMemoryEngine, ExportingMemoryStorage


class WrongEngine(MemoryEngine):
    """A memory engine."""

    def __init__(self, storage: MemoryStorage) -> None:
        super().__init__(storage)
        self.storage = storage

    def has_snapshot(self, snapshot_id: SnapshotId) -> bool:
        return snapshot_id in self.storage.snapshots

    def set_token(self, volume_id: VolumeId, token: int) -> VolumeFacts:
        volume = self.storage.volumes[volume_id]
        facts = replace(volume.facts, applied_token=token)
        self.storage.volumes[volume_id] = replace(volume, facts=facts)
        return facts

    async def contents(self, object_id: VolumeId | SnapshotId, size: int) -> bytes:
        return await super().read(object_id, 0, size)


class WrongExportingEngine(ExportingMemoryEngine):
    """An exporting one."""

    def __init__(self, storage: ExportingMemoryStorage) -> None:
        super().__init__(storage)
        self.storage = storage

    async def alone(self) -> MemoryEngine:
        """Return an engine on the same storage that knows of no exports."""
        memory = MemoryEngine(self.storage.memory)
        await memory.open()
        return memory


def expect_found(check_name: str, bench: MemoryBench | ExportBench) -> None:
    """See that the check of this name finds the mistake of the engine on a bench, which is not open yet."""
    (check,) = (check for check in CHECKS if check.name == check_name)

    async def run() -> None:
        await bench.open()
        try:
            with pytest.raises((ConformanceError, EngineError, OSError)):
                await run_check(check, bench)
        finally:
            await bench.close()

    asyncio.run(run())
