"""The layers engine: the contract of `engine/port.py`, kept with qcow2 layers and manifests.

    snapshot              an empty layer on top of the head becomes the head; the old head is the snapshot
    volume from snapshot  a new volume whose head is an empty layer on the snapshot's layer
    roll back             an empty layer on the snapshot's layer becomes the head
    delete                the manifest forgets; merging and removing layers goes on in the background

Each method commits by one write of one manifest. What it made before and did not commit is an orphan, and is removed
at the next start; what it has yet to do after is found out from the manifest by whoever comes next.

Here is the outside: what every call has in common. What each does stands in `volumes`, `snapshots`, `attaching`,
`reads`, `writes`, `changes` and `strays`.
"""

import asyncio
import functools
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from openevs.domain.ids import SnapshotId, VolumeId
from openevs.engine.errors import Broken, OutcomeUnknown, Transient
from openevs.engine.layers import checking, tool
from openevs.engine.layers.core import Core
from openevs.engine.layers.facts import snapshot_facts, volume_facts
from openevs.engine.layers.faults import translated
from openevs.engine.layers.opening import Opened
from openevs.engine.layers.settings import LayersSettings
from openevs.engine.port import (
    Capacity,
    EngineFacts,
    ExportFacts,
    ExportSpec,
    Extent,
    Limits,
    Objects,
    Power,
    SnapshotFacts,
    SnapshotSpec,
    Stray,
    VolumeFacts,
    VolumeSpec,
)

P = ParamSpec("P")
T = TypeVar("T")
_POWERS: frozenset[Power] = frozenset(
    {"exports", "reads", "writes", "changed_blocks", "adopts", "throttles", "group_snapshots"}
)


def _whole(
    method: Callable[Concatenate["LayersEngine", P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate["LayersEngine", P], Coroutine[Any, Any, T]]:
    """Carry the call out to its end even if its caller is cancelled, and let only engine errors out of it.

    A thread cannot be cancelled: were the call to end first, its locks would be free while it still writes."""

    @functools.wraps(method)
    async def run(self: "LayersEngine", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._finish(method(self, *args, **kwargs))

    return run


class LayersEngine:
    """An engine on one pool folder. Also has the powers in `_POWERS`."""

    def __init__(self, pool_folder: Path, run_folder: Path, settings: LayersSettings | None = None) -> None:
        """`pool_folder` must exist (empty at first); `run_folder` is made: sockets and logs, a short path on any
        file system. Both may be lost and found by a reboot at any time, but only the pool holds what matters."""
        self._settings = settings or LayersSettings()
        self._pool_folder = pool_folder.absolute()
        self._run_folder = run_folder.absolute()
        self._version = "unknown"
        self._calls: set[asyncio.Task[Any]] = set()
        self._reaching = asyncio.Lock()
        self._open: Opened | None = None

    # Opening and closing

    async def open(self) -> None:
        if self._open is None:
            with translated():
                self._version = await _qemu_version()
                self._open = await Opened.make(self._pool_folder, self._run_folder, self._settings)

    async def close(self) -> None:
        if self._calls:
            await asyncio.wait(self._calls)
        opened, self._open = self._open, None
        if opened is not None:
            with translated():
                await opened.close()

    def describe(self) -> EngineFacts:
        return EngineFacts(
            "layers", self._version, str(self._pool_folder), _POWERS, self._settings.max_volume_bytes,
            self._open.core.pool.pool_id if self._open else "",
        )  # fmt: skip

    async def capacity(self) -> Capacity:
        core = self._core()
        with translated():
            total_bytes, free_bytes = await asyncio.to_thread(core.pool.room)
        return Capacity(total_bytes, free_bytes, sum(v.manifest.size_bytes for v in core.volumes.values()))

    # Volumes

    @_whole
    async def ensure_volume(self, spec: VolumeSpec) -> VolumeFacts:
        return await self._opened().volumes.ensure(spec, None)

    @_whole
    async def ensure_volume_from_snapshot(self, spec: VolumeSpec, snapshot_id: SnapshotId) -> VolumeFacts:
        return await self._opened().volumes.ensure(spec, snapshot_id)

    @_whole
    async def ensure_volume_size(self, volume_id: VolumeId, size_bytes: int) -> VolumeFacts:
        return await self._opened().volumes.ensure_size(volume_id, size_bytes)

    @_whole
    async def ensure_labels(self, object_id: VolumeId | SnapshotId, labels: Mapping[str, str]) -> None:
        await self._opened().volumes.ensure_labels(object_id, labels)

    @_whole
    async def ensure_no_volume(self, volume_id: VolumeId) -> None:
        await self._opened().volumes.ensure_none(volume_id)

    @_whole
    async def ensure_reached(self, number: int) -> None:
        async with self._reaching:
            await asyncio.to_thread(self._core().pool.reach, number)

    # Snapshots

    @_whole
    async def ensure_snapshot(self, spec: SnapshotSpec) -> SnapshotFacts:
        return await self._opened().snapshots.ensure(spec)

    @_whole
    async def ensure_no_snapshot(self, snapshot_id: SnapshotId) -> None:
        await self._opened().snapshots.ensure_none(snapshot_id)

    @_whole
    async def ensure_reverted(self, volume_id: VolumeId, snapshot_id: SnapshotId, token: int) -> VolumeFacts:
        return await self._opened().snapshots.ensure_reverted(volume_id, snapshot_id, token)

    @_whole
    async def ensure_group_snapshot(self, specs: Sequence[SnapshotSpec]) -> Sequence[SnapshotFacts]:
        return await self._opened().groups.ensure(specs)

    # What is there

    @_whole
    async def inspect_volume(self, volume_id: VolumeId) -> VolumeFacts | None:
        return await self._opened().volumes.inspect(volume_id)

    @_whole
    async def inspect_snapshot(self, snapshot_id: SnapshotId) -> SnapshotFacts | None:
        return await self._opened().snapshots.inspect(snapshot_id)

    async def list_objects(self) -> Objects:
        made = [volume.manifest for volume in self._core().volumes.values()]
        return Objects(
            {each.volume_id: volume_facts(each) for each in made},
            {
                snapshot_id: snapshot_facts(each, snapshot_id)
                for each in made
                for snapshot_id, snapshot in each.snapshots.items()
                if not snapshot.cut_pending
            },
            self._core().pool.reached,
        )

    @_whole
    async def check(self) -> list[str]:
        return await checking.check_layers(self._core())

    async def settle(self) -> None:
        core = self._core()
        tidiers = [volume.tidier for volume in core.volumes.values() if volume.tidier and not volume.tidier.done()]
        if tidiers:
            await asyncio.wait(tidiers)
        await self._opened().groups.settle()
        await self._opened().merger.settle()

    # Exports

    @_whole
    async def ensure_export(self, spec: ExportSpec) -> ExportFacts:
        return await self._opened().attaching.ensure(spec)

    @_whole
    async def ensure_no_export(self, volume_id: VolumeId) -> None:
        await self._opened().attaching.ensure_none(volume_id)

    async def list_exports(self) -> Mapping[VolumeId, ExportFacts]:
        return self._opened().attaching.listed()

    @_whole
    async def ensure_limits(self, volume_id: VolumeId, limits: Limits) -> None:
        await self._opened().attaching.ensure_limits(volume_id, limits)

    # Reads

    @_whole
    async def read(self, object_id: VolumeId | SnapshotId, offset_bytes: int, length_bytes: int) -> bytes | bytearray:
        return await self._opened().reads.read(object_id, offset_bytes, length_bytes)

    # Writes, and what changed

    @_whole
    async def write(self, volume_id: VolumeId, offset_bytes: int, data: bytes) -> None:
        await self._opened().writes.write(volume_id, offset_bytes, data)

    @_whole
    async def write_zeros(self, volume_id: VolumeId, offset_bytes: int, length_bytes: int) -> None:
        await self._opened().writes.write_zeros(volume_id, offset_bytes, length_bytes)

    @_whole
    async def flush(self, volume_id: VolumeId) -> None:
        await self._opened().writes.flush(volume_id)

    @_whole
    async def changed_blocks(self, snapshot_id: SnapshotId, since: SnapshotId | None) -> Sequence[Extent]:
        return await self._opened().changes.changed_blocks(snapshot_id, since)

    # What is nobody's

    @_whole
    async def list_strays(self) -> Sequence[Stray]:
        return await self._opened().strays.listed()

    @_whole
    async def ensure_released(self, volume_id: VolumeId, name: str) -> None:
        await self._opened().strays.release(volume_id, name)

    @_whole
    async def ensure_adopted(self, spec: VolumeSpec, name: str) -> VolumeFacts:
        return await self._opened().strays.adopt(spec, name)

    @_whole
    async def ensure_snapshot_released(self, snapshot_id: SnapshotId, name: str) -> None:
        await self._opened().strays.release_snapshot(snapshot_id, name)

    @_whole
    async def ensure_snapshot_adopted(self, spec: SnapshotSpec, name: str) -> SnapshotFacts:
        return await self._opened().strays.adopt_snapshot(spec, name)

    # Parts of the above

    def _opened(self) -> Opened:
        if self._open is None:
            raise Transient("the engine is not open")
        return self._open

    def _core(self) -> Core:
        return self._opened().core

    async def _finish(self, call: Coroutine[Any, Any, T]) -> T:
        async def guarded() -> T:
            with translated():
                try:
                    await self._see_synced()
                except OutcomeUnknown:
                    call.close()
                    raise
                result = await call
                await self._see_synced()
                return result

        task = asyncio.create_task(guarded())
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(task)

    async def _see_synced(self) -> None:
        if self._open is not None:
            await self._open.core.see_synced()


async def _qemu_version() -> str:
    try:
        words = (await tool.run_tool("qemu-img", "--version")).split()
    except FileNotFoundError:
        raise Broken("qemu-img is not installed: install the packages qemu-utils and qemu-system-common") from None
    return f"QEMU {words[2]}" if len(words) > 2 else "QEMU"
