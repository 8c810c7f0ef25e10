"""The conformance suite itself: engines with one mistake each, which the named checks must find."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from openevs.domain.ids import SnapshotId, VolumeId
from openevs.engine.errors import Busy, Mismatch, Stale
from openevs.engine.memory import MemoryEngine, MemoryStorage
from openevs.engine.port import EngineFacts, Objects, SnapshotFacts, SnapshotSpec, VolumeFacts, VolumeSpec
from openevs.testing.conformance import MemoryBench
from tests.engine.mistakes import WrongEngine, expect_found


class SaysItExports(WrongEngine):
    def describe(self) -> EngineFacts:
        return replace(super().describe(), powers=frozenset({"reads", "exports"}))


class RevertIgnoresToken(WrongEngine):
    async def ensure_reverted(self, volume_id: VolumeId, snapshot_id: SnapshotId, token: int) -> VolumeFacts:
        if volume_id in self.storage.volumes:
            self.set_token(volume_id, 0)
        return await super().ensure_reverted(volume_id, snapshot_id, token)


class RevertForgetsTokenOnRestart(WrongEngine):
    async def open(self) -> None:
        await super().open()
        for volume_id in self.storage.volumes:
            self.set_token(volume_id, 0)


class RevertTakesLateTokenForRepeat(WrongEngine):
    async def ensure_reverted(self, volume_id: VolumeId, snapshot_id: SnapshotId, token: int) -> VolumeFacts:
        try:
            return await super().ensure_reverted(volume_id, snapshot_id, token)
        except Stale:
            return self.storage.volumes[volume_id].facts


class RevertWritesTokenFirst(WrongEngine):
    """Token and bytes in two writes: cut short between them, the roll-back never takes place."""

    async def ensure_reverted(self, volume_id: VolumeId, snapshot_id: SnapshotId, token: int) -> VolumeFacts:
        volume = self.storage.volumes.get(volume_id)
        if volume is not None and self.has_snapshot(snapshot_id) and token > volume.facts.applied_token:
            before = volume.facts.applied_token
            self.set_token(volume_id, token)
            await asyncio.sleep(0)
            self.set_token(volume_id, before)
        return await super().ensure_reverted(volume_id, snapshot_id, token)


class RevertKeepsWhatLiesBeyond(WrongEngine):
    async def ensure_reverted(self, volume_id: VolumeId, snapshot_id: SnapshotId, token: int) -> VolumeFacts:
        volume, snapshot = self.storage.volumes.get(volume_id), self.storage.snapshots.get(snapshot_id)
        tail, end = b"", 0
        if volume is not None and snapshot is not None:
            end = snapshot.facts.size_bytes
            tail = (await self.contents(volume_id, volume.facts.size_bytes))[end:]
        facts = await super().ensure_reverted(volume_id, snapshot_id, token)
        await self.write(volume_id, end, tail)
        return facts


class RevertDropsNewerSnapshots(WrongEngine):
    async def ensure_reverted(self, volume_id: VolumeId, snapshot_id: SnapshotId, token: int) -> VolumeFacts:
        facts = await super().ensure_reverted(volume_id, snapshot_id, token)
        of_volume = [key for key, kept in self.storage.snapshots.items() if kept.facts.volume_id == volume_id]
        for newer in of_volume[of_volume.index(snapshot_id) + 1 :] if snapshot_id in of_volume else []:
            del self.storage.snapshots[newer]
        return facts


class SnapshotCopiesLate(WrongEngine):
    """Answers at once and copies afterwards, in the background."""

    async def ensure_snapshot(self, spec: SnapshotSpec) -> SnapshotFacts:
        facts = await super().ensure_snapshot(spec)
        asyncio.get_running_loop().call_later(0.005, self._copy, spec)
        return facts

    def _copy(self, spec: SnapshotSpec) -> None:
        snapshot, volume = self.storage.snapshots.get(spec.snapshot_id), self.storage.volumes.get(spec.volume_id)
        if snapshot is not None and volume is not None:
            self.storage.snapshots[spec.snapshot_id] = replace(snapshot, pages=volume.pages.fork())


class SnapshotCopiesInPieces(WrongEngine):
    """Copies one half, lets clients write, copies the other."""

    async def ensure_snapshot(self, spec: SnapshotSpec) -> SnapshotFacts:
        if self.has_snapshot(spec.snapshot_id) or spec.volume_id not in self.storage.volumes:
            return await super().ensure_snapshot(spec)
        size = self.storage.volumes[spec.volume_id].facts.size_bytes
        half = (await self.contents(spec.volume_id, size))[: 19 * 4096]
        await asyncio.sleep(0.002)
        now = await self.contents(spec.volume_id, size)
        await self.write(spec.volume_id, 0, half)
        facts = await super().ensure_snapshot(spec)
        await self.write(spec.volume_id, 0, now[: 19 * 4096])
        return facts


class SnapshotOfLastWriteMissing(WrongEngine):
    """Loses what was acknowledged just before: a cache that the cut does not flush."""

    def __init__(self, storage: MemoryStorage) -> None:
        super().__init__(storage)
        self.last_write: tuple[VolumeId, int, bytes] | None = None

    async def write(self, volume_id: VolumeId, offset_bytes: int, data: bytes) -> None:
        before = await self.read(volume_id, offset_bytes, len(data))
        await super().write(volume_id, offset_bytes, data)
        self.last_write = (volume_id, offset_bytes, before)

    async def ensure_snapshot(self, spec: SnapshotSpec) -> SnapshotFacts:
        if self.last_write is None or self.last_write[0] != spec.volume_id or self.has_snapshot(spec.snapshot_id):
            return await super().ensure_snapshot(spec)
        volume_id, offset, before = self.last_write
        now = await self.read(volume_id, offset, len(before))
        await super().write(volume_id, offset, before)
        facts = await super().ensure_snapshot(spec)
        await super().write(volume_id, offset, now)
        return facts


class SnapshotSharesWithTheVolume(WrongEngine):
    """Freezes the facts and not the bytes."""

    async def ensure_snapshot(self, spec: SnapshotSpec) -> SnapshotFacts:
        facts = await super().ensure_snapshot(spec)
        snapshot = self.storage.snapshots[spec.snapshot_id]
        pages = self.storage.volumes[spec.volume_id].pages
        self.storage.snapshots[spec.snapshot_id] = replace(snapshot, pages=pages)
        return facts


class SnapshotRepeatFreezesAgain(WrongEngine):
    async def ensure_snapshot(self, spec: SnapshotSpec) -> SnapshotFacts:
        present = self.storage.snapshots.get(spec.snapshot_id)
        if present is not None and present.facts.volume_id == spec.volume_id:
            del self.storage.snapshots[spec.snapshot_id]
        return await super().ensure_snapshot(spec)


class SnapshotRepeatGivesAnotherTime(WrongEngine):
    async def ensure_snapshot(self, spec: SnapshotSpec) -> SnapshotFacts:
        return replace(await super().ensure_snapshot(spec), taken_at=datetime.now(UTC))


class SnapshotTwiceAtOnceFails(WrongEngine):
    """Looks, waits, then acts: calls at once take the snapshot anew, each with its own moment."""

    async def ensure_snapshot(self, spec: SnapshotSpec) -> SnapshotFacts:
        is_new = not self.has_snapshot(spec.snapshot_id)
        await asyncio.sleep(0)
        if is_new:
            self.storage.snapshots.pop(spec.snapshot_id, None)
        return await super().ensure_snapshot(spec)


class SnapshotOfHalfFacts(WrongEngine):
    """Cut short, leaves a snapshot without its bytes that a repeat takes for whole."""

    async def ensure_snapshot(self, spec: SnapshotSpec) -> SnapshotFacts:
        is_new = not self.has_snapshot(spec.snapshot_id)
        facts = await super().ensure_snapshot(spec)
        if is_new:
            whole = self.storage.snapshots[spec.snapshot_id]
            self.storage.snapshots[spec.snapshot_id] = replace(whole, pages=type(whole.pages)())
            await asyncio.sleep(0)
            self.storage.snapshots[spec.snapshot_id] = whole
        return facts


class CloneLosesBytesWithItsSource(WrongEngine):
    async def ensure_no_snapshot(self, snapshot_id: SnapshotId) -> None:
        gone = self.storage.snapshots.get(snapshot_id)
        await super().ensure_no_snapshot(snapshot_id)
        for volume_id, volume in self.storage.volumes.items():
            if gone is not None and volume_id != gone.facts.volume_id and volume.pages.identities():
                shared = volume.pages.identities() & gone.pages.identities()
                if shared:
                    self.storage.volumes[volume_id] = replace(volume, pages=type(volume.pages)())


class CloneRepeatResets(WrongEngine):
    async def ensure_volume_from_snapshot(self, spec: VolumeSpec, snapshot_id: SnapshotId) -> VolumeFacts:
        present = self.storage.volumes.get(spec.volume_id)
        if present is not None and present.facts.size_bytes == spec.size_bytes and self.has_snapshot(snapshot_id):
            del self.storage.volumes[spec.volume_id]
        return await super().ensure_volume_from_snapshot(spec, snapshot_id)


class CloneRepeatNeedsItsSource(WrongEngine):
    async def ensure_volume_from_snapshot(self, spec: VolumeSpec, snapshot_id: SnapshotId) -> VolumeFacts:
        if not self.has_snapshot(snapshot_id):
            raise Mismatch("no such snapshot")
        return await super().ensure_volume_from_snapshot(spec, snapshot_id)


class CloneWritesIntoItsSource(WrongEngine):
    async def ensure_volume_from_snapshot(self, spec: VolumeSpec, snapshot_id: SnapshotId) -> VolumeFacts:
        facts = await super().ensure_volume_from_snapshot(spec, snapshot_id)
        volume, snapshot = self.storage.volumes[spec.volume_id], self.storage.snapshots.get(snapshot_id)
        if snapshot is not None:
            self.storage.snapshots[snapshot_id] = replace(snapshot, pages=volume.pages)
        return facts


class CloneReadsTheSourceBeyond(WrongEngine):
    """A larger clone shows, past the snapshot's end, what the source volume has there."""

    async def ensure_volume_from_snapshot(self, spec: VolumeSpec, snapshot_id: SnapshotId) -> VolumeFacts:
        is_new = spec.volume_id not in self.storage.volumes
        facts = await super().ensure_volume_from_snapshot(spec, snapshot_id)
        if is_new:
            snapshot = self.storage.snapshots[snapshot_id]
            source = self.storage.volumes[snapshot.facts.volume_id]
            size = min(source.facts.size_bytes, spec.size_bytes)
            tail = (await self.contents(source.facts.volume_id, size))[snapshot.facts.size_bytes :]
            await self.write(spec.volume_id, snapshot.facts.size_bytes, tail)
        return facts


class DeletedBytesReappear(WrongEngine):
    def __init__(self, storage: MemoryStorage) -> None:
        super().__init__(storage)
        self.free_list: list[bytes] = []

    async def ensure_no_volume(self, volume_id: VolumeId) -> None:
        if volume_id in self.storage.volumes:
            self.free_list.append(await self.contents(volume_id, 4096))
        await super().ensure_no_volume(volume_id)

    async def ensure_volume(self, spec: VolumeSpec) -> VolumeFacts:
        is_new = spec.volume_id not in self.storage.volumes
        facts = await super().ensure_volume(spec)
        if is_new and self.free_list:
            await self.write(spec.volume_id, 0, self.free_list.pop())
        return facts


class GrownSpaceIsDirty(WrongEngine):
    async def ensure_volume_size(self, volume_id: VolumeId, size_bytes: int) -> VolumeFacts:
        before = self.storage.volumes[volume_id].facts.size_bytes if volume_id in self.storage.volumes else 0
        facts = await super().ensure_volume_size(volume_id, size_bytes)
        if before < size_bytes:
            await self.write(volume_id, before, b"dirt")
        return facts


class Shrinks(WrongEngine):
    async def ensure_volume_size(self, volume_id: VolumeId, size_bytes: int) -> VolumeFacts:
        volume = self.storage.volumes.get(volume_id)
        if volume is not None and size_bytes < volume.facts.size_bytes:
            return volume.facts
        return await super().ensure_volume_size(volume_id, size_bytes)


class ReachedGoesDown(WrongEngine):
    async def ensure_reached(self, number: int) -> None:
        self.storage.reached = number


class ReachedIsForgottenOnRestart(WrongEngine):
    async def open(self) -> None:
        await super().open()
        self.storage.reached = 0


class DeletesVolumeWithItsSnapshots(WrongEngine):
    async def ensure_no_volume(self, volume_id: VolumeId) -> None:
        for key in [key for key, kept in self.storage.snapshots.items() if kept.facts.volume_id == volume_id]:
            del self.storage.snapshots[key]
        await super().ensure_no_volume(volume_id)


class BusyNamesNobody(WrongEngine):
    async def ensure_no_volume(self, volume_id: VolumeId) -> None:
        try:
            await super().ensure_no_volume(volume_id)
        except Busy as error:
            raise Busy(error.reason) from None


class DeletingUnknownFails(WrongEngine):
    async def ensure_no_snapshot(self, snapshot_id: SnapshotId) -> None:
        if not self.has_snapshot(snapshot_id):
            raise Mismatch("no such snapshot")
        await super().ensure_no_snapshot(snapshot_id)


class DeletionTakesTheNextOneToo(WrongEngine):
    """A merge that goes wrong: the snapshot after the deleted one gets the deleted one's bytes."""

    async def ensure_no_snapshot(self, snapshot_id: SnapshotId) -> None:
        gone = self.storage.snapshots.get(snapshot_id)
        of_volume = [
            key for key, kept in self.storage.snapshots.items() if gone and kept.facts.volume_id == gone.facts.volume_id
        ]
        if gone is not None and of_volume[-1] != snapshot_id:
            after = of_volume[of_volume.index(snapshot_id) + 1]
            self.storage.snapshots[after] = replace(self.storage.snapshots[after], pages=gone.pages)
        await super().ensure_no_snapshot(snapshot_id)


class ListsDeleted(WrongEngine):
    def __init__(self, storage: MemoryStorage) -> None:
        super().__init__(storage)
        self.ghosts: dict[VolumeId, VolumeFacts] = {}

    async def ensure_no_volume(self, volume_id: VolumeId) -> None:
        facts = await self.inspect_volume(volume_id)
        await super().ensure_no_volume(volume_id)
        if facts is not None:
            self.ghosts[volume_id] = facts

    async def list_objects(self) -> Objects:
        objects = await super().list_objects()
        return replace(objects, volumes={**objects.volumes, **self.ghosts})


class ForgetsLabels(WrongEngine):
    async def list_objects(self) -> Objects:
        objects = await super().list_objects()
        return replace(objects, volumes={key: replace(facts, labels={}) for key, facts in objects.volumes.items()})


class LabelsReplaceAll(WrongEngine):
    async def ensure_labels(self, object_id: VolumeId | SnapshotId, labels: Mapping[str, str]) -> None:
        await super().ensure_labels(object_id, labels)
        if (volume := self.storage.volumes.get(VolumeId(object_id))) is not None:
            facts = replace(volume.facts, labels=labels)
            self.storage.volumes[VolumeId(object_id)] = replace(volume, facts=facts)


class LabelsGoToEverySnapshot(WrongEngine):
    async def ensure_labels(self, object_id: VolumeId | SnapshotId, labels: Mapping[str, str]) -> None:
        for each in self.storage.snapshots if self.has_snapshot(SnapshotId(object_id)) else [object_id]:
            await super().ensure_labels(each, labels)


class LabelsOfTheUnknownAreRefused(WrongEngine):
    async def ensure_labels(self, object_id: VolumeId | SnapshotId, labels: Mapping[str, str]) -> None:
        if not {object_id} & {*self.storage.volumes, *self.storage.snapshots}:
            raise Mismatch("there is no such thing")
        await super().ensure_labels(object_id, labels)


class RaisesOSError(WrongEngine):
    async def ensure_snapshot(self, spec: SnapshotSpec) -> SnapshotFacts:
        if spec.volume_id not in self.storage.volumes:
            raise FileNotFoundError(spec.volume_id)
        return await super().ensure_snapshot(spec)


MISTAKES: list[tuple[Callable[[MemoryStorage], MemoryEngine], str]] = [
    (SaysItExports, "describe_is_honest"),
    (RevertIgnoresToken, "revert_token"),
    (RevertForgetsTokenOnRestart, "revert_token"),
    (RevertTakesLateTokenForRepeat, "revert_token"),
    (RevertWritesTokenFirst, "interrupted_revert"),
    (RevertKeepsWhatLiesBeyond, "grow_then_revert"),
    (RevertDropsNewerSnapshots, "revert"),
    (SnapshotCopiesLate, "frozen_while_written"),
    (SnapshotCopiesInPieces, "frozen_while_written"),
    (SnapshotOfLastWriteMissing, "snapshots_are_independent"),
    (SnapshotSharesWithTheVolume, "snapshots_are_independent"),
    (SnapshotSharesWithTheVolume, "branching_tree"),
    (SnapshotRepeatFreezesAgain, "repeat_is_the_same_moment"),
    (SnapshotRepeatGivesAnotherTime, "repeat_is_the_same_moment"),
    (SnapshotTwiceAtOnceFails, "same_id_at_once"),
    (SnapshotOfHalfFacts, "interrupted_snapshot"),
    (CloneLosesBytesWithItsSource, "clone_outlives_its_source"),
    (CloneLosesBytesWithItsSource, "tree_deleted_in_every_order"),
    (CloneRepeatResets, "clone_repeat_keeps_writes"),
    (CloneRepeatNeedsItsSource, "clone_repeat_keeps_writes"),
    (CloneWritesIntoItsSource, "clone_outlives_its_source"),
    (CloneReadsTheSourceBeyond, "larger_clone_reads_zeros"),
    (DeletedBytesReappear, "deleted_bytes_stay_away"),
    (GrownSpaceIsDirty, "new_space_is_zero"),
    (Shrinks, "size_mismatch"),
    (DeletesVolumeWithItsSnapshots, "busy_names_the_snapshots"),
    (BusyNamesNobody, "busy_names_the_snapshots"),
    (DeletingUnknownFails, "unknown_ids"),
    (DeletionTakesTheNextOneToo, "many_snapshots"),
    (DeletionTakesTheNextOneToo, "tree_deleted_in_every_order"),
    (DeletionTakesTheNextOneToo, "random_walk"),
    (ListsDeleted, "list_equals_what_was_made"),
    (ForgetsLabels, "list_equals_what_was_made"),
    (LabelsReplaceAll, "labels"),
    (LabelsGoToEverySnapshot, "labels"),
    (LabelsOfTheUnknownAreRefused, "labels"),
    (ReachedGoesDown, "reached"),
    (ReachedIsForgottenOnRestart, "reached"),
    (RaisesOSError, "unknown_ids"),
]


@pytest.mark.parametrize(("wrong", "check_name"), MISTAKES)
def test_mistake_is_found(wrong: Callable[[MemoryStorage], MemoryEngine], check_name: str) -> None:
    expect_found(check_name, MemoryBench(wrong))
