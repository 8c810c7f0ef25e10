"""An engine in a process of its own answers as it does here, and can be killed."""

import asyncio

import pytest

from openevs.domain.ids import SnapshotId, VolumeId, new_uuid
from openevs.engine.errors import Busy, Mismatch, OutcomeUnknown
from openevs.engine.memory import MemoryEngine
from openevs.engine.port import Engine, Exports, Reads, SnapshotSpec, VolumeSpec
from openevs.testing.faulty import Faults, faulty
from openevs.testing.process import EngineProcess

SPEC = VolumeSpec(VolumeId(new_uuid()), 8192)


def never_lists() -> Engine:
    faults = Faults()
    faults.hang("list_objects")
    return faulty(MemoryEngine(), faults)


def test_calls_facts_and_errors_travel() -> None:
    async def run() -> None:
        process = EngineProcess(MemoryEngine)
        engine = process.engine()
        assert isinstance(engine, Reads)
        assert not isinstance(engine, Exports)
        await engine.open()
        assert engine.describe() == MemoryEngine().describe()
        assert (await engine.ensure_volume(SPEC)).size_bytes == SPEC.size_bytes
        assert await engine.read(SPEC.volume_id, 0, 8192) == bytes(8192)
        snapshot = await engine.ensure_snapshot(SnapshotSpec(SnapshotId(new_uuid()), SPEC.volume_id))
        with pytest.raises(Busy) as busy:
            await engine.ensure_no_volume(SPEC.volume_id)
        assert busy.value.by == (snapshot.snapshot_id,)
        with pytest.raises(Mismatch) as mismatch:
            await engine.ensure_volume_size(SPEC.volume_id, 512)
        assert (mismatch.value.expected, mismatch.value.found) == (512, 8192)
        await engine.close()

    asyncio.run(run())


def test_a_killed_engine_leaves_the_outcome_unknown() -> None:
    async def run() -> None:
        process = EngineProcess(never_lists)
        engine = process.engine()
        await engine.open()
        await engine.ensure_volume(SPEC)
        pending = asyncio.create_task(engine.list_objects())
        await asyncio.sleep(0)
        await process.kill()
        with pytest.raises(OutcomeUnknown):
            await pending
        with pytest.raises(OutcomeUnknown):
            await engine.list_objects()
        await engine.open()
        assert await engine.inspect_volume(SPEC.volume_id) is None
        await process.kill()
        await process.kill()

    asyncio.run(run())


def test_a_cancelled_call_goes_on() -> None:
    async def run() -> None:
        process = EngineProcess(MemoryEngine)
        engine = process.engine()
        await engine.open()
        lost = asyncio.create_task(engine.ensure_volume(SPEC))
        await asyncio.sleep(0)
        lost.cancel()
        await asyncio.gather(lost, return_exceptions=True)
        assert await engine.inspect_volume(SPEC.volume_id) is not None
        await process.kill()

    asyncio.run(run())
