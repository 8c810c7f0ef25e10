"""Engines around an engine: what is wanted of every call, whatever the engine, stacked at the composition root.

    engine = measured(limited(LayersEngine(...), seconds=60), observe)

Each function here returns an engine with exactly the powers of the one it wraps. They all are one function, `wrapped`,
with another `Around`: what is to happen around each call. Build your own (fault injection does, in `testing.faulty`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final, Protocol, TypeVar

from openevs.domain.ids import SnapshotId, VolumeId
from openevs.engine.errors import EngineError, OutcomeUnknown, Transient
from openevs.engine.port import (
    POWERS,
    Adopts,
    Capacity,
    ChangedBlocks,
    Engine,
    EngineFacts,
    ExportFacts,
    Exports,
    ExportSpec,
    Extent,
    GroupSnapshots,
    Limits,
    Objects,
    Power,
    Reads,
    SnapshotFacts,
    SnapshotSpec,
    Stray,
    Throttles,
    VolumeFacts,
    VolumeSpec,
    Writes,
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
    "ensure_labels",
    "ensure_reached",
    "inspect_volume",
    "inspect_snapshot",
    "list_objects",
    "settle",
    "ensure_export",
    "ensure_no_export",
    "list_exports",
    "read",
    "write",
    "write_zeros",
    "flush",
    "changed_blocks",
    "ensure_group_snapshot",
    "ensure_limits",
    "list_strays",
    "ensure_released",
    "ensure_adopted",
    "ensure_snapshot_released",
    "ensure_snapshot_adopted",
)
"""The names an `Around` may see: every asynchronous method of `Engine` and its powers."""

WITHOUT_EFFECT: Final = frozenset(
    {
        "capacity",
        "inspect_volume",
        "inspect_snapshot",
        "list_objects",
        "list_exports",
        "read",
        "changed_blocks",
        "list_strays",
    }
)
"""Methods that only look."""

UNLIMITED: Final = frozenset({"open", "close", "settle", "ensure_adopted", "flush", "changed_blocks"})
"""Methods whose work is as long as what an earlier process left, as a file that is adopted, as what was written, or as
what has changed: a limit would make what is slow endless."""


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
    kinds = [kind for power, kind in _KINDS.items() if isinstance(engine, POWERS[power])] or [_Wrapped]
    # A class for each set of powers, since `isinstance(engine, Exports)` asks the class, and a method that raised
    # Unsupported would lie.
    made: Engine = type("Wrapped", tuple(kinds), {})(engine, around, describe or engine.describe)
    return made


class _Wrapped:
    def __init__(self, engine: Any, around: Around, describe: Callable[[], EngineFacts]) -> None:
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

    async def ensure_labels(self, object_id: VolumeId | SnapshotId, labels: Mapping[str, str]) -> None:
        call = Call("ensure_labels", (object_id, labels))
        await self._around(call, lambda: self._engine.ensure_labels(object_id, labels))

    async def ensure_reached(self, number: int) -> None:
        await self._around(Call("ensure_reached", (number,)), lambda: self._engine.ensure_reached(number))

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
    _engine: Reads

    async def read(self, object_id: VolumeId | SnapshotId, offset_bytes: int, length_bytes: int) -> bytes | bytearray:
        call = Call("read", (object_id, offset_bytes, length_bytes))
        return await self._around(call, lambda: self._engine.read(object_id, offset_bytes, length_bytes))


class _WithExports(_Wrapped):
    _engine: Exports

    async def ensure_export(self, spec: ExportSpec) -> ExportFacts:
        call = Call("ensure_export", (spec,))
        return await self._around(call, lambda: self._engine.ensure_export(spec))

    async def ensure_no_export(self, volume_id: VolumeId) -> None:
        call = Call("ensure_no_export", (volume_id,))
        await self._around(call, lambda: self._engine.ensure_no_export(volume_id))

    async def list_exports(self) -> Mapping[VolumeId, ExportFacts]:
        return await self._around(Call("list_exports", ()), self._engine.list_exports)


class _WithWrites(_Wrapped):
    _engine: Writes

    async def write(self, volume_id: VolumeId, offset_bytes: int, data: bytes) -> None:
        call = Call("write", (volume_id, offset_bytes, data))
        await self._around(call, lambda: self._engine.write(volume_id, offset_bytes, data))

    async def write_zeros(self, volume_id: VolumeId, offset_bytes: int, length_bytes: int) -> None:
        call = Call("write_zeros", (volume_id, offset_bytes, length_bytes))
        await self._around(call, lambda: self._engine.write_zeros(volume_id, offset_bytes, length_bytes))

    async def flush(self, volume_id: VolumeId) -> None:
        await self._around(Call("flush", (volume_id,)), lambda: self._engine.flush(volume_id))


class _WithChangedBlocks(_Wrapped):
    _engine: ChangedBlocks

    async def changed_blocks(self, snapshot_id: SnapshotId, since: SnapshotId | None) -> Sequence[Extent]:
        call = Call("changed_blocks", (snapshot_id, since))
        return await self._around(call, lambda: self._engine.changed_blocks(snapshot_id, since))


class _WithGroupSnapshots(_Wrapped):
    _engine: GroupSnapshots

    async def ensure_group_snapshot(self, specs: Sequence[SnapshotSpec]) -> Sequence[SnapshotFacts]:
        call = Call("ensure_group_snapshot", (specs,))
        return await self._around(call, lambda: self._engine.ensure_group_snapshot(specs))


class _WithThrottles(_Wrapped):
    _engine: Throttles

    async def ensure_limits(self, volume_id: VolumeId, limits: Limits) -> None:
        call = Call("ensure_limits", (volume_id, limits))
        await self._around(call, lambda: self._engine.ensure_limits(volume_id, limits))


class _WithAdopts(_Wrapped):
    _engine: Adopts

    async def list_strays(self) -> Sequence[Stray]:
        return await self._around(Call("list_strays", ()), self._engine.list_strays)

    async def ensure_released(self, volume_id: VolumeId, name: str) -> None:
        call = Call("ensure_released", (volume_id, name))
        await self._around(call, lambda: self._engine.ensure_released(volume_id, name))

    async def ensure_adopted(self, spec: VolumeSpec, name: str) -> VolumeFacts:
        call = Call("ensure_adopted", (spec, name))
        return await self._around(call, lambda: self._engine.ensure_adopted(spec, name))

    async def ensure_snapshot_released(self, snapshot_id: SnapshotId, name: str) -> None:
        call = Call("ensure_snapshot_released", (snapshot_id, name))
        await self._around(call, lambda: self._engine.ensure_snapshot_released(snapshot_id, name))

    async def ensure_snapshot_adopted(self, spec: SnapshotSpec, name: str) -> SnapshotFacts:
        call = Call("ensure_snapshot_adopted", (spec, name))
        return await self._around(call, lambda: self._engine.ensure_snapshot_adopted(spec, name))


_KINDS: Final[Mapping[Power, type[_Wrapped]]] = {
    "exports": _WithExports,
    "reads": _WithReads,
    "writes": _WithWrites,
    "changed_blocks": _WithChangedBlocks,
    "group_snapshots": _WithGroupSnapshots,
    "throttles": _WithThrottles,
    "adopts": _WithAdopts,
}
"""What wraps the methods of each power."""
