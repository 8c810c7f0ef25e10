"""The conformance suite itself, of letting go and taking over: engines with one mistake each, which it must find."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from openevs.domain.ids import SnapshotId, VolumeId
from openevs.engine.errors import Mismatch
from openevs.engine.memory import MemoryEngine, MemoryStorage
from openevs.engine.port import Objects, SnapshotFacts, SnapshotSpec, Stray, VolumeFacts, VolumeSpec
from openevs.testing.conformance import CHECKS, MemoryBench
from tests.engine.mistakes import WrongEngine, expect_found

VOLUME, SNAPSHOT, BOTH = (
    "volume_released_and_adopted",
    "snapshot_released_and_adopted",
    "released_with_a_released_snapshot",
)


class ReleasedIsStillListed(WrongEngine):
    async def list_objects(self) -> Objects:
        objects = await super().list_objects()
        released = {one.facts.volume_id: one.facts for one in self.storage.released.values()}
        return replace(objects, volumes={**objects.volumes, **released})


class ReleasedIsStillInspected(WrongEngine):
    async def inspect_volume(self, volume_id: VolumeId) -> VolumeFacts | None:
        released = {one.facts.volume_id: one.facts for one in self.storage.released.values()}
        return released.get(volume_id) or await super().inspect_volume(volume_id)


class ReleasedIsForgottenOnRestart(WrongEngine):
    async def open(self) -> None:
        await super().open()
        self.storage.released.clear()


class ReleasedLosesItsBytes(WrongEngine):
    async def ensure_released(self, volume_id: VolumeId, name: str) -> None:
        await super().ensure_released(volume_id, name)
        if (one := self.storage.released.get(name)) is not None:
            self.storage.released[name] = replace(one, pages=type(one.pages)())


class ReleasedIsDeletedUnderItsOldId(WrongEngine):
    async def ensure_no_volume(self, volume_id: VolumeId) -> None:
        await super().ensure_no_volume(volume_id)
        for name, one in list(self.storage.released.items()):
            if one.facts.volume_id == volume_id:
                del self.storage.released[name]


class ReleasingTheUnknownFails(WrongEngine):
    async def ensure_released(self, volume_id: VolumeId, name: str) -> None:
        if volume_id not in self.storage.volumes:
            raise Mismatch("there is no such volume")
        await super().ensure_released(volume_id, name)


class ReleasesWithSnapshots(WrongEngine):
    async def ensure_released(self, volume_id: VolumeId, name: str) -> None:
        if volume_id in self.storage.volumes:
            self.storage.released[name] = self.storage.volumes.pop(volume_id)


class AdoptedIsStillAStray(WrongEngine):
    def __init__(self, storage: MemoryStorage) -> None:
        super().__init__(storage)
        self.known: dict[str, Stray] = {}

    async def list_strays(self) -> Sequence[Stray]:
        self.known |= {stray.name: stray for stray in await super().list_strays()}
        return list(self.known.values())


class AdoptsAnySize(WrongEngine):
    async def ensure_adopted(self, spec: VolumeSpec, name: str) -> VolumeFacts:
        one = self.storage.released.get(name)
        return await super().ensure_adopted(replace(spec, size_bytes=one.facts.size_bytes) if one else spec, name)


class AdoptingTwiceFails(WrongEngine):
    async def ensure_adopted(self, spec: VolumeSpec, name: str) -> VolumeFacts:
        if name not in self.storage.released:
            raise Mismatch("there is no such stray")
        return await super().ensure_adopted(spec, name)


class AdoptingLeavesTheStray(WrongEngine):
    async def ensure_adopted(self, spec: VolumeSpec, name: str) -> VolumeFacts:
        one = self.storage.released.get(name)
        facts = await super().ensure_adopted(spec, name)
        if one is not None:
            self.storage.released[name] = one
        return facts


class AdoptedKeepsItsOldId(WrongEngine):
    async def ensure_adopted(self, spec: VolumeSpec, name: str) -> VolumeFacts:
        one = self.storage.released.get(name)
        facts = await super().ensure_adopted(spec, name)
        return replace(facts, volume_id=one.facts.volume_id) if one else facts


class AdoptedKeepsItsToken(WrongEngine):
    async def ensure_adopted(self, spec: VolumeSpec, name: str) -> VolumeFacts:
        one = self.storage.released.get(name)
        facts = await super().ensure_adopted(spec, name)
        return replace(facts, applied_token=one.facts.applied_token) if one else facts


class ReleasedSnapshotFollowsItsVolume(WrongEngine):
    async def ensure_snapshot_released(self, snapshot_id: SnapshotId, name: str) -> None:
        await super().ensure_snapshot_released(snapshot_id, name)
        if (one := self.storage.released_snapshots.get(name)) is not None:
            pages = self.storage.volumes[one.facts.volume_id].pages
            self.storage.released_snapshots[name] = replace(one, pages=pages)


class ReleasedSnapshotHoldsNothing(WrongEngine):
    async def ensure_no_volume(self, volume_id: VolumeId) -> None:
        for name, one in list(self.storage.released_snapshots.items()):
            if one.facts.volume_id == volume_id:
                del self.storage.released_snapshots[name]
        await super().ensure_no_volume(volume_id)


class ReleasedSnapshotIsStillInspected(WrongEngine):
    async def inspect_snapshot(self, snapshot_id: SnapshotId) -> SnapshotFacts | None:
        released = {one.facts.snapshot_id: one.facts for one in self.storage.released_snapshots.values()}
        return released.get(snapshot_id) or await super().inspect_snapshot(snapshot_id)


class ReleasedSnapshotIsDeletedUnderItsOldId(WrongEngine):
    async def ensure_no_snapshot(self, snapshot_id: SnapshotId) -> None:
        await super().ensure_no_snapshot(snapshot_id)
        for name, one in list(self.storage.released_snapshots.items()):
            if one.facts.snapshot_id == snapshot_id:
                del self.storage.released_snapshots[name]


class ReleasingAnUnknownSnapshotFails(WrongEngine):
    async def ensure_snapshot_released(self, snapshot_id: SnapshotId, name: str) -> None:
        if snapshot_id not in self.storage.snapshots:
            raise Mismatch("there is no such snapshot")
        await super().ensure_snapshot_released(snapshot_id, name)


class AdoptedSnapshotIsOfNow(WrongEngine):
    async def ensure_snapshot_adopted(self, spec: SnapshotSpec, name: str) -> SnapshotFacts:
        return replace(await super().ensure_snapshot_adopted(spec, name), taken_at=datetime.now(UTC))


class AdoptsSnapshotsOfOthers(WrongEngine):
    async def ensure_snapshot_adopted(self, spec: SnapshotSpec, name: str) -> SnapshotFacts:
        one = self.storage.released_snapshots.get(name)
        return await super().ensure_snapshot_adopted(
            replace(spec, volume_id=one.facts.volume_id) if one else spec, name
        )


class AdoptedSnapshotIsStillAStray(AdoptedIsStillAStray):
    pass


class ReleasedSnapshotIsNoStray(WrongEngine):
    async def list_strays(self) -> Sequence[Stray]:
        return [stray for stray in await super().list_strays() if stray.kind == "volume"]


class AdoptedLosesReleasedSnapshots(WrongEngine):
    async def ensure_adopted(self, spec: VolumeSpec, name: str) -> VolumeFacts:
        facts = await super().ensure_adopted(spec, name)
        self.storage.released_snapshots.clear()
        return facts


MISTAKES: list[tuple[Callable[[MemoryStorage], MemoryEngine], str]] = [
    (ReleasedIsStillListed, VOLUME),
    (ReleasedIsStillInspected, VOLUME),
    (ReleasedIsForgottenOnRestart, VOLUME),
    (ReleasedLosesItsBytes, VOLUME),
    (ReleasedIsDeletedUnderItsOldId, VOLUME),
    (ReleasingTheUnknownFails, VOLUME),
    (ReleasesWithSnapshots, SNAPSHOT),
    (AdoptedIsStillAStray, VOLUME),
    (AdoptsAnySize, VOLUME),
    (AdoptingTwiceFails, VOLUME),
    (AdoptingLeavesTheStray, VOLUME),
    (AdoptedKeepsItsOldId, VOLUME),
    (AdoptedKeepsItsToken, VOLUME),
    (ReleasedSnapshotFollowsItsVolume, SNAPSHOT),
    (ReleasedSnapshotHoldsNothing, SNAPSHOT),
    (ReleasedSnapshotIsStillInspected, SNAPSHOT),
    (ReleasedSnapshotIsDeletedUnderItsOldId, SNAPSHOT),
    (ReleasingAnUnknownSnapshotFails, SNAPSHOT),
    (AdoptedSnapshotIsOfNow, SNAPSHOT),
    (AdoptsSnapshotsOfOthers, SNAPSHOT),
    (AdoptedSnapshotIsStillAStray, SNAPSHOT),
    (ReleasedSnapshotIsNoStray, SNAPSHOT),
    (AdoptedLosesReleasedSnapshots, BOTH),
    (ReleasedIsForgottenOnRestart, BOTH),
]


@pytest.mark.parametrize(("wrong", "check_name"), MISTAKES)
def test_mistake_is_found(wrong: Callable[[MemoryStorage], MemoryEngine], check_name: str) -> None:
    expect_found(check_name, MemoryBench(wrong))


def test_every_power_to_adopt_is_checked() -> None:
    """So that a check of this power that is added has a mistake which it must find."""
    assert {check.name for check in CHECKS if "adopts" in check.needs} == {name for _, name in MISTAKES}
