"""An engine and a plain model of it, led through the same operations and compared byte by byte."""

import random
from dataclasses import dataclass, field
from typing import Final

from openevs.domain.ids import SnapshotId, VolumeId, new_uuid
from openevs.engine.port import SnapshotFacts, SnapshotSpec, VolumeFacts, VolumeSpec
from openevs.testing.conformance.bench import ConformanceError, EngineBench, ObjectId, expect, expect_equal

SIZE: Final = 2 << 20
"""Of a volume that a check makes: several clusters of any usual size, and quick to compare."""
STEP: Final = 512 << 10
"""By which a volume grows."""
LABELS: Final = {"made-by": "openevs-conformance"}
"""On everything that a check makes, so that a person can tell what a killed run has left."""


def pattern(seed: int, length: int) -> bytes:
    """Return bytes that occur nowhere else, the same for the same seed."""
    return random.Random(seed).randbytes(length)  # noqa: S311 - test data


@dataclass(slots=True)
class TwinVolume:
    """A volume as it must be."""

    data: bytearray
    token: int = 0


@dataclass(frozen=True, slots=True)
class TwinSnapshot:
    """A snapshot as it must be."""

    volume_id: VolumeId
    data: bytes


@dataclass(slots=True)
class Twin:
    """Does each operation to the engine on `bench`, and then to the model."""

    bench: EngineBench
    volumes: dict[VolumeId, TwinVolume] = field(default_factory=dict)
    snapshots: dict[SnapshotId, TwinSnapshot] = field(default_factory=dict)
    _writes: int = 0
    _token: int = 0

    async def volume(self, size_bytes: int = SIZE) -> VolumeId:
        """Make an empty volume."""
        spec = VolumeSpec(VolumeId(new_uuid()), size_bytes, LABELS)
        facts = await self.bench.engine.ensure_volume(spec)
        expect_equal((facts.volume_id, facts.size_bytes), (spec.volume_id, size_bytes), "facts of a new volume")
        self.volumes[spec.volume_id] = TwinVolume(bytearray(size_bytes))
        return spec.volume_id

    async def write(self, volume_id: VolumeId, offset_bytes: int = 0, length_bytes: int = 8192) -> None:
        """Write bytes that nothing else holds."""
        self._writes += 1
        data = pattern(self._writes, length_bytes)
        await self.bench.write(volume_id, offset_bytes, data)
        self.volumes[volume_id].data[offset_bytes : offset_bytes + length_bytes] = data

    async def snapshot(self, volume_id: VolumeId) -> SnapshotId:
        """Take a snapshot."""
        spec = self.snapshot_spec(volume_id)
        self.took(spec, await self.bench.engine.ensure_snapshot(spec))
        return spec.snapshot_id

    def snapshot_spec(self, volume_id: VolumeId) -> SnapshotSpec:
        """Return the order for a new snapshot."""
        return SnapshotSpec(SnapshotId(new_uuid()), volume_id, LABELS)

    def took(self, spec: SnapshotSpec, facts: SnapshotFacts) -> None:
        """Note a snapshot that has been taken now."""
        data = bytes(self.volumes[spec.volume_id].data)
        found = (facts.snapshot_id, facts.volume_id, facts.size_bytes)
        expect_equal(found, (spec.snapshot_id, spec.volume_id, len(data)), "facts of a new snapshot")
        expect(facts.taken_at.utcoffset() is not None, "the moment of a snapshot is not an aware time")
        self.snapshots[spec.snapshot_id] = TwinSnapshot(spec.volume_id, data)

    async def clone(self, snapshot_id: SnapshotId, more_bytes: int = 0) -> VolumeId:
        """Make a volume from a snapshot, larger than it by `more_bytes`."""
        data = bytearray(self.snapshots[snapshot_id].data + bytes(more_bytes))
        spec = VolumeSpec(VolumeId(new_uuid()), len(data), LABELS)
        facts = await self.bench.engine.ensure_volume_from_snapshot(spec, snapshot_id)
        expect_equal((facts.volume_id, facts.size_bytes), (spec.volume_id, len(data)), "facts of a new clone")
        self.volumes[spec.volume_id] = TwinVolume(data)
        return spec.volume_id

    def next_token(self) -> int:
        """Return a token above all before."""
        self._token += 1
        return self._token

    async def revert(self, volume_id: VolumeId, snapshot_id: SnapshotId) -> int:
        """Roll the volume back with a new token, and return that."""
        token = self.next_token()
        self.reverted(volume_id, snapshot_id, await self.bench.engine.ensure_reverted(volume_id, snapshot_id, token))
        return token

    def reverted(self, volume_id: VolumeId, snapshot_id: SnapshotId, facts: VolumeFacts) -> None:
        """Note a roll-back that has taken place now."""
        volume = self.volumes[volume_id]
        volume.data[:] = self.snapshots[snapshot_id].data.ljust(len(volume.data), b"\0")
        volume.token = facts.applied_token
        expect_equal((facts.volume_id, facts.size_bytes), (volume_id, len(volume.data)), "facts of a reverted volume")

    async def grow(self, volume_id: VolumeId, more_bytes: int = STEP) -> None:
        """Make the volume larger."""
        data = self.volumes[volume_id].data
        facts = await self.bench.engine.ensure_volume_size(volume_id, len(data) + more_bytes)
        data.extend(bytes(more_bytes))
        expect_equal(facts.size_bytes, len(data), "size of a grown volume")

    async def remove_snapshot(self, snapshot_id: SnapshotId) -> None:
        """Delete a snapshot."""
        await self.bench.engine.ensure_no_snapshot(snapshot_id)
        del self.snapshots[snapshot_id]

    async def remove_volume(self, volume_id: VolumeId) -> None:
        """Delete a volume that has no snapshot."""
        await self.bench.engine.ensure_no_volume(volume_id)
        del self.volumes[volume_id]

    def snapshots_of(self, volume_id: VolumeId) -> list[SnapshotId]:
        """Return the volume's snapshots, oldest first."""
        return [snapshot_id for snapshot_id, kept in self.snapshots.items() if kept.volume_id == volume_id]

    async def compare(self, when: str) -> None:
        """Raise ConformanceError if a fact or a byte of anything differs from what must be; `when` says after what."""
        await self.compare_facts(when)
        for volume_id in self.volumes:
            await self.compare_bytes(volume_id, when)
        for snapshot_id in self.snapshots:
            await self.compare_bytes(snapshot_id, when)

    async def compare_facts(self, when: str) -> None:
        """Raise ConformanceError if what is listed and inspected is not what must be."""
        objects = await self.bench.engine.list_objects()
        for volume_id, volume in self.volumes.items():
            facts = objects.volumes.get(volume_id)
            if facts is None:
                raise ConformanceError(f"{when}: volume {volume_id} is not listed")
            expect_equal(facts.size_bytes, len(volume.data), f"{when}: size of volume {volume_id}")
            expect_equal(facts.applied_token, volume.token, f"{when}: applied token of volume {volume_id}")
            expect_equal(dict(facts.labels), LABELS, f"{when}: labels of volume {volume_id}")
            expect_equal(await self.bench.engine.inspect_volume(volume_id), facts, f"{when}: inspected, against listed")
        for snapshot_id, kept in self.snapshots.items():
            found = objects.snapshots.get(snapshot_id)
            if found is None:
                raise ConformanceError(f"{when}: snapshot {snapshot_id} is not listed")
            expect_equal(found.size_bytes, len(kept.data), f"{when}: size of snapshot {snapshot_id}")
            expect_equal(found.volume_id, kept.volume_id, f"{when}: volume of snapshot {snapshot_id}")
            expect_equal(dict(found.labels), LABELS, f"{when}: labels of snapshot {snapshot_id}")
            expect_equal(
                await self.bench.engine.inspect_snapshot(snapshot_id), found, f"{when}: inspected, against listed"
            )

    async def compare_bytes(self, object_id: ObjectId, when: str) -> None:
        """Raise ConformanceError if a byte of that volume or snapshot is not what it must be."""
        volume = self.volumes.get(VolumeId(object_id))
        kept = self.snapshots.get(SnapshotId(object_id))
        expected = bytes(volume.data) if volume is not None else kept.data if kept is not None else b""
        found = await self.bench.read(object_id, 0, len(expected))
        if found == expected:
            return
        what = f"{when}: {'volume' if volume is not None else 'snapshot'} {object_id}"
        expect_equal(len(found), len(expected), f"{what}: bytes read")
        at = next(at for at in range(len(expected)) if found[at] != expected[at])
        ours, theirs = expected[at : at + 8].hex(), found[at : at + 8].hex()
        raise ConformanceError(f"{what} differs from byte {at} on: expected {ours}…, found {theirs}…")
