"""Bytes of the memory engine: the powers `Reads`, `Writes` and `ChangedBlocks`."""

from collections.abc import Sequence

from openevs.domain.ids import SnapshotId, VolumeId
from openevs.engine.errors import Mismatch
from openevs.engine.memory.pages import PAGE_BYTES, Pages
from openevs.engine.memory.storage import Opened, check_range
from openevs.engine.port import Extent


class Contents(Opened):
    """The methods that read and write, and tell what changed."""

    async def read(self, object_id: VolumeId | SnapshotId, offset_bytes: int, length_bytes: int) -> bytes:
        pool = self._pool()
        found = pool.volumes.get(VolumeId(object_id)) or pool.snapshots.get(SnapshotId(object_id))
        if found is None:
            raise Mismatch(f"there is no volume or snapshot {object_id}")
        check_range(offset_bytes, length_bytes, found.facts.size_bytes)
        return found.pages.read(offset_bytes, length_bytes)

    async def write(self, volume_id: VolumeId, offset_bytes: int, data: bytes) -> None:
        """Write as a client of the volume would. Raises Mismatch for an unknown id or a range beyond the end."""
        volume = self._volume(volume_id)
        check_range(offset_bytes, len(data), volume.facts.size_bytes)
        volume.pages.write(offset_bytes, data)

    async def write_zeros(self, volume_id: VolumeId, offset_bytes: int, length_bytes: int) -> None:
        """Make a range read as zeros and take no room, as a client's trim would. Raises as `write` does."""
        volume = self._volume(volume_id)
        check_range(offset_bytes, length_bytes, volume.facts.size_bytes)
        volume.pages.zero(offset_bytes, length_bytes)

    async def flush(self, volume_id: VolumeId) -> None:
        self._pool()

    async def changed_blocks(self, snapshot_id: SnapshotId, since: SnapshotId | None) -> Sequence[Extent]:
        snapshot = self._snapshot(snapshot_id)
        before = self._snapshot(since) if since is not None else None
        if before is not None and before.facts.volume_id != snapshot.facts.volume_id:
            raise Mismatch(
                f"snapshots {snapshot_id} and {since} are of different volumes",
                expected=snapshot.facts.volume_id, found=before.facts.volume_id,
            )  # fmt: skip
        extents: list[Extent] = []
        for number in snapshot.pages.changed(before.pages if before else Pages()):
            start, end = number * PAGE_BYTES, min((number + 1) * PAGE_BYTES, snapshot.facts.size_bytes)
            if extents and extents[-1].offset_bytes + extents[-1].length_bytes == start:
                start = extents.pop().offset_bytes
            if start < end:
                extents.append(Extent(start, end - start))
        return extents
