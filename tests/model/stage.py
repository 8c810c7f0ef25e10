"""The real thing, for the state machine: the whole application in this process, over storage that outlives it.

It can be dropped as a SIGKILL would drop it, at a call of the engine, and opened again on the same data.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import httpx

from openevs.compose import Application
from openevs.domain.ids import SnapshotId, VolumeId
from openevs.engine.memory import MemoryEngine
from openevs.engine.nbd import NbdClient
from openevs.engine.port import Objects, Reads
from openevs.store.operations import list_operations
from openevs.store.quotas import usage_of
from openevs.testing.application import BASE_URL, Client, Running, settings_for
from openevs.testing.exporting import ExportingMemoryEngine, ExportingMemoryStorage
from openevs.testing.faulty import Faults, Hang, faulty
from tests.model.ideal import LARGEST_GIB, QUOTAS

T = TypeVar("T")
BLOCK_BYTES: Final = 4096
VERSION: Final = "3.45"
_QUIET_SECONDS: Final = 20.0
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
SETTINGS: Final[Mapping[tuple[str, str], str]] = {
    ("operations", "retry_seconds"): "0.001",
    ("operations", "scan_seconds"): "0.05",
    ("api", "max_volume_gib"): str(LARGEST_GIB),
    **{("quotas", name): str(limit) for name, limit in QUOTAS.items()},
}


class Ticking:
    """The real time, but never the same twice: lists are sorted by it."""

    def __init__(self) -> None:
        self._last = datetime.now(UTC)

    def __call__(self) -> datetime:
        self._last = max(datetime.now(UTC), self._last + timedelta(microseconds=1))
        return self._last


class Stage:
    """One data folder and what runs on it."""

    def __init__(self, template: Path) -> None:
        self.folder = new_folder()
        shutil.copytree(template, self.folder, dirs_exist_ok=True)
        self.faults = Faults()
        self._storage = ExportingMemoryStorage(self.folder)
        self._clock = Ticking()
        self._loop = asyncio.Runner()
        self.run(self._open())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something in the application's event loop."""
        return self._loop.run(work)

    def close(self) -> None:
        """End everything."""
        self.run(self._drop())
        self.run(self._storage.stop_serving())
        self._loop.close()
        shutil.rmtree(self.folder)

    def call(self, method: str, path: str, body: Any = None, *, admin: bool = False) -> httpx.Response:
        """Send one request as the demo user or the administrator."""
        client = self._admin if admin else self._demo
        return self.run(client.call(method, path, body))

    def quiet(self) -> None:
        """Wait until no work is open."""
        self.run(self._quiet())

    def restart(self, *, clean: bool) -> None:
        """End the application, in good order or not, and start it again on the same data."""
        self.run(self._app.stop() if clean else self._drop())
        self.run(self._open())

    def crash_at(self, hang: Hang) -> None:
        """Drop the application when a call of the engine has got to `hang`, and start it again."""

        async def reached() -> None:
            async with asyncio.timeout(_QUIET_SECONDS):
                await hang.reached.wait()

        self.run(reached())
        self.restart(clean=False)

    def write(self, uri: str, block: int, value: int) -> None:
        """Write one block as a client of a served volume."""

        async def write() -> None:
            async with await NbdClient.connect(uri) as client:
                await client.write(block * BLOCK_BYTES, bytes([value]) * BLOCK_BYTES, fua=True)

        self.run(write())

    def scribble(self, volume_id: str, block: int, value: int) -> None:
        """Write one block as a client that was attached for a moment."""

        async def write() -> None:
            engine = MemoryEngine(self._storage.memory)
            await engine.open()
            await engine.write(VolumeId(volume_id), block * BLOCK_BYTES, bytes([value]) * BLOCK_BYTES)

        self.run(write())

    def blocks(self, wanted: Mapping[str, list[int]]) -> dict[str, dict[int, set[int]]]:
        """Return the byte values in each of these blocks of volumes and snapshots."""

        async def read() -> dict[str, dict[int, set[int]]]:
            engine = cast(Reads, self._app.engine)
            return {
                one: {
                    block: set(await engine.read(cast("VolumeId | SnapshotId", one), block * BLOCK_BYTES, BLOCK_BYTES))
                    for block in blocks
                }
                for one, blocks in wanted.items()
            }

        return self.run(read())

    def objects(self) -> Objects:
        """Return what is on storage."""
        return self.run(self._app.engine.list_objects())

    def exports(self) -> set[str]:
        """Return the volumes that are served."""
        return {str(one) for one in self._storage.exports}

    def usage(self) -> dict[str, int]:
        """Return the usage that is recorded."""
        return self.run(self._app.db.read(usage_of, self._demo.project_id))

    async def _open(self) -> None:
        self._others = asyncio.all_tasks()
        self.faults = Faults()
        engine = faulty(ExportingMemoryEngine(self._storage), self.faults)
        self._app = Application(settings_for(self.folder, SETTINGS), engine, self._clock)
        await self._app.start(BASE_URL)
        http = httpx.AsyncClient(transport=httpx.ASGITransport(app=self._app.asgi), base_url=BASE_URL)
        tokens = (self.folder / "tokens").read_text().split()
        self._demo = Client(http, tokens[0], tokens[2], version=VERSION)
        self._admin = Client(http, tokens[1], tokens[2], version=VERSION)

    async def _drop(self) -> None:
        """Be the end of the process: its tasks, its connections to the database and its lock are gone."""
        tasks = asyncio.all_tasks() - self._others - {asyncio.current_task()}
        for task in tasks:
            if task is not None:
                task.cancel()
        await asyncio.gather(*(task for task in tasks if task is not None), return_exceptions=True)
        self._app.identity.close()
        self._app.db.close()
        self._app._folder_lock.close()

    async def _quiet(self) -> None:
        async with asyncio.timeout(_QUIET_SECONDS):
            while await self._app.db.read(list_operations, only_open=True, limit=1):  # noqa: ASYNC110 - no bell rings
                await asyncio.sleep(0.001)


def new_folder() -> Path:
    """Return an empty folder, in memory where that can be had: what is tested here is not the disk."""
    return Path(tempfile.mkdtemp(prefix="em-", dir=_MEMORY if _MEMORY.is_dir() else None))


def make_template() -> Path:
    """Return a folder with a database after its first start, and tokens for it: each example begins with a copy."""
    folder = new_folder()

    async def first_start() -> None:
        app = Application(settings_for(folder, SETTINGS), ExportingMemoryEngine(ExportingMemoryStorage(folder)))
        made = await app.start(BASE_URL)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app.asgi), base_url=BASE_URL) as http:
            one = Running(app, made, http)
            demo, admin = await one.client(), await one.client(made.admin_user)
        await app.stop()
        (folder / "tokens").write_text(f"{demo.token} {admin.token} {demo.project_id}")

    asyncio.run(first_start())
    return folder
