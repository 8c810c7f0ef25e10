"""The layers engine: the contract of `engine/port.py`, kept with qcow2 layers and manifests.

    snapshot              an empty layer on top of the head becomes the head; the old head is the snapshot
    volume from snapshot  a new volume whose head is an empty layer on the snapshot's layer
    roll back             an empty layer on the snapshot's layer becomes the head
    delete                the manifest forgets; merging and removing layers goes on in the background

Each method commits by one write of one manifest. What it made before and did not commit is an orphan, and is removed
at the next start; what it has yet to do after is found out from the manifest by whoever comes next.
"""

import asyncio
import functools
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import msgspec
import structlog

from openevs.domain.ids import SnapshotId, VolumeId
from openevs.engine.errors import Broken, Busy, EngineError, Mismatch, Stale, Transient
from openevs.engine.layers import checking, exports, manifest, tool
from openevs.engine.layers.core import Core, Volume
from openevs.engine.layers.cut import Cost
from openevs.engine.layers.daemon import Daemon
from openevs.engine.layers.faults import translated
from openevs.engine.layers.graph import LayerId
from openevs.engine.layers.manifest import Manifest
from openevs.engine.layers.opening import Opened
from openevs.engine.layers.serving import Serving
from openevs.engine.layers.settings import LayersSettings
from openevs.engine.port import (
    Capacity,
    EngineFacts,
    ExportFacts,
    ExportSpec,
    Objects,
    SnapshotFacts,
    SnapshotSpec,
    VolumeFacts,
    VolumeSpec,
)

_log = structlog.get_logger()
P = ParamSpec("P")
T = TypeVar("T")


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
    """An engine on one pool folder. Also has the powers `Exports` and `Reads`."""

    def __init__(self, pool_folder: Path, run_folder: Path, settings: LayersSettings | None = None) -> None:
        """`pool_folder` must exist (empty at first); `run_folder` is made: sockets and logs, a short path on any
        file system. Both may be lost and found by a reboot at any time, but only the pool holds what matters."""
        self._settings = settings or LayersSettings()
        self._pool_folder = pool_folder.absolute()
        self._run_folder = run_folder.absolute()
        self._version = "unknown"
        self._calls: set[asyncio.Task[Any]] = set()
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
            "layers", self._version, str(self._pool_folder), frozenset({"exports", "reads"}),
            self._settings.max_volume_bytes, self._open.core.pool.pool_id if self._open else "",
        )  # fmt: skip

    async def capacity(self) -> Capacity:
        core = self._core()
        with translated():
            total_bytes, free_bytes = await asyncio.to_thread(core.pool.room)
        return Capacity(total_bytes, free_bytes, sum(v.manifest.size_bytes for v in core.volumes.values()))

    # Volumes

    @_whole
    async def ensure_volume(self, spec: VolumeSpec) -> VolumeFacts:
        return await self._ensure_volume(spec, None)

    @_whole
    async def ensure_volume_from_snapshot(self, spec: VolumeSpec, snapshot_id: SnapshotId) -> VolumeFacts:
        return await self._ensure_volume(spec, snapshot_id)

    @_whole
    async def ensure_volume_size(self, volume_id: VolumeId, size_bytes: int) -> VolumeFacts:
        core = self._core()
        self._check_size(size_bytes)
        async with core.lock_of(volume_id):
            volume = core.volume(volume_id)
            if size_bytes < volume.manifest.size_bytes:
                raise Mismatch(
                    f"volume {volume_id} has {volume.manifest.size_bytes} bytes; it cannot shrink to {size_bytes}",
                    expected=size_bytes, found=volume.manifest.size_bytes,
                )  # fmt: skip
            if size_bytes > volume.manifest.size_bytes:
                await self._grow(volume, size_bytes)
            return _volume_facts(volume.manifest)

    @_whole
    async def ensure_no_volume(self, volume_id: VolumeId) -> None:
        core = self._core()
        async with core.lock_of(volume_id):
            if (volume := core.volumes.get(volume_id)) is None:
                return
            if volume.manifest.snapshots:
                raise Busy(f"volume {volume_id} has snapshots", by=tuple(sorted(volume.manifest.snapshots)))
            if volume.manifest.export is not None:
                raise Busy(f"volume {volume_id} is exported", by=(volume_id,))
            if volume.daemon is not None:
                await self._serving().stop(volume)
            async with core.graph.shared():
                await asyncio.to_thread(core.pool.remove_manifest, volume_id)
                del core.volumes[volume_id]
                await asyncio.to_thread(volume.files.log.unlink, missing_ok=True)
            core.bell.set()

    # Snapshots

    @_whole
    async def ensure_snapshot(self, spec: SnapshotSpec) -> SnapshotFacts:
        core = self._core()
        core.pool.check_name(spec.snapshot_id)
        if core.owners.get(spec.snapshot_id, spec.volume_id) != spec.volume_id:
            owner = core.owners[spec.snapshot_id]
            raise Mismatch(
                f"snapshot {spec.snapshot_id} is of volume {owner}, not {spec.volume_id}",
                expected=spec.volume_id, found=owner,
            )  # fmt: skip
        async with core.lock_of(spec.volume_id):
            volume = core.volume(spec.volume_id)
            found = volume.manifest.snapshots.get(spec.snapshot_id)
            if found is None:
                await self._take(volume, spec)
            elif found.cut_pending:
                await self._serving().ensure_running(volume)
            return _snapshot_facts(volume.manifest, spec.snapshot_id)

    @_whole
    async def ensure_no_snapshot(self, snapshot_id: SnapshotId) -> None:
        core = self._core()
        if (owner := core.owners.get(snapshot_id)) is None:
            return
        async with core.lock_of(owner), core.graph.shared():
            volume = core.volumes.get(owner)
            if volume is None or snapshot_id not in volume.manifest.snapshots:
                return
            left = {key: value for key, value in volume.manifest.snapshots.items() if key != snapshot_id}
            await core.commit(volume, snapshots=left)
        core.bell.set()

    @_whole
    async def ensure_reverted(self, volume_id: VolumeId, snapshot_id: SnapshotId, token: int) -> VolumeFacts:
        core = self._core()
        async with core.lock_of(volume_id):
            volume = core.volume(volume_id)
            applied = volume.manifest.applied_token
            if token == applied:
                return _volume_facts(volume.manifest)
            if token < applied:
                raise Stale(f"volume {volume_id} was reverted with token {applied}; {token} is older")
            if volume.manifest.export is not None:
                raise Busy(f"volume {volume_id} is exported", by=(volume_id,))
            if (snapshot := volume.manifest.snapshots.get(snapshot_id)) is None:
                raise Mismatch(
                    f"volume {volume_id} has no snapshot {snapshot_id}",
                    expected=volume_id, found=core.owners.get(snapshot_id),
                )  # fmt: skip
            async with core.graph.shared():
                layer = volume.manifest.snapshots[snapshot_id].layer
                core.chain(layer)
                async with core.fresh_layer(volume.manifest.size_bytes, layer) as head:
                    await core.commit(volume, head=head, applied_token=token)
            _log.info("volume_reverted", volume_id=volume_id, snapshot_id=snapshot_id, taken_at=str(snapshot.taken_at))
            core.bell.set()
            return _volume_facts(volume.manifest)

    # What is there

    @_whole
    async def inspect_volume(self, volume_id: VolumeId) -> VolumeFacts | None:
        core = self._core()
        async with core.lock_of(volume_id):
            volume = core.volumes.get(volume_id)
            return _volume_facts(volume.manifest) if volume else None

    @_whole
    async def inspect_snapshot(self, snapshot_id: SnapshotId) -> SnapshotFacts | None:
        core = self._core()
        if (owner := core.owners.get(snapshot_id)) is None:
            return None
        async with core.lock_of(owner):
            volume = core.volumes.get(owner)
            found = volume.manifest.snapshots.get(snapshot_id) if volume else None
            if volume is None or found is None:
                return None
            if found.cut_pending:
                await self._serving().ensure_running(volume)
            return _snapshot_facts(volume.manifest, snapshot_id)

    async def list_objects(self) -> Objects:
        made = [volume.manifest for volume in self._core().volumes.values()]
        return Objects(
            {each.volume_id: _volume_facts(each) for each in made},
            {
                snapshot_id: _snapshot_facts(each, snapshot_id)
                for each in made
                for snapshot_id, snapshot in each.snapshots.items()
                if not snapshot.cut_pending
            },
        )

    @_whole
    async def check(self) -> list[str]:
        return await checking.check_layers(self._core())

    async def settle(self) -> None:
        core = self._core()
        tidiers = [volume.tidier for volume in core.volumes.values() if volume.tidier and not volume.tidier.done()]
        if tidiers:
            await asyncio.wait(tidiers)
        await self._opened().merger.settle()

    # Exports

    @_whole
    async def ensure_export(self, spec: ExportSpec) -> ExportFacts:
        core = self._core()
        async with core.lock_of(spec.volume_id):
            volume = core.volume(spec.volume_id)
            export = volume.manifest.export
            if export is None:
                export = await self._begin_export(volume, spec)
            elif (export.transport, export.read_only) != (spec.transport, spec.read_only):
                raise Mismatch(
                    f"volume {spec.volume_id} is exported in another way",
                    expected=(spec.transport, spec.read_only), found=(export.transport, export.read_only),
                )  # fmt: skip
            else:
                await self._serving().ensure_running(volume)
            return exports.facts(spec.volume_id, export, volume.files)

    @_whole
    async def ensure_no_export(self, volume_id: VolumeId) -> None:
        core = self._core()
        async with core.lock_of(volume_id):
            volume = core.volumes.get(volume_id)
            if volume is None or (volume.manifest.export is None and volume.daemon is None):
                return
            await self._end_export(volume)

    async def list_exports(self) -> Mapping[VolumeId, ExportFacts]:
        return {
            volume_id: exports.facts(volume_id, volume.manifest.export, volume.files)
            for volume_id, volume in self._core().volumes.items()
            if volume.manifest.export is not None
        }

    # Reads

    @_whole
    async def read(self, object_id: VolumeId | SnapshotId, offset_bytes: int, length_bytes: int) -> bytes:
        core = self._core()
        volume_id = core.owners.get(SnapshotId(object_id), VolumeId(object_id))
        async with core.lock_of(volume_id):
            volume = core.volume(volume_id)
            snapshot = volume.manifest.snapshots.get(SnapshotId(object_id))
            if snapshot is None and volume.manifest.export is not None:
                raise Busy(f"volume {volume_id} is exported: read it as a client", by=(volume_id,))
            if snapshot is not None and snapshot.cut_pending:
                await self._serving().ensure_running(volume)
            size = snapshot.size_bytes if snapshot else volume.manifest.size_bytes
            if offset_bytes < 0 or length_bytes < 0 or offset_bytes + length_bytes > size:
                raise Mismatch(f"{object_id} has {size} bytes", expected=offset_bytes + length_bytes, found=size)
            while True:
                top = volume.manifest.layer_of(object_id)
                chain = core.chain(top)
                try:
                    return await self._opened().readers.read(chain, offset_bytes, length_bytes)
                except EngineError:
                    if chain == core.chain(volume.manifest.layer_of(object_id)):
                        raise  # else a layer was merged away while the reader was being opened

    # Parts of the above; they want the volume's lock held

    async def _ensure_volume(self, spec: VolumeSpec, snapshot_id: SnapshotId | None) -> VolumeFacts:
        core = self._core()
        core.pool.check_name(spec.volume_id)
        self._check_size(spec.size_bytes)
        async with core.lock_of(spec.volume_id):
            if (volume := core.volumes.get(spec.volume_id)) is not None:
                if volume.manifest.size_bytes != spec.size_bytes:
                    raise Mismatch(
                        f"volume {spec.volume_id} exists with {volume.manifest.size_bytes} bytes",
                        expected=spec.size_bytes, found=volume.manifest.size_bytes,
                    )  # fmt: skip
                return _volume_facts(volume.manifest)
            async with core.graph.shared():
                parent = self._layer_to_clone(snapshot_id, spec.size_bytes) if snapshot_id else None
                async with core.fresh_layer(spec.size_bytes, parent) as head:
                    made = Manifest(spec.volume_id, spec.size_bytes, head, dict(spec.labels))
                    await asyncio.to_thread(core.pool.write_manifest, made)
                    core.add(made)
            return _volume_facts(made)

    def _layer_to_clone(self, snapshot_id: SnapshotId, size_bytes: int) -> LayerId:
        core = self._core()
        if (owner := core.owners.get(snapshot_id)) is None:
            raise Mismatch(f"there is no snapshot {snapshot_id} in this pool", expected=snapshot_id)
        snapshot = core.volumes[owner].manifest.snapshots[snapshot_id]
        if snapshot.cut_pending:
            raise Transient(f"snapshot {snapshot_id} is not known to be whole yet: its volume's daemon does not answer")
        if size_bytes < snapshot.size_bytes:
            raise Mismatch(
                f"snapshot {snapshot_id} has {snapshot.size_bytes} bytes; {size_bytes} is too small for it",
                expected=size_bytes, found=snapshot.size_bytes,
            )  # fmt: skip
        core.chain(snapshot.layer)
        return snapshot.layer

    async def _take(self, volume: Volume, spec: SnapshotSpec) -> None:
        core, was = self._core(), volume.manifest
        served = was.export is not None

        def with_snapshot(made: Manifest) -> Manifest:
            taken = manifest.Snapshot(
                made.head, made.size_bytes, datetime.now(UTC), dict(spec.labels), cut_pending=served
            )
            return msgspec.structs.replace(made, snapshots={**made.snapshots, spec.snapshot_id: taken})

        if not served:
            await self._opened().merger.release(volume)
            async with core.graph.shared():
                made = volume.manifest
                core.chain(made.head)
                async with core.fresh_layer(made.size_bytes, made.head) as head:
                    await core.commit(volume, head=head, snapshots=with_snapshot(made).snapshots)
            return
        cost: Cost | None = None

        async def freeze(daemon: Daemon) -> None:
            nonlocal cost
            if spec.snapshot_id not in volume.manifest.snapshots:  # else a daemon died, and its successor has it frozen
                await self._opened().merger.release(volume)
                cost = await self._serving().push_head(volume, daemon, with_snapshot)

        await self._serving().with_daemon(volume, freeze)
        if cost is None:
            return
        taken = msgspec.structs.replace(
            volume.manifest.snapshots[spec.snapshot_id], cut_pending=False, cut_ms=cost.cut_ms, stall_ms=cost.stall_ms
        )
        volume.manifest = msgspec.structs.replace(
            volume.manifest, snapshots={**volume.manifest.snapshots, spec.snapshot_id: taken}
        )
        volume.dirty = True
        self._serving().tidy(volume)
        core.bell.set()
        _log.info(
            "snapshot_cut", volume_id=spec.volume_id, snapshot_id=spec.snapshot_id,
            cut_ms=cost.cut_ms, stall_ms=cost.stall_ms,
        )  # fmt: skip

    async def _grow(self, volume: Volume, size_bytes: int) -> None:
        """If served, put a larger head on top. Else grow the head, then say so: between the two it is larger than the
        manifest says, and `open` believes the head."""
        core, serving = self._core(), self._serving()
        if volume.manifest.export is not None:

            async def put_larger(daemon: Daemon) -> None:
                if volume.manifest.size_bytes < size_bytes:
                    await self._opened().merger.release(volume)
                    await serving.grow(volume, daemon, size_bytes)

            await serving.with_daemon(volume, put_larger)
            return
        with core.reserving((volume.manifest.head,)):
            await self._opened().merger.release_layers((volume.manifest.head,))
            with core.reserving((volume.manifest.head,)):
                await self._opened().readers.drop(volume.manifest.head)
                path = core.pool.layer_path(volume.manifest.head)
                await tool.run_tool("qemu-img", "resize", "-q", "-f", "qcow2", str(path), str(size_bytes))
                async with core.graph.shared():
                    await core.commit(volume, size_bytes=size_bytes)

    async def _begin_export(self, volume: Volume, spec: ExportSpec) -> manifest.Export:
        core = self._core()
        volume.files.check()
        taken = {v.manifest.export.port for v in core.volumes.values() if v.manifest.export and v.manifest.export.port}
        export = await asyncio.to_thread(exports.planned, spec, self._settings, taken)
        await self._opened().readers.drop(volume.manifest.head)
        async with core.graph.shared():
            await core.commit(volume, export=export)
        try:
            await self._serving().ensure_running(volume)
        except EngineError:
            await self._end_export(volume)
            raise
        return export

    async def _end_export(self, volume: Volume) -> None:
        async with self._core().graph.shared():
            await self._core().commit(volume, export=None)
        await self._opened().merger.release(volume)
        await self._serving().stop(volume)
        await self._serving().write_facts(volume)
        self._core().bell.set()

    def _check_size(self, size_bytes: int) -> None:
        if size_bytes <= 0 or size_bytes % 512 or size_bytes > self._settings.max_volume_bytes:
            raise Mismatch(
                f"{size_bytes} bytes is no size of a volume: a multiple of 512, at most "
                f"{self._settings.max_volume_bytes}",
                found=size_bytes,
            )

    def _opened(self) -> Opened:
        if self._open is None:
            raise Transient("the engine is not open")
        return self._open

    def _core(self) -> Core:
        return self._opened().core

    def _serving(self) -> Serving:
        return self._opened().merger.serving

    async def _finish(self, call: Coroutine[Any, Any, T]) -> T:
        async def guarded() -> T:
            with translated():
                return await call

        task = asyncio.create_task(guarded())
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(task)


def _volume_facts(made: Manifest) -> VolumeFacts:
    return VolumeFacts(made.volume_id, made.size_bytes, dict(made.labels), made.applied_token)


def _snapshot_facts(made: Manifest, snapshot_id: SnapshotId) -> SnapshotFacts:
    found = made.snapshots[snapshot_id]
    return SnapshotFacts(
        snapshot_id, made.volume_id, found.size_bytes, found.taken_at, dict(found.labels), found.cut_ms, found.stall_ms
    )


async def _qemu_version() -> str:
    try:
        words = (await tool.run_tool("qemu-img", "--version")).split()
    except FileNotFoundError:
        raise Broken("qemu-img is not installed: install the packages qemu-utils and qemu-system-common") from None
    return words[2] if len(words) > 2 else "unknown"
