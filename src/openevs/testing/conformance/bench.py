"""What a check works with: an engine, a way to write to its volumes, and a way to lose it as a crash would."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection
from typing import Protocol, TypeVar

from openevs.domain.ids import SnapshotId, VolumeId
from openevs.engine.errors import EngineError
from openevs.engine.memory import MemoryEngine, MemoryStorage
from openevs.engine.nbd import NbdClient
from openevs.engine.port import Engine, Exports, ExportSpec, Reads

T = TypeVar("T")
E = TypeVar("E", bound=EngineError)
ObjectId = VolumeId | SnapshotId


class ConformanceError(Exception):
    """An engine does not do what the contract in `engine.port` says; the text says what and when."""


class EngineBench(Protocol):
    """An engine on the bench. Only what carries an id made by the check is touched, so a pool in use may be checked."""

    @property
    def engine(self) -> Engine:
        """The open engine; another object after `reopen`."""

    async def reopen(self) -> None:
        """Drop the engine without closing it, as a crash of our process would, and open a new one on its storage."""

    async def write(self, volume_id: VolumeId, offset_bytes: int, data: bytes) -> None:
        """Write as a client of the volume does, flushed; the volume may be exported already or not."""

    async def read(self, object_id: ObjectId, offset_bytes: int, length_bytes: int) -> bytes:
        """Read a volume, exported or not, or a snapshot."""

    async def kill_helpers(self) -> None:
        """SIGKILL every helper process of the engine; nothing if there are none."""

    async def residue(self) -> Collection[str]:
        """Return names of all things on storage, none if that cannot be known; what a check adds must go with it."""

    async def close(self) -> None:
        """Close the engine and end what the bench has begun."""


class MemoryBench:
    """Bench of a memory engine: writes go straight into its storage.

    `make` is for deliberately wrong engines; they must keep their state in the storage they are given."""

    def __init__(self, make: Callable[[MemoryStorage], MemoryEngine] = MemoryEngine) -> None:
        self._make = make
        self._storage = MemoryStorage()
        self._engine = make(self._storage)

    @property
    def engine(self) -> MemoryEngine:
        return self._engine

    async def open(self) -> "MemoryBench":
        await self._engine.open()
        return self

    async def reopen(self) -> None:
        self._engine = self._make(self._storage)
        await self._engine.open()

    async def write(self, volume_id: VolumeId, offset_bytes: int, data: bytes) -> None:
        await self._engine.write(volume_id, offset_bytes, data)
        await asyncio.sleep(0)

    async def read(self, object_id: ObjectId, offset_bytes: int, length_bytes: int) -> bytes:
        return await self._engine.read(object_id, offset_bytes, length_bytes)

    async def kill_helpers(self) -> None:
        pass

    async def residue(self) -> Collection[str]:
        return ()

    async def close(self) -> None:
        await self._engine.close()


class ExportingEngine(Engine, Exports, Reads, Protocol):
    """What `ExportBench` needs."""


async def _nothing() -> None:
    pass


async def _no_residue() -> Collection[str]:
    return ()


async def _forget(_: ExportingEngine) -> None:
    pass


class ExportBench:
    """Bench of an engine that exports and reads: writes go through an NBD client, as a real client's would.

    `make` returns a new engine, not yet opened, on always the same storage. `abandon` takes from a dropped engine what
    the death of its process would have taken (locks, tasks), in no more orderly a way."""

    def __init__(
        self,
        make: Callable[[], ExportingEngine],
        *,
        abandon: Callable[[ExportingEngine], Awaitable[None]] = _forget,
        kill_helpers: Callable[[], Awaitable[None]] = _nothing,
        residue: Callable[[], Awaitable[Collection[str]]] = _no_residue,
        end: Callable[[], Awaitable[None]] = _nothing,
    ) -> None:
        self._make = make
        self._abandon = abandon
        self._kill_helpers = kill_helpers
        self._residue = residue
        self._end = end
        self._engine = make()

    @property
    def engine(self) -> ExportingEngine:
        return self._engine

    async def open(self) -> "ExportBench":
        await self._engine.open()
        return self

    async def reopen(self) -> None:
        await self._abandon(self._engine)
        self._engine = self._make()
        await self._engine.open()

    async def write(self, volume_id: VolumeId, offset_bytes: int, data: bytes) -> None:
        exported = (await self._engine.list_exports()).get(volume_id)
        facts = exported or await self._engine.ensure_export(ExportSpec(volume_id))
        try:
            async with await NbdClient.connect(facts.uri) as client:
                await client.write(offset_bytes, data)
                await client.flush()
        finally:
            if exported is None:
                await self._engine.ensure_no_export(volume_id)

    async def read(self, object_id: ObjectId, offset_bytes: int, length_bytes: int) -> bytes:
        exported = (await self._engine.list_exports()).get(VolumeId(object_id))
        if exported is None:
            return bytes(await self._engine.read(object_id, offset_bytes, length_bytes))
        async with await NbdClient.connect(exported.uri) as client:
            return await client.read(offset_bytes, length_bytes)

    async def kill_helpers(self) -> None:
        await self._kill_helpers()

    async def residue(self) -> Collection[str]:
        return await self._residue()

    async def close(self) -> None:
        try:
            await self._engine.close()
        finally:
            await self._end()


def expect(condition: bool, text: str) -> None:
    """Raise ConformanceError with `text` unless `condition` holds."""
    if not condition:
        raise ConformanceError(text)


def expect_equal(found: object, expected: object, what: str) -> None:
    """Raise ConformanceError unless the two are equal."""
    expect(found == expected, f"{what}: expected {expected!r}, found {found!r}")


async def expect_error(kind: type[E], call: Awaitable[object], what: str) -> E:
    """Await `call`, which must raise exactly `kind`, and return the error."""
    try:
        result = await call
    except EngineError as error:
        if type(error) is not kind:
            text = f"{what}: expected {kind.__name__}, found {type(error).__name__} ({error.reason})"
            raise ConformanceError(text) from error
        return error
    raise ConformanceError(f"{what}: expected {kind.__name__}, but it succeeded with {result!r}")


async def interrupted(call: Awaitable[T], after_seconds: float) -> None:
    """Begin `call`, cancel it after that time (0 lets it run to its first wait), and see it end."""
    task = asyncio.ensure_future(call)
    await asyncio.sleep(after_seconds)
    task.cancel()
    # Whatever it says is of no use: a caller that was killed did not hear it either.
    with contextlib.suppress(asyncio.CancelledError, EngineError):
        await task


def exports_of(bench: EngineBench) -> Exports:
    """Return the engine as one that exports; for checks that need the power."""
    engine = bench.engine
    if not isinstance(engine, Exports):
        raise ConformanceError("the engine says that it exports, but has no such methods")
    return engine
