"""What the tests of the layers engine share: a pool in a folder, an engine that can be lost, and short verbs."""

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from openevs.domain.ids import GIB, SnapshotId, VolumeId, new_uuid
from openevs.engine.layers import LayersEngine, LayersSettings
from openevs.engine.layers.core import Core, Volume
from openevs.engine.layers.daemon import find_running
from openevs.engine.nbd import NbdClient
from openevs.engine.port import ExportSpec, SnapshotFacts, SnapshotSpec, VolumeSpec
from tests.ports import own_ports

BLOCK = 4096


class Bench:
    """A pool, and the engine that has it open."""

    def __init__(self, folder: Path, settings: LayersSettings) -> None:
        self.pool, self.run = folder / "pool", folder / "run"
        self.pool.mkdir(exist_ok=True)
        self.settings = settings
        self.engine = LayersEngine(self.pool, self.run, settings)

    @property
    def core(self) -> Core:
        return self.engine._core()

    def state(self, volume_id: VolumeId) -> Volume:
        return self.core.volumes[volume_id]

    def pid(self, volume_id: VolumeId) -> int:
        daemon = self.state(volume_id).daemon
        assert daemon is not None
        assert daemon.pid is not None
        return daemon.pid

    def layers(self) -> list[Path]:
        return sorted((self.pool / "layers").iterdir())

    def allocated(self) -> int:
        total = 0
        for path in self.layers():
            with contextlib.suppress(FileNotFoundError):  # one that is being made has another name until it is whole
                total += path.stat().st_blocks * 512
        return total

    async def volume(self, size_bytes: int = GIB) -> VolumeId:
        volume_id = VolumeId(new_uuid())
        await self.engine.ensure_volume(VolumeSpec(volume_id, size_bytes))
        return volume_id

    async def clone(self, snapshot_id: SnapshotId, size_bytes: int = GIB) -> VolumeId:
        volume_id = VolumeId(new_uuid())
        await self.engine.ensure_volume_from_snapshot(VolumeSpec(volume_id, size_bytes), snapshot_id)
        return volume_id

    async def snapshot(self, volume_id: VolumeId) -> SnapshotId:
        return (await self.take(volume_id)).snapshot_id

    async def take(self, volume_id: VolumeId) -> SnapshotFacts:
        return await self.engine.ensure_snapshot(SnapshotSpec(SnapshotId(new_uuid()), volume_id))

    async def connect(self, volume_id: VolumeId) -> NbdClient:
        return await NbdClient.connect((await self.engine.ensure_export(ExportSpec(volume_id))).uri)

    @asynccontextmanager
    async def served(self, volume_id: VolumeId) -> AsyncIterator[NbdClient]:
        async with await self.connect(volume_id) as client:
            yield client
        await self.engine.ensure_no_export(volume_id)

    async def put(self, volume_id: VolumeId, block: int, letter: str) -> None:
        """Write a block of one letter to a volume that is not served."""
        async with self.served(volume_id) as client:
            await client.write(block * BLOCK, letter.encode() * BLOCK, fua=True)

    async def text(self, object_id: VolumeId | SnapshotId, blocks: int) -> str:
        """Return the first letter of each of so many blocks; zeros as dots."""
        data = await self.engine.read(object_id, 0, blocks * BLOCK)
        return "".join(chr(byte) if byte else "." for byte in data[::BLOCK])

    async def lose(self) -> None:
        """Take from the engine what the death of its process would take, and open another."""
        await self.die()
        await self.reopen()

    async def die(self) -> None:
        """Take from the engine what the death of its process would take, in no more orderly a way."""
        opened = self.engine._open
        assert opened is not None
        tasks = [opened.merger._loop, opened.merger._copy]
        tasks += list(opened.groups._placing)
        tasks += [task for volume in opened.core.volumes.values() for task in (volume.watcher, volume.tidier)]
        for task in tasks:
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await task
        for volume in opened.core.volumes.values():
            if volume.later:
                volume.later.cancel()
            if volume.probe:
                await volume.probe.close()
            if volume.daemon:
                await volume.daemon.disconnect()
        await opened.readers.close()
        opened.core.pool.close()

    async def reopen(self) -> None:
        """Open another engine in the place of one that has died."""
        self.engine = LayersEngine(self.pool, self.run, self.settings)
        await self.engine.open()

    def end(self) -> None:
        for _, pid in find_running(self.run):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def on_bench(test: Callable[[Bench], Coroutine[Any, Any, None]], folder: Path | None = None, **settings: Any) -> None:
    """Run a test on a new pool."""
    place = folder or Path(tempfile.mkdtemp(prefix="evs-"))
    first, last = own_ports()
    bench = Bench(place, LayersSettings(**{"tcp_first_port": first, "tcp_last_port": last, **settings}))

    async def main() -> None:
        await bench.engine.open()
        try:
            await asyncio.wait_for(test(bench), 120)
        finally:
            await bench.engine.close()

    try:
        asyncio.run(main())
    finally:
        bench.end()
        if folder is None:
            shutil.rmtree(place)


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 60) -> None:
    """Wait for something to become so."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - a test
            await asyncio.sleep(0.01)
