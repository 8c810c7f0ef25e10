"""What is nobody's in the memory engine: the power `Adopts`."""

from collections.abc import Sequence
from dataclasses import replace

from openevs.domain.ids import SnapshotId, VolumeId
from openevs.engine.errors import Busy, Mismatch
from openevs.engine.memory.storage import Opened
from openevs.engine.port import SnapshotFacts, SnapshotSpec, Stray, VolumeFacts, VolumeSpec


class Adopting(Opened):
    """The methods that let go and take over."""

    async def list_strays(self) -> Sequence[Stray]:
        pool = self._pool()
        volumes = [Stray(name, "volume", one.facts.size_bytes) for name, one in pool.released.items()]
        snapshots = [
            Stray(name, "snapshot", one.facts.size_bytes, one.facts.volume_id)
            for name, one in pool.released_snapshots.items()
        ]
        return sorted([*volumes, *snapshots], key=lambda stray: stray.name)

    async def ensure_released(self, volume_id: VolumeId, name: str) -> None:
        pool = self._pool()
        volume = pool.volumes.get(volume_id)
        if volume is None:
            return
        by = tuple(key for key, one in pool.snapshots.items() if one.facts.volume_id == volume_id)
        if by:
            raise Busy(f"volume {volume_id} has snapshots", by)
        if name in pool.released:
            raise Mismatch(f"there is another stray called {name}")
        pool.released[name] = pool.volumes.pop(volume_id)

    async def ensure_adopted(self, spec: VolumeSpec, name: str) -> VolumeFacts:
        pool = self._pool()
        present = pool.volumes.get(spec.volume_id) or pool.released.get(name)
        if present is None:
            raise Mismatch(f"there is no stray volume {name}")
        if present.facts.size_bytes != spec.size_bytes:
            raise Mismatch(f"{name} has another size", expected=spec.size_bytes, found=present.facts.size_bytes)
        if spec.volume_id in pool.volumes:
            return present.facts
        facts = VolumeFacts(spec.volume_id, spec.size_bytes, dict(spec.labels))
        pool.volumes[spec.volume_id] = replace(pool.released.pop(name), facts=facts)
        for key, one in pool.released_snapshots.items():
            if one.facts.volume_id == present.facts.volume_id:
                pool.released_snapshots[key] = replace(one, facts=replace(one.facts, volume_id=spec.volume_id))
        return facts

    async def ensure_snapshot_released(self, snapshot_id: SnapshotId, name: str) -> None:
        pool = self._pool()
        if snapshot_id not in pool.snapshots:
            return
        if name in pool.released_snapshots:
            raise Mismatch(f"there is another stray called {name}")
        pool.released_snapshots[name] = pool.snapshots.pop(snapshot_id)

    async def ensure_snapshot_adopted(self, spec: SnapshotSpec, name: str) -> SnapshotFacts:
        pool = self._pool()
        present = pool.snapshots.get(spec.snapshot_id) or pool.released_snapshots.get(name)
        if present is None or present.facts.volume_id != spec.volume_id:
            raise Mismatch(f"volume {spec.volume_id} has no stray snapshot {name}")
        if spec.snapshot_id in pool.snapshots:
            return present.facts
        facts = replace(present.facts, snapshot_id=spec.snapshot_id, labels=dict(spec.labels))
        pool.snapshots[spec.snapshot_id] = replace(pool.released_snapshots.pop(name), facts=facts)
        return facts
