"""Writing without a client, and telling what changed: the powers that backups are made with."""

import itertools
import random
from collections.abc import Sequence

from openevs.domain.ids import SnapshotId, VolumeId, new_uuid
from openevs.engine.errors import Busy, Mismatch
from openevs.engine.port import ChangedBlocks, ExportSpec, Extent, Writes
from openevs.testing.conformance.bench import (
    ConformanceError,
    EngineBench,
    expect,
    expect_equal,
    expect_error,
    exports_of,
)
from openevs.testing.conformance.twin import SIZE, STEP, Twin, pattern

_GRAIN = 512


def _changing(bench: EngineBench) -> ChangedBlocks:
    engine = bench.engine
    if not isinstance(engine, ChangedBlocks):
        raise ConformanceError("the engine says that it tells what changed, but has no such method")
    return engine


def _writing(bench: EngineBench) -> Writes:
    engine = bench.engine
    if not isinstance(engine, Writes):
        raise ConformanceError("the engine says that it writes, but has no such methods")
    return engine


async def check_changed_blocks(bench: EngineBench) -> None:
    """Between any two snapshots of a tree with roll-backs and growth, what is told to have changed is all that has;
    also when snapshots between the two are deleted and their layers merged, and after a restart."""
    twin = Twin(bench)
    rng = random.Random(7)  # noqa: S311 - test data
    volume_id = await twin.volume()
    taken = [await twin.snapshot(volume_id)]
    for step in range(9):
        for _ in range(rng.randrange(4)):
            length = rng.choice((_GRAIN, 4096, 70 * 1024))
            size = len(twin.volumes[volume_id].data)
            await twin.write(volume_id, rng.randrange((size - length) // _GRAIN) * _GRAIN, length)
        taken.append(await twin.snapshot(volume_id))
        if step in {3, 7}:
            await twin.revert(volume_id, rng.choice(taken))
        if step == 5:
            await twin.grow(volume_id)
            await twin.write(volume_id, len(twin.volumes[volume_id].data) - 4096, 4096)
    await _compare_changes(twin, "a tree")
    for gone in (1, 4, 6, 3):
        await twin.remove_snapshot(taken[gone])
        if gone % 2:
            await bench.engine.settle()
        await _compare_changes(twin, "after a snapshot was deleted")
    await bench.engine.settle()
    await bench.reopen()
    await _compare_changes(twin, "settled and reopened")


async def check_changes_of_clones(bench: EngineBench) -> None:
    """A volume made from a snapshot has changed where that snapshot holds anything."""
    twin = Twin(bench)
    volume_id = await twin.volume()
    await twin.write(volume_id, SIZE // 2, 8192)
    clone = await twin.clone(await twin.snapshot(volume_id), STEP)
    await twin.write(clone, 4096)
    await twin.snapshot(clone)
    await twin.write(clone, SIZE, 4096)
    await twin.snapshot(clone)
    await _compare_changes(twin, "a clone")


async def check_changes_refused(bench: EngineBench) -> None:
    """Unknown ids, and snapshots of two volumes, cannot be compared; a snapshot has not changed since itself."""
    twin = Twin(bench)
    one, other = await twin.volume(), await twin.volume()
    await twin.write(one)
    mine, theirs = await twin.snapshot(one), await twin.snapshot(other)
    engine, unknown = _changing(bench), SnapshotId(new_uuid())
    for first, second in ((unknown, None), (unknown, mine), (mine, unknown), (mine, theirs)):
        await expect_error(Mismatch, engine.changed_blocks(first, second), f"changes of {first} since {second}")
    expect_equal(list(await engine.changed_blocks(mine, mine)), [], "changes since the same snapshot")


async def check_writes(bench: EngineBench) -> None:
    """What is written, and zeroed, is read at once, held by the next snapshot only, and there after a restart."""
    twin = Twin(bench)
    volume_id = await twin.volume()
    await _write(twin, volume_id, 0, SIZE)
    await _zero(twin, volume_id, 4096, 130 * 1024)
    await _zero(twin, volume_id, SIZE - 512, 512)
    await twin.compare_bytes(volume_id, "written and zeroed")
    before = await twin.snapshot(volume_id)
    await _write(twin, volume_id, 8192, 512)
    await _zero(twin, volume_id, SIZE // 2, 8192)
    await twin.compare_bytes(before, "written on")
    await twin.grow(volume_id)
    await _write(twin, volume_id, SIZE - 4096, 8192)
    await twin.compare_bytes(volume_id, "grown and written")
    clone = await twin.clone(before)
    await _zero(twin, clone, 0, SIZE)
    await _write(twin, clone, 0, 512)
    await _zero(twin, clone, 0, 0)
    for written in (volume_id, clone):
        await _writing(bench).flush(written)
        await _writing(bench).flush(written)
    await bench.reopen()
    await twin.compare("flushed and reopened")
    await _write(twin, volume_id, 0, 4096)
    await twin.revert(volume_id, before)
    await _write(twin, volume_id, 4096, 4096)
    await _writing(bench).flush(volume_id)
    await twin.compare("rolled back and written")


async def check_writes_refused(bench: EngineBench) -> None:
    """Unknown volumes and ranges beyond the end cannot be written; nothing written can be flushed."""
    twin = Twin(bench)
    volume_id, unknown = await twin.volume(), VolumeId(new_uuid())
    engine = _writing(bench)
    for offset, length in ((SIZE, 512), (SIZE - 512, 1024)):
        what = f"bytes {offset} to {offset + length} of {SIZE}"
        await expect_error(Mismatch, engine.write(volume_id, offset, bytes(length)), f"writing {what}")
        await expect_error(Mismatch, engine.write_zeros(volume_id, offset, length), f"zeroing {what}")
    await expect_error(Mismatch, engine.write(unknown, 0, bytes(512)), "writing an unknown volume")
    await expect_error(Mismatch, engine.write_zeros(unknown, 0, 512), "zeroing an unknown volume")
    await engine.flush(volume_id)
    await engine.flush(unknown)
    await twin.compare("after refusals")


async def check_writes_and_exports(bench: EngineBench) -> None:
    """A volume is written by us or by its clients: writing an exported one is Busy, and a client sees what we wrote."""
    twin = Twin(bench)
    volume_id = await twin.volume()
    exports = exports_of(bench)
    await _write(twin, volume_id, 4096, 8192)
    await exports.ensure_export(ExportSpec(volume_id))
    await twin.compare_bytes(volume_id, "exported after it was written")
    await expect_error(Busy, _writing(bench).write(volume_id, 0, bytes(512)), "writing an exported volume")
    await expect_error(Busy, _writing(bench).write_zeros(volume_id, 0, 512), "zeroing an exported volume")
    await twin.write(volume_id, 0, 4096)
    await exports.ensure_no_export(volume_id)
    await _write(twin, volume_id, 512, 512)
    await twin.compare_bytes(volume_id, "written after it was exported")
    await _writing(bench).flush(volume_id)
    await twin.compare_bytes(volume_id, "flushed after it was exported")


async def _write(twin: Twin, volume_id: VolumeId, offset: int, length: int) -> None:
    data = pattern(offset + length, length)
    await _writing(twin.bench).write(volume_id, offset, data)
    twin.volumes[volume_id].data[offset : offset + length] = data


async def _zero(twin: Twin, volume_id: VolumeId, offset: int, length: int) -> None:
    await _writing(twin.bench).write_zeros(volume_id, offset, length)
    twin.volumes[volume_id].data[offset : offset + length] = bytes(length)


async def _compare_changes(twin: Twin, when: str) -> None:
    """Raise ConformanceError if a change between two snapshots of a volume is not told."""
    engine = _changing(twin.bench)
    for snapshot_id, kept in twin.snapshots.items():
        since_zeros = await engine.changed_blocks(snapshot_id, None)
        _compare(since_zeros, kept.data, b"", f"{when}: changes since nothing")
    for one, other in itertools.permutations(twin.snapshots, 2):
        kept, before = twin.snapshots[one], twin.snapshots[other]
        if kept.volume_id == before.volume_id:
            extents = await engine.changed_blocks(one, other)
            _compare(extents, kept.data, before.data, f"{when}: changes of {one} since {other}")


def _compare(extents: Sequence[Extent], data: bytes, before: bytes, what: str) -> None:
    end, same = 0, bytearray(before.ljust(len(data), b"\0")[: len(data)])
    for extent in extents:
        expect(extent.length_bytes > 0 and extent.offset_bytes >= end, f"{what}: extents overlap or are out of order")
        end = extent.offset_bytes + extent.length_bytes
        expect(end <= len(data), f"{what}: an extent reaches beyond the end, to {end}")
        same[extent.offset_bytes : end] = data[extent.offset_bytes : end]
    if same != data:
        at = next(at for at in range(len(data)) if same[at] != data[at])
        raise ConformanceError(f"{what}: byte {at} has changed, and was not told")
