"""Bench of the layers engine: it runs in a process of its own, and losing it is a SIGKILL."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Collection
from functools import partial
from pathlib import Path

from openevs.engine.layers.daemon import find_running
from openevs.engine.layers.engine import LayersEngine
from openevs.engine.port import Exports, Reads
from openevs.testing.conformance.bench import ConformanceError, ExportBench, ExportingEngine
from openevs.testing.process import EngineProcess


def layers_bench(pool_folder: Path, run_folder: Path) -> ExportBench:
    """Return a bench, not yet open, of the pool in that folder; nobody else may have it open."""
    process = EngineProcess(partial(LayersEngine, pool_folder, run_folder))

    def make() -> ExportingEngine:
        engine = process.engine()
        if isinstance(engine, Exports) and isinstance(engine, Reads):
            return engine
        raise ConformanceError("the layers engine has lost a power")

    async def abandon(_: ExportingEngine) -> None:
        await process.kill()

    async def kill_helpers() -> None:
        # Not what the files of process ids say: a daemon that was killed leaves its own, and the id is used again.
        for _, pid in await asyncio.to_thread(find_running, run_folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    async def residue() -> Collection[str]:
        return await asyncio.to_thread(_files, pool_folder, run_folder)

    async def end() -> None:
        await process.kill()
        await kill_helpers()  # those that a failed check has left; after any other there are none

    return ExportBench(make, abandon=abandon, kill_helpers=kill_helpers, residue=residue, end=end)


def _files(*folders: Path) -> list[str]:
    return [f"{folder.name}/{path.relative_to(folder)}" for folder in folders for path in folder.rglob("*")]
