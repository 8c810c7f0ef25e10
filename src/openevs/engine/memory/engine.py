"""The reference engine: volumes as sparse tables of pages in this process's memory.

It is the shortest complete reading of the contract in `port`, and what the tests of every other part run on. A volume
has a table of pages; a snapshot shares the table of its volume, and the next write to the volume copies the table
first. Nothing is awaited between the first check and the last change of a method, so that each is atomic by itself.

The state is in a `MemoryStorage`, apart from the engine: handing it to a second `MemoryEngine` is a restart.

Here is what every engine has; its powers stand in `contents`, `groups` and `strays`.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from openevs.domain.ids import SnapshotId, VolumeId
from openevs.engine.errors import Busy, Mismatch, Stale
from openevs.engine.memory.contents import Contents
from openevs.engine.memory.groups import Grouping
from openevs.engine.memory.pages import PAGE_BYTES, Pages
from openevs.engine.memory.storage import MAX_VOLUME_BYTES, KeptSnapshot, KeptVolume, check_size
from openevs.engine.memory.strays import Adopting
from openevs.engine.port import (
    Capacity,
    EngineFacts,
    Objects,
    Power,
    SnapshotFacts,
    SnapshotSpec,
    VolumeFacts,
    VolumeSpec,
)

_POWERS: frozenset[Power] = frozenset({"reads", "writes", "changed_blocks", "group_snapshots", "adopts"})


class MemoryEngine(Contents, Grouping, Adopting):
    """An engine with the powers in `_POWERS`, over a `MemoryStorage` (new unless given); `now` dates the snapshots."""

    def describe(self) -> EngineFacts:
        return EngineFacts("memory", "1", "this process", _POWERS, MAX_VOLUME_BYTES)

    async def capacity(self) -> Capacity:
        pool = self._pool()
        tables = [volume.pages for volume in pool.volumes.values()]
        tables += [snapshot.pages for snapshot in pool.snapshots.values()]
        used = PAGE_BYTES * len(set().union(*(table.identities() for table in tables)))
        provisioned = sum(volume.facts.size_bytes for volume in pool.volumes.values())
        return Capacity(pool.total_bytes, max(0, pool.total_bytes - used), provisioned)

    async def ensure_volume(self, spec: VolumeSpec) -> VolumeFacts:
        return self._ensure_volume(spec, Pages)

    async def ensure_volume_from_snapshot(self, spec: VolumeSpec, snapshot_id: SnapshotId) -> VolumeFacts:
        def pages_of_snapshot() -> Pages:
            source = self._snapshot(snapshot_id)
            if spec.size_bytes < source.facts.size_bytes:
                raise Mismatch(
                    f"volume {spec.volume_id} would be smaller than snapshot {snapshot_id}",
                    expected=source.facts.size_bytes,
                    found=spec.size_bytes,
                )
            return source.pages.fork()

        return self._ensure_volume(spec, pages_of_snapshot)

    async def ensure_volume_size(self, volume_id: VolumeId, size_bytes: int) -> VolumeFacts:
        volume = self._volume(volume_id)
        check_size(size_bytes)
        if volume.facts.size_bytes > size_bytes:
            raise Mismatch(
                f"volume {volume_id} is larger than asked for", expected=size_bytes, found=volume.facts.size_bytes
            )
        facts = replace(volume.facts, size_bytes=size_bytes)
        self._pool().volumes[volume_id] = KeptVolume(facts, volume.pages)
        return facts

    async def ensure_no_volume(self, volume_id: VolumeId) -> None:
        pool = self._pool()
        snapshots = tuple(snapshot.facts for snapshot in pool.snapshots.values())
        by = tuple(facts.snapshot_id for facts in snapshots if facts.volume_id == volume_id)
        if by:
            raise Busy(f"volume {volume_id} has snapshots", by)
        kept = (name for name, one in pool.released_snapshots.items() if one.facts.volume_id == volume_id)
        if volume_id in pool.volumes and (names := tuple(sorted(kept))):
            raise Busy(f"volume {volume_id} has snapshots that are not managed: {', '.join(names)}", names)
        pool.volumes.pop(volume_id, None)

    async def ensure_snapshot(self, spec: SnapshotSpec) -> SnapshotFacts:
        pool = self._pool()
        present = pool.snapshots.get(spec.snapshot_id)
        if present is not None:
            if present.facts.volume_id != spec.volume_id:
                raise Mismatch(
                    f"snapshot {spec.snapshot_id} is of another volume",
                    expected=spec.volume_id,
                    found=present.facts.volume_id,
                )
            return present.facts
        volume = self._volume(spec.volume_id)
        facts = SnapshotFacts(spec.snapshot_id, spec.volume_id, volume.facts.size_bytes, self._now(), dict(spec.labels))
        pool.snapshots[spec.snapshot_id] = KeptSnapshot(facts, volume.pages.fork())
        return facts

    async def ensure_no_snapshot(self, snapshot_id: SnapshotId) -> None:
        self._pool().snapshots.pop(snapshot_id, None)

    async def ensure_reverted(self, volume_id: VolumeId, snapshot_id: SnapshotId, token: int) -> VolumeFacts:
        volume = self._volume(volume_id)
        if token < 1:
            raise Mismatch("a revert token is at least 1", expected=1, found=token)
        # The token is looked at before the snapshot: what has been applied stays so when the snapshot is gone.
        if token == volume.facts.applied_token:
            return volume.facts
        if token < volume.facts.applied_token:
            raise Stale(f"volume {volume_id} was reverted with token {volume.facts.applied_token}, now came {token}")
        snapshot = self._snapshot(snapshot_id)
        if snapshot.facts.volume_id != volume_id:
            raise Mismatch(
                f"snapshot {snapshot_id} is of another volume", expected=volume_id, found=snapshot.facts.volume_id
            )
        facts = replace(volume.facts, applied_token=token)
        self._pool().volumes[volume_id] = KeptVolume(facts, snapshot.pages.fork())
        return facts

    async def ensure_labels(self, object_id: VolumeId | SnapshotId, labels: Mapping[str, str]) -> None:
        pool = self._pool()
        if (volume := pool.volumes.get(VolumeId(object_id))) is not None:
            labelled = replace(volume.facts, labels={**volume.facts.labels, **labels})
            pool.volumes[VolumeId(object_id)] = replace(volume, facts=labelled)
        if (snapshot := pool.snapshots.get(SnapshotId(object_id))) is not None:
            frozen = replace(snapshot.facts, labels={**snapshot.facts.labels, **labels})
            pool.snapshots[SnapshotId(object_id)] = replace(snapshot, facts=frozen)

    async def ensure_reached(self, number: int) -> None:
        pool = self._pool()
        pool.reached = max(pool.reached, number)

    async def inspect_volume(self, volume_id: VolumeId) -> VolumeFacts | None:
        volume = self._pool().volumes.get(volume_id)
        return None if volume is None else volume.facts

    async def inspect_snapshot(self, snapshot_id: SnapshotId) -> SnapshotFacts | None:
        snapshot = self._pool().snapshots.get(snapshot_id)
        return None if snapshot is None else snapshot.facts

    async def list_objects(self) -> Objects:
        pool = self._pool()
        return Objects(
            volumes={volume_id: volume.facts for volume_id, volume in pool.volumes.items()},
            snapshots={snapshot_id: snapshot.facts for snapshot_id, snapshot in pool.snapshots.items()},
            reached=pool.reached,
        )

    async def settle(self) -> None:
        self._pool()

    def _ensure_volume(self, spec: VolumeSpec, first_pages: Callable[[], Pages]) -> VolumeFacts:
        present = self._pool().volumes.get(spec.volume_id)
        if present is not None:
            if present.facts.size_bytes != spec.size_bytes:
                raise Mismatch(
                    f"volume {spec.volume_id} exists with another size",
                    expected=spec.size_bytes,
                    found=present.facts.size_bytes,
                )
            return present.facts
        check_size(spec.size_bytes)
        made = KeptVolume(VolumeFacts(spec.volume_id, spec.size_bytes, dict(spec.labels)), first_pages())
        self._pool().volumes[spec.volume_id] = made
        return made.facts
