"""Letting go of volumes and snapshots, and taking them over under new ids."""

from openevs.domain.ids import SnapshotId, VolumeId, new_uuid
from openevs.engine.errors import Busy, Mismatch
from openevs.engine.port import Adopts, SnapshotSpec, VolumeSpec
from openevs.testing.conformance.bench import ConformanceError, EngineBench, expect, expect_equal, expect_error
from openevs.testing.conformance.twin import Twin


def adopts_of(bench: EngineBench) -> Adopts:
    """Return the engine as one that adopts; for checks that need the power."""
    engine = bench.engine
    if not isinstance(engine, Adopts):
        raise ConformanceError("the engine says that it adopts, but has no such method")
    return engine


async def _names(bench: EngineBench) -> set[str]:
    return {stray.name for stray in await adopts_of(bench).list_strays()}


async def check_volume_released_and_adopted(bench: EngineBench) -> None:
    """A released volume is in no list and keeps its bytes, through a reopening; adopted under another id it has them
    again, and each call may be repeated."""
    twin = Twin(bench)
    old, new, name = await twin.volume(), VolumeId(new_uuid()), f"volume-{new_uuid()}"
    await twin.write(old)
    reverted = await twin.snapshot(old)
    await twin.revert(old, reverted)
    await twin.remove_snapshot(reverted)
    size = len(twin.volumes[old].data)
    wanted = bytes(twin.volumes.pop(old).data)
    for _ in range(2):
        await adopts_of(bench).ensure_released(old, name)
    await adopts_of(bench).ensure_released(VolumeId(new_uuid()), "unknown")
    expect(old not in (await bench.engine.list_objects()).volumes, "a released volume is still listed")
    expect_equal(await bench.engine.inspect_volume(old), None, "a released volume, inspected")
    await bench.engine.ensure_no_volume(old)
    await bench.reopen()
    expect(name in await _names(bench), "a released volume is no stray")
    spec = VolumeSpec(new, size)
    await expect_error(Mismatch, adopts_of(bench).ensure_adopted(spec, "none"), "adopting what is not there")
    await expect_error(Mismatch, adopts_of(bench).ensure_adopted(VolumeSpec(new, size * 2), name), "another size")
    for _ in range(2):
        facts = await adopts_of(bench).ensure_adopted(spec, name)
        expect_equal((facts.volume_id, facts.size_bytes), (new, size), "the adopted volume")
        # Else the first roll-back of a database that is younger than the stray would be refused as too old.
        expect_equal(facts.applied_token, 0, "the adopted volume's token")
    expect(name not in await _names(bench), "an adopted volume is still a stray")
    await bench.reopen()
    expect_equal(await bench.read(new, 0, size), wanted, "bytes of the adopted volume")
    await adopts_of(bench).ensure_adopted(spec, name)
    again = VolumeSpec(VolumeId(new_uuid()), size)
    await expect_error(Mismatch, adopts_of(bench).ensure_adopted(again, name), "adopting twice")


async def check_snapshot_released_and_adopted(bench: EngineBench) -> None:
    """A released snapshot keeps its bytes and its moment while its volume is written to, and holds that volume."""
    twin = Twin(bench)
    volume_id = await twin.volume()
    await twin.write(volume_id)
    size = len(twin.volumes[volume_id].data)
    wanted = bytes(twin.volumes[volume_id].data)
    old, new, name = SnapshotId(new_uuid()), SnapshotId(new_uuid()), f"snapshot-{new_uuid()}"
    taken = await bench.engine.ensure_snapshot(SnapshotSpec(old, volume_id))
    await expect_error(Busy, adopts_of(bench).ensure_released(volume_id, "busy"), "releasing a volume with a snapshot")
    for _ in range(2):
        await adopts_of(bench).ensure_snapshot_released(old, name)
    await adopts_of(bench).ensure_snapshot_released(SnapshotId(new_uuid()), "unknown")
    expect(old not in (await bench.engine.list_objects()).snapshots, "a released snapshot is still listed")
    expect_equal(await bench.engine.inspect_snapshot(old), None, "a released snapshot, inspected")
    await bench.engine.ensure_no_snapshot(old)
    await twin.write(volume_id)
    await bench.engine.settle()
    await bench.reopen()
    expect(name in await _names(bench), "a released snapshot is no stray")
    await expect_error(Busy, bench.engine.ensure_no_volume(volume_id), "deleting the volume of a released snapshot")
    other = await twin.volume()
    wrong = SnapshotSpec(new, other)
    await expect_error(Mismatch, adopts_of(bench).ensure_snapshot_adopted(wrong, name), "into another volume")
    for _ in range(2):
        facts = await adopts_of(bench).ensure_snapshot_adopted(SnapshotSpec(new, volume_id), name)
        expect_equal((facts.snapshot_id, facts.taken_at), (new, taken.taken_at), "the adopted snapshot")
    expect(name not in await _names(bench), "an adopted snapshot is still a stray")
    expect_equal(await bench.read(new, 0, size), wanted, "bytes of the adopted snapshot")
    await bench.engine.ensure_no_snapshot(new)


async def check_released_with_a_released_snapshot(bench: EngineBench) -> None:
    """A released volume takes its released snapshots along, and adopted it has them again."""
    twin = Twin(bench)
    volume_id = await twin.volume()
    size = len(twin.volumes[volume_id].data)
    twin.volumes.pop(volume_id)
    taken, name, of = SnapshotId(new_uuid()), f"volume-{new_uuid()}", f"snapshot-{new_uuid()}"
    await bench.engine.ensure_snapshot(SnapshotSpec(taken, volume_id))
    await adopts_of(bench).ensure_snapshot_released(taken, of)
    await adopts_of(bench).ensure_released(volume_id, name)
    await bench.reopen()
    new, again = VolumeId(new_uuid()), SnapshotId(new_uuid())
    await adopts_of(bench).ensure_adopted(VolumeSpec(new, size), name)
    await adopts_of(bench).ensure_snapshot_adopted(SnapshotSpec(again, new), of)
    await bench.engine.ensure_no_snapshot(again)
