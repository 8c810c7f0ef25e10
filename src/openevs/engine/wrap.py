"""Engines around an engine: what is wanted of every call, whatever the engine, stacked at the composition root.

    engine = measured(limited(LayersEngine(...), seconds=60), observe)

Each function here returns an engine with exactly the powers of the one it wraps. They all are one function, `wrapped`,
with another `Around`: what is to happen around each call. Build your own (fault injection does, in `testing.faulty`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Final, Protocol, TypeVar

from openevs.domain.ids import SnapshotId, VolumeId
from openevs.engine.errors import EngineError, OutcomeUnknown, Transient
from openevs.engine.port import (
    Capacity,
    Engine,
    EngineFacts,
    ExportFacts,
    Exports,
    ExportSpec,
    Objects,
    Reads,
    SnapshotFacts,
    SnapshotSpec,
    VolumeFacts,
    VolumeSpec,
)

T = TypeVar("T")

METHODS: Final = (
    "open",
    "close",
    "capacity",
    "ensure_volume",
    "ensure_volume_from_snapshot",
    "ensure_volume_size",
    "ensure_no_volume",
    "ensure_snapshot",
    "ensure_no_snapshot",
    "ensure_reverted",
    "inspect_volume",
    "inspect_snapshot",
    "list_objects",
    "settle",
    "ensure_export",
    "ensure_no_export",
    "list_exports",
    "read",
)
"""The names an `Around` may see: every asynchronous method of `Engine`, `Exports` and `Reads`."""

WITHOUT_EFFECT: Final = frozenset(
    {"capacity", "inspect_volume", "inspect_snapshot", "list_objects", "list_exports", "read"}
)
"""Methods that only look."""

UNLIMITED: Final = frozenset({"open", "close", "settle"})
"""Methods whose work is as long as what an earlier process left: a limit would make a slow start an endless one."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an engine's method."""

    method: str
    arguments: tuple[object, ...]


class Around(Protocol):
    """What happens around each call: await `go()` (or not), return what it returned (or raise)."""

    async def __call__(self, call: Call, go: Callable[[], Awaitable[T]], /) -> T: ...


class Observe(Protocol):
    """Receives each call when it has ended. `outcome` is "ok", the name of an EngineError class, "Cancelled", or
    "Unexpected" for an exception that an engine must not raise."""

    def __call__(self, method: str, outcome: str, seconds: float, /) -> None: ...


def measured(engine: Engine, observe: Observe) -> Engine:
    """Return an engine that reports every call to `observe`."""

    async def around(call: Call, go: Callable[[], Awaitable[T]], /) -> T:
        started = perf_counter()
        outcome = "Unexpected"
        try:
            result = await go()
            outcome = "ok"
        except EngineError as error:
            outcome = type(error).__name__
            raise
        except asyncio.CancelledError:
            outcome = "Cancelled"
            raise
        finally:
            observe(call.method, outcome, perf_counter() - started)
        return result

    return wrapped(engine, around)


def limited(engine: Engine, seconds: float) -> Engine:
    """Return an engine whose calls are cancelled after `seconds`.

    That is OutcomeUnknown, or Transient for a method that only looks: there is nothing to be found out then. The
    methods in `UNLIMITED` are let go on."""

    async def around(call: Call, go: Callable[[], Awaitable[T]], /) -> T:
        if call.method in UNLIMITED:
            return await go()
        try:
            async with asyncio.timeout(seconds) as limit:
                return await go()
        except TimeoutError:
            if not limit.expired():
                raise
            error = Transient if call.method in WITHOUT_EFFECT else OutcomeUnknown
            raise error(f"{call.method} was given up after {seconds:g} s") from None

    return wrapped(engine, around)


def wrapped(engine: Engine, around: Around, describe: Callable[[], EngineFacts] | None = None) -> Engine:
    """Return an engine with the powers of `engine` whose every asynchronous call goes through `around`.

    Its facts are those of `engine`, unless `describe` gives others."""
    describe = describe or engine.describe
    # Four classes, since `isinstance(engine, Exports)` asks the class, and a method that raised Unsupported would lie.
    if isinstance(engine, Exports):
        return (
            _WithBoth(engine, around, describe) if isinstance(engine, Reads) else _WithExports(engine, around, describe)
        )
    return _WithReads(engine, around, describe) if isinstance(engine, Reads) else _Wrapped(engine, around, describe)


class _ReadingEngine(Engine, Reads, Protocol):
    pass


class _ExportingEngine(Engine, Exports, Protocol):
    pass


class _Wrapped:
    def __init__(self, engine: Engine, around: Around, describe: Callable[[], EngineFacts]) -> None:
        self._engine = engine
        self._around = around
        self._describe = describe

    def describe(self) -> EngineFacts:
        return self._describe()

    async def open(self) -> None:
        await self._around(Call("open", ()), self._engine.open)

    async def close(self) -> None:
        await self._around(Call("close", ()), self._engine.close)

    async def capacity(self) -> Capacity:
        return await self._around(Call("capacity", ()), self._engine.capacity)

    async def ensure_volume(self, spec: VolumeSpec) -> VolumeFacts:
        call = Call("ensure_volume", (spec,))
        return await self._around(call, lambda: self._engine.ensure_volume(spec))

    async def ensure_volume_from_snapshot(self, spec: VolumeSpec, snapshot_id: SnapshotId) -> VolumeFacts:
        call = Call("ensure_volume_from_snapshot", (spec, snapshot_id))
        return await self._around(call, lambda: self._engine.ensure_volume_from_snapshot(spec, snapshot_id))

    async def ensure_volume_size(self, volume_id: VolumeId, size_bytes: int) -> VolumeFacts:
        call = Call("ensure_volume_size", (volume_id, size_bytes))
        return await self._around(call, lambda: self._engine.ensure_volume_size(volume_id, size_bytes))

    async def ensure_no_volume(self, volume_id: VolumeId) -> None:
        call = Call("ensure_no_volume", (volume_id,))
        await self._around(call, lambda: self._engine.ensure_no_volume(volume_id))

    async def ensure_snapshot(self, spec: SnapshotSpec) -> SnapshotFacts:
        call = Call("ensure_snapshot", (spec,))
        return await self._around(call, lambda: self._engine.ensure_snapshot(spec))

    async def ensure_no_snapshot(self, snapshot_id: SnapshotId) -> None:
        call = Call("ensure_no_snapshot", (snapshot_id,))
        await self._around(call, lambda: self._engine.ensure_no_snapshot(snapshot_id))

    async def ensure_reverted(self, volume_id: VolumeId, snapshot_id: SnapshotId, token: int) -> VolumeFacts:
        call = Call("ensure_reverted", (volume_id, snapshot_id, token))
        return await self._around(call, lambda: self._engine.ensure_reverted(volume_id, snapshot_id, token))

    async def inspect_volume(self, volume_id: VolumeId) -> VolumeFacts | None:
        call = Call("inspect_volume", (volume_id,))
        return await self._around(call, lambda: self._engine.inspect_volume(volume_id))

    async def inspect_snapshot(self, snapshot_id: SnapshotId) -> SnapshotFacts | None:
        call = Call("inspect_snapshot", (snapshot_id,))
        return await self._around(call, lambda: self._engine.inspect_snapshot(snapshot_id))

    async def list_objects(self) -> Objects:
        return await self._around(Call("list_objects", ()), self._engine.list_objects)

    async def settle(self) -> None:
        await self._around(Call("settle", ()), self._engine.settle)


class _WithReads(_Wrapped):
    def __init__(self, engine: _ReadingEngine, around: Around, describe: Callable[[], EngineFacts]) -> None:
        super().__init__(engine, around, describe)
        self._reads = engine

    async def read(self, object_id: VolumeId | SnapshotId, offset_bytes: int, length_bytes: int) -> bytes:
        call = Call("read", (object_id, offset_bytes, length_bytes))
        return await self._around(call, lambda: self._reads.read(object_id, offset_bytes, length_bytes))


class _WithExports(_Wrapped):
    def __init__(self, engine: _ExportingEngine, around: Around, describe: Callable[[], EngineFacts]) -> None:
        super().__init__(engine, around, describe)
        self._exports = engine

    async def ensure_export(self, spec: ExportSpec) -> ExportFacts:
        call = Call("ensure_export", (spec,))
        return await self._around(call, lambda: self._exports.ensure_export(spec))

    async def ensure_no_export(self, volume_id: VolumeId) -> None:
        call = Call("ensure_no_export", (volume_id,))
        await self._around(call, lambda: self._exports.ensure_no_export(volume_id))

    async def list_exports(self) -> Mapping[VolumeId, ExportFacts]:
        return await self._around(Call("list_exports", ()), self._exports.list_exports)


class _WithBoth(_WithExports, _WithReads):
    pass
