"""Volumes: made, grown, deleted. Each is a manifest; its bytes are the chain of layers below its head."""

import asyncio
from collections.abc import Mapping

from msgspec.structs import replace

from openevs.domain.ids import SnapshotId, VolumeId
from openevs.engine.errors import Busy, Mismatch, Transient
from openevs.engine.layers import tool
from openevs.engine.layers.core import Volume
from openevs.engine.layers.daemon import Daemon
from openevs.engine.layers.facts import volume_facts
from openevs.engine.layers.graph import LayerId
from openevs.engine.layers.manifest import Manifest
from openevs.engine.layers.merge import Merger
from openevs.engine.layers.reads import Readers
from openevs.engine.port import VolumeFacts, VolumeSpec


class Volumes:
    """The methods of the contract that are about volumes."""

    def __init__(self, merger: Merger, readers: Readers) -> None:
        self._core = merger.core
        self._merger = merger
        self._serving = merger.serving
        self._readers = readers

    async def ensure(self, spec: VolumeSpec, snapshot_id: SnapshotId | None) -> VolumeFacts:
        """Make the volume exist, with the snapshot's bytes if one is given."""
        core = self._core
        core.pool.check_name(spec.volume_id)
        self._check_size(spec.size_bytes)
        async with core.lock_of(spec.volume_id):
            if (volume := core.volumes.get(spec.volume_id)) is not None:
                if volume.manifest.size_bytes != spec.size_bytes:
                    raise Mismatch(
                        f"volume {spec.volume_id} exists with {volume.manifest.size_bytes} bytes",
                        expected=spec.size_bytes, found=volume.manifest.size_bytes,
                    )  # fmt: skip
                return volume_facts(volume.manifest)
            async with core.graph.shared():
                parent = self._layer_to_clone(snapshot_id, spec.size_bytes) if snapshot_id else None
                async with core.fresh_layer(spec.size_bytes, parent) as head:
                    made = Manifest(spec.volume_id, spec.size_bytes, head, dict(spec.labels))
                    await core.create(made)
            return volume_facts(made)

    async def ensure_size(self, volume_id: VolumeId, size_bytes: int) -> VolumeFacts:
        """Grow the volume."""
        core = self._core
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
            return volume_facts(volume.manifest)

    async def ensure_none(self, volume_id: VolumeId) -> None:
        """Delete the volume."""
        core = self._core
        async with core.lock_of(volume_id):
            if (volume := core.volumes.get(volume_id)) is None:
                return
            if volume.manifest.snapshots:
                raise Busy(f"volume {volume_id} has snapshots", by=tuple(sorted(volume.manifest.snapshots)))
            if kept := tuple(sorted(volume.manifest.released_snapshots)):
                raise Busy(f"volume {volume_id} has snapshots that are not managed: {', '.join(kept)}", by=kept)
            if volume.manifest.export is not None:
                raise Busy(f"volume {volume_id} is exported", by=(volume_id,))
            if volume.daemon is not None:
                await self._serving.stop(volume)
            await self._readers.drop(volume.manifest.head)
            async with core.graph.shared():
                await asyncio.to_thread(core.pool.remove_manifest, volume_id)
                del core.volumes[volume_id]
                await asyncio.to_thread(core.files_of(volume.manifest).log.unlink, missing_ok=True)
            core.bell.set()

    async def ensure_labels(self, object_id: VolumeId | SnapshotId, labels: Mapping[str, str]) -> None:
        """Label a volume, or a snapshot."""
        core = self._core
        volume_id = core.owners.get(SnapshotId(object_id), VolumeId(object_id))
        async with core.lock_of(volume_id), core.graph.shared():
            if (volume := core.volumes.get(volume_id)) is None:
                return
            made = volume.manifest
            if volume_id == object_id:
                if (wanted := {**made.labels, **labels}) != made.labels:
                    await core.commit(volume, labels=wanted)
            elif (taken := made.snapshots.get(SnapshotId(object_id))) is not None:
                labelled = replace(taken, labels={**taken.labels, **labels})
                if labelled != taken:
                    await core.commit(volume, snapshots={**made.snapshots, SnapshotId(object_id): labelled})

    async def inspect(self, volume_id: VolumeId) -> VolumeFacts | None:
        """Return the volume as it is, if it is."""
        async with self._core.lock_of(volume_id):
            volume = self._core.volumes.get(volume_id)
            return volume_facts(volume.manifest) if volume else None

    def _layer_to_clone(self, snapshot_id: SnapshotId, size_bytes: int) -> LayerId:
        core = self._core
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

    async def _grow(self, volume: Volume, size_bytes: int) -> None:
        """If served, put a larger head on top. Else grow the head, then say so: between the two it is larger than the
        manifest says, and `open` believes the head."""
        core = self._core
        if volume.manifest.export is not None:

            async def put_larger(daemon: Daemon) -> None:
                if volume.manifest.size_bytes < size_bytes:
                    await self._merger.release(volume)
                    await self._serving.grow(volume, daemon, size_bytes)

            await self._serving.with_daemon(volume, put_larger)
            return
        with core.reserving((volume.manifest.head,)):
            await self._merger.release_layers((volume.manifest.head,))
            with core.reserving((volume.manifest.head,)):
                await self._readers.drop(volume.manifest.head)
                path = core.pool.layer_path(volume.manifest.head)
                await tool.run_tool("qemu-img", "resize", "-q", "-f", "qcow2", str(path), str(size_bytes))
                async with core.graph.shared():
                    await core.commit(volume, size_bytes=size_bytes)

    def _check_size(self, size_bytes: int) -> None:
        most = self._core.settings.max_volume_bytes
        if size_bytes <= 0 or size_bytes % 512 or size_bytes > most:
            raise Mismatch(
                f"{size_bytes} bytes is no size of a volume: a multiple of 512, at most {most}", found=size_bytes
            )
