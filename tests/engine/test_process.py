"""An engine in a process of its own answers as it does here, and can be killed."""

import asyncio
import sys

import pytest

from openevs.domain.ids import SnapshotId, VolumeId, new_uuid
from openevs.engine.errors import Busy, Mismatch, OutcomeUnknown
from openevs.engine.memory import MemoryEngine
from openevs.engine.port import Engine, Exports, Reads, SnapshotSpec, VolumeSpec
from openevs.testing.faulty import Faults, faulty
from openevs.testing.process import EngineProcess, UnexpectedError

SPEC = VolumeSpec(VolumeId(new_uuid()), 8192)


def never_lists() -> Engine:
    faults = Faults()
    faults.hang("list_objects")
    return faulty(MemoryEngine(), faults)


def dies() -> Engine:
    if "openevs.testing.process" in sys.orig_argv:  # not here, where it is only asked for its powers
        sys.exit(1)
    return MemoryEngine()


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


class QuotaError(Exception):
    """Does not survive pickling: it cannot be made from its own `args`."""

    def __init__(self, used: int, allowed: int) -> None:
        super().__init__(f"{used} of {allowed}")


def raises_quota_error() -> Engine:
    faults = Faults()
    faults.fail("capacity", QuotaError(3, 2))
    return faulty(MemoryEngine(), faults)


def test_what_an_engine_must_not_raise_is_told() -> None:
    async def run() -> None:
        process = EngineProcess(raises_quota_error)
        engine = process.engine()
        await engine.open()
        with pytest.raises(UnexpectedError, match="raised QuotaError, which it must not: 3 of 2"):
            await engine.capacity()
        await engine.close()

    asyncio.run(run())


def test_a_process_that_dies_by_itself_is_noticed() -> None:
    async def run() -> None:
        process = EngineProcess(dies)
        engine = process.engine()
        for _ in range(2):
            with pytest.raises(OutcomeUnknown):
                await engine.open()
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
