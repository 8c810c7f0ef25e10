"""The checks of writing without a client, and of telling what changed: engines with one mistake each."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from openevs.domain.ids import SnapshotId, VolumeId
from openevs.engine.errors import Mismatch
from openevs.engine.memory import MemoryEngine, MemoryStorage
from openevs.engine.port import Extent
from openevs.testing.conformance import MemoryBench
from openevs.testing.conformance.twin import SIZE
from tests.engine.mistakes import WrongEngine, expect_found


class ChangesMissOne(WrongEngine):
    async def changed_blocks(self, snapshot_id: SnapshotId, since: SnapshotId | None) -> Sequence[Extent]:
        return (await super().changed_blocks(snapshot_id, since))[1:]


class ChangesAreTooShort(WrongEngine):
    async def changed_blocks(self, snapshot_id: SnapshotId, since: SnapshotId | None) -> Sequence[Extent]:
        found = await super().changed_blocks(snapshot_id, since)
        return [replace(extent, length_bytes=min(extent.length_bytes, 4096)) for extent in found]


class ChangesSinceAreThoseOfTheLast(WrongEngine):
    """Believes that every snapshot was taken after the one that it is compared with, and nothing rolled back."""

    async def changed_blocks(self, snapshot_id: SnapshotId, since: SnapshotId | None) -> Sequence[Extent]:
        found = await super().changed_blocks(snapshot_id, since)
        order = list(self.storage.snapshots)
        return [] if since is not None and order.index(since) > order.index(snapshot_id) else found


class ChangesOverlap(WrongEngine):
    async def changed_blocks(self, snapshot_id: SnapshotId, since: SnapshotId | None) -> Sequence[Extent]:
        found = await super().changed_blocks(snapshot_id, since)
        return [*found, *found[-1:]]


class ChangesAcrossVolumes(WrongEngine):
    async def changed_blocks(self, snapshot_id: SnapshotId, since: SnapshotId | None) -> Sequence[Extent]:
        try:
            return await super().changed_blocks(snapshot_id, since)
        except Mismatch:
            return [Extent(0, 4096)]


class ChangesForgetTheSource(WrongEngine):
    """Tells of a clone what was written to it since."""

    async def changed_blocks(self, snapshot_id: SnapshotId, since: SnapshotId | None) -> Sequence[Extent]:
        found = await super().changed_blocks(snapshot_id, since)
        return [extent for extent in found if extent.offset_bytes != SIZE // 2]


class WritesLate(WrongEngine):
    async def write(self, volume_id: VolumeId, offset_bytes: int, data: bytes) -> None:
        if len(data) == 512:
            asyncio.get_running_loop().call_later(0.01, self._late, volume_id, offset_bytes, data)
        else:
            await super().write(volume_id, offset_bytes, data)

    def _late(self, volume_id: VolumeId, offset_bytes: int, data: bytes) -> None:
        if volume_id in self.storage.volumes:
            self.storage.volumes[volume_id].pages.write(offset_bytes, data)


class ZerosWholePages(WrongEngine):
    async def write_zeros(self, volume_id: VolumeId, offset_bytes: int, length_bytes: int) -> None:
        start = offset_bytes - offset_bytes % 4096
        await super().write_zeros(volume_id, start, offset_bytes + length_bytes - start)


class WritesBeyondTheEnd(WrongEngine):
    async def write(self, volume_id: VolumeId, offset_bytes: int, data: bytes) -> None:
        if volume_id in self.storage.volumes:
            size = self.storage.volumes[volume_id].facts.size_bytes
            data = data[: max(0, size - offset_bytes)]
        await super().write(volume_id, min(offset_bytes, offset_bytes if data else 0), data)


class FlushWantsAVolume(WrongEngine):
    async def flush(self, volume_id: VolumeId) -> None:
        if volume_id not in self.storage.volumes:
            raise Mismatch("no such volume")


MISTAKES: list[tuple[Callable[[MemoryStorage], MemoryEngine], str]] = [
    (ChangesMissOne, "changed_blocks"),
    (ChangesAreTooShort, "changed_blocks"),
    (ChangesSinceAreThoseOfTheLast, "changed_blocks"),
    (ChangesOverlap, "changed_blocks"),
    (ChangesAcrossVolumes, "changes_refused"),
    (ChangesForgetTheSource, "changes_of_clones"),
    (WritesLate, "writes"),
    (ZerosWholePages, "writes"),
    (WritesBeyondTheEnd, "writes_refused"),
    (FlushWantsAVolume, "writes_refused"),
]


@pytest.mark.parametrize(("wrong", "check_name"), MISTAKES)
def test_mistake_is_found(wrong: Callable[[MemoryStorage], MemoryEngine], check_name: str) -> None:
    expect_found(check_name, MemoryBench(wrong))
