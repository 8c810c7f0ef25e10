"""Every engine of ours, against the one conformance suite."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from openevs.engine.errors import Broken
from openevs.engine.memory import MemoryEngine, MemoryStorage
from openevs.engine.port import Capacity, Objects, Power
from openevs.testing.conformance import CHECKS, Check, EngineBench, ExportBench, MemoryBench, run_check, run_checks
from openevs.testing.conformance.layers import layers_bench
from openevs.testing.exporting import ExportingMemoryEngine, ExportingMemoryStorage

LIMIT_SECONDS = 180
"""A check takes seconds; one that hangs is to say where."""

MakeBench = Callable[[Path], Awaitable[EngineBench]]


async def memory(_: Path) -> EngineBench:
    return await MemoryBench().open()


async def exporting_memory(folder: Path) -> EngineBench:
    storage = ExportingMemoryStorage(folder)

    async def residue() -> list[str]:
        return await asyncio.to_thread(lambda: [path.name for path in folder.iterdir()])

    return await ExportBench(lambda: ExportingMemoryEngine(storage), residue=residue, end=storage.stop_serving).open()


async def layers(folder: Path) -> EngineBench:
    pool_folder, run_folder = folder / "pool", folder / "run"
    for made in (pool_folder, run_folder):
        await asyncio.to_thread(made.mkdir)
    return await layers_bench(pool_folder, run_folder).open()


ENGINES: dict[str, tuple[MakeBench, frozenset[Power]]] = {
    "memory": (memory, frozenset({"reads", "writes", "changed_blocks", "group_snapshots", "adopts"})),
    "exporting_memory": (
        exporting_memory,
        frozenset({"reads", "exports", "writes", "changed_blocks", "throttles", "group_snapshots", "adopts"}),
    ),
    "layers": (
        layers,
        frozenset({"reads", "exports", "writes", "changed_blocks", "throttles", "group_snapshots", "adopts"}),
    ),
}


@pytest.mark.parametrize(
    ("make", "check"),
    [
        pytest.param(make, check, id=f"{name}-{check.name}")
        for name, (make, powers) in ENGINES.items()
        for check in CHECKS
        if check.needs <= powers
    ],
)
def test_engine(make: MakeBench, check: Check, tmp_path: Path) -> None:
    async def run() -> None:
        async with asyncio.timeout(LIMIT_SECONDS):
            bench = await make(tmp_path)
            try:
                await run_check(check, bench)
            finally:
                await bench.close()

    asyncio.run(run())


def test_run_checks_tells_how_each_check_ended() -> None:
    async def run() -> dict[str, str]:
        async def make() -> EngineBench:
            return await MemoryBench().open()

        return {result.check.name: result.outcome async for result in run_checks(make)}

    outcomes = asyncio.run(run())
    assert list(outcomes) == [check.name for check in CHECKS]
    powers = MemoryBench().engine.describe().powers
    for check in CHECKS:
        assert outcomes[check.name] == ("passed" if check.needs <= powers else "skipped"), check.name


class GivesOut(MemoryEngine):
    """Works until it has a volume, and then not at all."""

    def __init__(self, storage: MemoryStorage) -> None:
        super().__init__(storage)
        self.storage = storage

    async def list_objects(self) -> Objects:
        if self.storage.volumes:
            raise Broken("the pool is gone")
        return await super().list_objects()

    async def capacity(self) -> Capacity:
        if self.storage.volumes:
            raise OSError("no such pool")
        return await super().capacity()


def test_why_a_check_failed_is_told_whatever_is_wrong_with_what_comes_after() -> None:
    """To delete what the check has made it is asked what is there."""

    async def run() -> list[str]:
        async def make() -> EngineBench:
            return await MemoryBench(GivesOut).open()

        return [result.reason async for result in run_checks(make, ["capacity"])]

    assert asyncio.run(run()) == ["OSError: no such pool"]
