"""Engines around an engine."""

import asyncio
from pathlib import Path

import pytest

from openevs.domain.ids import VolumeId, new_uuid
from openevs.engine.errors import Mismatch, OutcomeUnknown, Transient
from openevs.engine.memory import MemoryEngine
from openevs.engine.port import Engine, Exports, Reads, VolumeSpec
from openevs.engine.wrap import METHODS, limited, measured, wrapped
from openevs.testing.conformance import CHECKS, Check, EngineBench, ExportBench, ExportingEngine, run_check
from openevs.testing.exporting import ExportingMemoryEngine, ExportingMemoryStorage
from openevs.testing.faulty import Faults, faulty

SPEC = VolumeSpec(VolumeId(new_uuid()), 4096)
Outcomes = list[tuple[str, str]]


def ignore(method: str, outcome: str, seconds: float) -> None:
    assert method in METHODS
    assert outcome != "Unexpected"
    assert seconds >= 0


async def opened() -> MemoryEngine:
    engine = MemoryEngine()
    await engine.open()
    return engine


def test_powers_are_those_of_the_engine(tmp_path: Path) -> None:
    reading: Engine = MemoryEngine()
    both: Engine = ExportingMemoryEngine(ExportingMemoryStorage(tmp_path))
    assert isinstance(measured(reading, ignore), Reads)
    assert not isinstance(measured(reading, ignore), Exports)
    for engine in (measured(both, ignore), limited(both, 1), faulty(both, Faults())):
        assert isinstance(engine, Reads)
        assert isinstance(engine, Exports)
        assert engine.describe() == both.describe()


def test_powers_absent_stay_absent() -> None:
    class NeitherPower:
        """The methods of Engine alone: wrapping an engine that has `read`, and hiding it."""

        def __init__(self, inner: MemoryEngine) -> None:
            for name in (*METHODS, "describe"):
                if hasattr(inner, name) and name != "read":
                    setattr(self, name, getattr(inner, name))

    engine = wrapped(NeitherPower(MemoryEngine()), Faults().around)  # type: ignore[arg-type]
    assert not isinstance(engine, Reads)
    assert not isinstance(engine, Exports)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_a_stack_of_wrappers_is_a_conforming_engine(check: Check, tmp_path: Path) -> None:
    async def run() -> None:
        storage = ExportingMemoryStorage(tmp_path)

        def make() -> ExportingEngine:
            engine = measured(limited(faulty(ExportingMemoryEngine(storage), Faults()), 30), ignore)
            assert isinstance(engine, Exports)
            assert isinstance(engine, Reads)
            return engine

        bench: EngineBench = await ExportBench(make, end=storage.stop_serving).open()
        await run_check(check, bench)
        await bench.close()

    asyncio.run(run())


def test_every_outcome_is_measured() -> None:
    async def run() -> Outcomes:
        seen: Outcomes = []
        faults = Faults()
        engine = measured(faulty(await opened(), faults), lambda method, outcome, _: seen.append((method, outcome)))
        await engine.ensure_volume(SPEC)
        with pytest.raises(Mismatch):
            await engine.ensure_volume_size(SPEC.volume_id, 512)
        faults.fail("settle", RuntimeError("a mistake"))
        with pytest.raises(RuntimeError):
            await engine.settle()
        hang = faults.hang("capacity")
        task = asyncio.create_task(engine.capacity())
        await hang.reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return seen

    assert asyncio.run(run()) == [
        ("ensure_volume", "ok"),
        ("ensure_volume_size", "Mismatch"),
        ("settle", "Unexpected"),
        ("capacity", "Cancelled"),
    ]


def test_a_call_without_end_has_an_unknown_outcome() -> None:
    async def run() -> None:
        faults = Faults()
        inner = await opened()
        engine = limited(faulty(inner, faults), 0.01)
        faults.hang("ensure_volume", when="after")
        with pytest.raises(OutcomeUnknown, match=r"ensure_volume was given up after 0\.01 s"):
            await engine.ensure_volume(SPEC)
        assert await engine.inspect_volume(SPEC.volume_id) is not None
        faults.hang("inspect_volume")
        with pytest.raises(Transient):
            await engine.inspect_volume(SPEC.volume_id)

    asyncio.run(run())


def test_background_work_is_not_limited() -> None:
    async def run() -> None:
        faults = Faults()
        engine = limited(faulty(await opened(), faults), 0.01)
        faults.delay("settle", 0.05)
        await engine.settle()

    asyncio.run(run())


def test_an_error_of_the_engine_passes_the_limit() -> None:
    async def run() -> None:
        faults = Faults()
        engine = limited(faulty(await opened(), faults), 10)
        faults.fail("settle", TimeoutError("its own"))
        with pytest.raises(TimeoutError, match="its own"):
            await engine.settle()
        faults.fail("capacity", TimeoutError("its own"))
        with pytest.raises(TimeoutError, match="its own"):
            await engine.capacity()

    asyncio.run(run())
