"""Snapshots: taken, forgotten, rolled back to.

A snapshot is the layer that was the head when it was taken; forgetting one leaves its layer to the merger."""

from datetime import UTC, datetime

import msgspec
import structlog

from openevs.domain.ids import SnapshotId, VolumeId
from openevs.engine.errors import Busy, Mismatch, Stale
from openevs.engine.layers import manifest
from openevs.engine.layers.core import Volume
from openevs.engine.layers.cut import Cost
from openevs.engine.layers.daemon import Daemon
from openevs.engine.layers.facts import snapshot_facts, volume_facts
from openevs.engine.layers.manifest import Manifest
from openevs.engine.layers.merge import Merger
from openevs.engine.port import SnapshotFacts, SnapshotSpec, VolumeFacts

_log = structlog.get_logger()


class Snapshots:
    """The methods of the contract that are about snapshots."""

    def __init__(self, merger: Merger) -> None:
        self._core = merger.core
        self._merger = merger
        self._serving = merger.serving

    async def ensure(self, spec: SnapshotSpec) -> SnapshotFacts:
        """Freeze the volume, unless it is frozen already."""
        core = self._core
        self.check_owner(spec)
        async with core.lock_of(spec.volume_id):
            volume = core.volume(spec.volume_id)
            found = volume.manifest.snapshots.get(spec.snapshot_id)
            if found is None:
                await self._take(volume, spec)
            elif found.cut_pending:
                await self._serving.see_cut(volume)
            return snapshot_facts(volume.manifest, spec.snapshot_id)

    async def ensure_none(self, snapshot_id: SnapshotId) -> None:
        """Forget the snapshot."""
        core = self._core
        if (owner := core.owners.get(snapshot_id)) is None:
            return
        async with core.lock_of(owner), core.graph.shared():
            volume = core.volumes.get(owner)
            if volume is None or snapshot_id not in volume.manifest.snapshots:
                return
            left = {key: value for key, value in volume.manifest.snapshots.items() if key != snapshot_id}
            await core.commit(volume, snapshots=left)
        core.bell.set()

    async def ensure_reverted(self, volume_id: VolumeId, snapshot_id: SnapshotId, token: int) -> VolumeFacts:
        """Roll the volume back, unless this token has been applied."""
        core = self._core
        async with core.lock_of(volume_id):
            volume = core.volume(volume_id)
            applied = volume.manifest.applied_token
            if token == applied:
                return volume_facts(volume.manifest)
            if token < applied:
                raise Stale(f"volume {volume_id} was reverted with token {applied}; {token} is older")
            if volume.manifest.export is not None:
                raise Busy(f"volume {volume_id} is exported", by=(volume_id,))
            if (snapshot := volume.manifest.snapshots.get(snapshot_id)) is None:
                raise Mismatch(
                    f"volume {volume_id} has no snapshot {snapshot_id}",
                    expected=volume_id, found=core.owners.get(snapshot_id),
                )  # fmt: skip
            await self._merger.release(volume)
            async with core.graph.shared():
                layer = volume.manifest.snapshots[snapshot_id].layer
                core.chain(layer)
                async with core.fresh_layer(volume.manifest.size_bytes, layer) as head:
                    await core.commit(volume, head=head, applied_token=token)
            _log.info("volume_reverted", volume_id=volume_id, snapshot_id=snapshot_id, taken_at=str(snapshot.taken_at))
            core.bell.set()
            return volume_facts(volume.manifest)

    async def inspect(self, snapshot_id: SnapshotId) -> SnapshotFacts | None:
        """Return the snapshot as it is, if it is."""
        core = self._core
        if (owner := core.owners.get(snapshot_id)) is None:
            return None
        async with core.lock_of(owner):
            volume = core.volumes.get(owner)
            found = volume.manifest.snapshots.get(snapshot_id) if volume else None
            if volume is None or found is None:
                return None
            if found.cut_pending:
                await self._serving.see_cut(volume)
            return snapshot_facts(volume.manifest, snapshot_id)

    def check_owner(self, spec: SnapshotSpec) -> None:
        """Raise Mismatch if the id cannot be, or is another volume's."""
        core = self._core
        core.pool.check_name(spec.snapshot_id)
        owner = core.owners.get(spec.snapshot_id, spec.volume_id)
        if owner != spec.volume_id:
            raise Mismatch(
                f"snapshot {spec.snapshot_id} is of volume {owner}, not {spec.volume_id}",
                expected=spec.volume_id, found=owner,
            )  # fmt: skip

    async def _take(self, volume: Volume, spec: SnapshotSpec) -> None:
        core, served = self._core, volume.manifest.export is not None

        def with_snapshot(made: Manifest) -> Manifest:
            taken = manifest.Snapshot(
                made.head, made.size_bytes, datetime.now(UTC), dict(spec.labels), cut_pending=served
            )
            return msgspec.structs.replace(made, snapshots={**made.snapshots, spec.snapshot_id: taken})

        if not served:
            await self._merger.release(volume)
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
                await self._merger.release(volume)
                cost = await self._serving.heads.push(volume, daemon, with_snapshot)

        await self._serving.with_daemon(volume, freeze)
        if cost is None:
            return
        taken = msgspec.structs.replace(
            volume.manifest.snapshots[spec.snapshot_id], cut_pending=False, cut_ms=cost.cut_ms, stall_ms=cost.stall_ms
        )
        volume.manifest = msgspec.structs.replace(
            volume.manifest, snapshots={**volume.manifest.snapshots, spec.snapshot_id: taken}
        )
        volume.dirty = True
        self._serving.tidy(volume)
        _log.info(
            "snapshot_cut", volume_id=spec.volume_id, snapshot_id=spec.snapshot_id,
            cut_ms=cost.cut_ms, stall_ms=cost.stall_ms,
        )  # fmt: skip
