"""One OpenEVS that can be stopped as a SIGKILL would stop it, at a chosen commit or engine call, and started again.

A process that is dead does nothing more: from the chosen point on, each of its commits and engine calls waits for ever,
and `crash` then takes from it what its end would have taken. What was committed and what storage holds stay.
"""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, TypeVar

import sqlalchemy as sa

from openevs.compose import Application, utc_now
from openevs.domain.backup import TRANSITIONAL_BACKUP_STATUSES, Backup
from openevs.domain.errors import NotFound
from openevs.domain.ids import ProjectId, UserId
from openevs.domain.lifecycle import TRANSITIONAL_SNAPSHOT_STATUSES, TRANSITIONAL_VOLUME_STATUSES
from openevs.domain.model import Caller, Operation, Snapshot, Volume
from openevs.engine.memory import MemoryEngine
from openevs.engine.port import Objects
from openevs.engine.wrap import Call, wrapped
from openevs.operations.catalog import KINDS
from openevs.operations.kind import Kind
from openevs.service.deps import Deps
from openevs.store import tables
from openevs.store.backups import find_backup
from openevs.store.database import Tx
from openevs.store.operations import list_operations
from openevs.store.quotas import recount
from openevs.testing.application import settings_for
from openevs.testing.exporting import ExportingMemoryEngine, ExportingMemoryStorage
from openevs.testing.faulty import Faults, faulty
from openevs.testing.pace import Pace

T = TypeVar("T")
HUNG_SECONDS: Final = 25.0
"""Less than until the next scan, which would hide that a bell was not rung; enough where other work goes on."""
When = Literal["before", "after"]
SETTINGS: Mapping[tuple[str, str], str] = {
    # A scan would commit now and then, and points could not be counted; bells and restarts do all the waking here.
    ("operations", "scan_seconds"): "30",
    ("operations", "retry_seconds"): "0.001",
    ("operations", "attempts"): "3",
    ("operations", "sweep_seconds"): "3600",
}


class Doom:
    """Counts the commits and engine calls of one process from `arm` on, and ends it at one of them."""

    def __init__(self) -> None:
        self.dead = asyncio.Event()
        self.points: list[str] = []
        self._armed = False
        self._at, self._when = 0, "before"

    def arm(self, at: int = 0, when: When = "before") -> None:
        """Begin to count; the process ends before or after its point number `at` (0: never)."""
        self._armed, self._at, self._when = True, at, when

    def disarm(self) -> None:
        """Let the process live, and count no more."""
        self._armed = False

    async def around(self, name: str, go: Callable[[], Awaitable[T]]) -> T:
        """Do a commit or an engine call, or not."""
        if self._armed:
            self.points.append(name)
        here = self._armed and len(self.points) == self._at
        await self._live_or_die(here and self._when == "before")
        result = await go()
        await self._live_or_die(here)
        return result

    async def _live_or_die(self, die: bool) -> None:
        if die:
            self.dead.set()
        if self.dead.is_set():
            await asyncio.Event().wait()


class Stage(AbstractAsyncContextManager["Stage"]):
    """The folder and the storage, which stay, and the process on them, which comes and goes."""

    def __init__(self, folder: Path, kinds: Mapping[str, Kind] = KINDS) -> None:
        self.folder = folder
        self.storage = ExportingMemoryStorage(folder)
        self.faults = Faults()
        self.things: dict[str, str] = {}
        """What a scenario has made, by its own names."""
        self._kinds = kinds

    @classmethod
    def like(cls, folder: Path, other: "Stage", kinds: Mapping[str, Kind] = KINDS) -> "Stage":
        """Return a stage in `folder` on which everything is as on another one, which has been stopped."""
        shutil.copytree(other.folder, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.sock"))
        stage = cls(folder, kinds)
        stage.storage.memory = deepcopy(other.storage.memory)
        stage.storage.exports = {
            key: replace(export, server=None, pace=Pace(export.pace.limits))
            for key, export in other.storage.exports.items()
        }
        stage.things = dict(other.things)
        return stage

    async def __aenter__(self) -> "Stage":
        await self.start(self._kinds)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: Any, traceback: TracebackType | None) -> None:
        if kind is None:
            await self.app.stop()
        else:
            await self.crash()
        await self.storage.stop_serving()

    async def start(self, kinds: Mapping[str, Kind] = KINDS) -> None:
        """Start a process."""
        self._others = asyncio.all_tasks()
        self.doom = Doom()
        engine = faulty(wrapped(ExportingMemoryEngine(self.storage), self._around), self.faults)
        self.app = Application(settings_for(self.folder, SETTINGS), engine, utc_now, kinds=kinds)
        write = self.app.db.write

        async def doomed(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            return await self.doom.around(f"commit {fn.__name__}", lambda: write(fn, *args, **kwargs))

        self.app.db.write = doomed  # type: ignore[method-assign]
        await self.app.start("http://openevs.test")
        if self.app._sweeping is not None:
            self.app._sweeping.cancel()  # it would look at the pool now and then, and points could not be counted

    async def _around(self, call: Call, go: Callable[[], Awaitable[T]], /) -> T:
        return await self.doom.around(f"call {call.method}", go)

    async def crash(self) -> None:
        """Be the end of the process: its tasks, its database connections and its locks are gone."""
        self.doom.dead.set()
        tasks = asyncio.all_tasks() - self._others - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.app.vault.close()
        self.app.db.close()
        self.app._folder_lock.close()

    async def run(self, start: Callable[["Stage"], Awaitable[object]]) -> bool:
        """Do what a client would, and wait for all work; return False if the process has died meanwhile."""
        dead = asyncio.create_task(self.doom.dead.wait())
        work = asyncio.create_task(self._run(start))
        async with asyncio.timeout(HUNG_SECONDS):
            await asyncio.wait({dead, work}, return_when=asyncio.FIRST_COMPLETED)
        dead.cancel()
        if not work.done():
            work.cancel()
            return False
        await work
        return True

    async def _run(self, start: Callable[["Stage"], Awaitable[object]]) -> None:
        await start(self)
        await self.settled()
        while self.app.runner._working:  # noqa: ASYNC110 - the runner may yet die after its last commit
            await asyncio.sleep(0)
        self.doom.disarm()

    async def settled(self, seconds: float = HUNG_SECONDS) -> None:
        """Wait until no operation is open."""
        async with asyncio.timeout(seconds):
            while await self.app.db.read(partial(list_operations, only_open=True, limit=1)):  # noqa: ASYNC110
                await asyncio.sleep(0.002)

    # What a test looks at ---------------------------------------------------------------------------------------

    @property
    def deps(self) -> Deps:
        """What use cases are given."""
        return self.app.deps

    @property
    def caller(self) -> Caller:
        """An administrator."""
        return Caller(UserId("u"), ProjectId("p"), frozenset({"admin"}), "req-1")

    async def volume(self, name: str) -> Volume | None:
        """Return the row of a volume by the scenario's name for it."""
        query = sa.select(*tables.volume.c).where(tables.volume.c.id == self.things[name])
        row = await self.app.db.read(lambda tx: tx.execute(query).first())
        return None if row is None else Volume._make(row)

    async def snapshot(self, name: str) -> Snapshot | None:
        """Return the row of a snapshot by the scenario's name for it."""
        query = sa.select(*tables.snapshot.c).where(tables.snapshot.c.id == self.things[name])
        row = await self.app.db.read(lambda tx: tx.execute(query).first())
        return None if row is None else Snapshot._make(row)

    async def backup(self, name: str) -> Backup | None:
        """Return the row of a backup, if there is one."""
        try:
            return await self.app.db.read(find_backup, self.things[name])
        except NotFound:
            return None

    async def last_operation(self) -> Operation:
        """Return the newest operation."""
        return (await self.app.db.read(partial(list_operations, only_open=False, limit=1)))[0]

    async def objects(self) -> Objects:
        """Return what is on storage."""
        return await (await self._memory()).list_objects()

    async def write(self, name: str, text: str) -> None:
        """Write as a client would."""
        await (await self._memory()).write(self.things[name], 0, text.encode().ljust(512))  # type: ignore[arg-type]

    async def read(self, name: str) -> str:
        """Read a volume's or a snapshot's beginning."""
        return (await (await self._memory()).read(self.things[name], 0, 512)).decode().strip("\0 ")  # type: ignore[arg-type]

    async def _memory(self) -> MemoryEngine:
        engine = MemoryEngine(self.storage.memory)
        await engine.open()
        return engine

    async def check(self) -> None:
        """Check what holds whenever no work is under way."""
        objects = await self.objects()
        exports = set(self.storage.exports)
        await self.app.db.write(_check, objects, exports)


def _check(tx: Tx, objects: Objects, exports: set[Any]) -> None:
    assert list_operations(tx, only_open=True, limit=9) == []
    assert tx.execute(sa.select(tables.operation_claim)).all() == []
    assert recount(tx) == {}
    attached = set(tx.execute(sa.select(tables.attachment.c.volume_id)).scalars())
    assert exports <= attached
    volumes = {row.id: row for row in tx.execute(sa.select(tables.volume))}
    snapshots = {row.id: row for row in tx.execute(sa.select(tables.snapshot))}
    backups = [Backup._make(row) for row in tx.execute(sa.select(tables.backup))]
    assert not {backup.status for backup in backups} & TRANSITIONAL_BACKUP_STATUSES
    bases = {backup.base_snapshot_id for backup in backups}
    for rows, found, transitional in (
        (volumes, objects.volumes, TRANSITIONAL_VOLUME_STATUSES),
        (snapshots, objects.snapshots, TRANSITIONAL_SNAPSHOT_STATUSES),
    ):
        assert not {row.status for row in rows.values()} & transitional
        assert set(found) <= set(rows) | bases, "something is on storage that no row knows"
        for row_id, row in rows.items():
            facts: Any = found.get(row_id)
            if not row.status.startswith("error"):
                assert facts is not None, f"{row_id} is {row.status}, but not on storage"
                assert facts.size_bytes == row.size_gib << 30


def on_stage(folder: Path, act: Callable[[Stage], Awaitable[None]]) -> None:
    """Act on a new stage, and see that all is right at the end."""

    async def main() -> None:
        async with Stage(folder) as stage:
            await act(stage)
            await stage.check()

    asyncio.run(main())
