"""Calls that are cut short at any point, and called again by another process."""

import random
from collections.abc import Awaitable, Callable
from time import perf_counter

from openevs.domain.ids import VolumeId, new_uuid
from openevs.engine.port import VolumeSpec
from openevs.testing.conformance.bench import EngineBench, expect, expect_equal, interrupted
from openevs.testing.conformance.twin import LABELS, SIZE, Twin

_POINTS = 4


async def points(call: Awaitable[object]) -> list[float]:
    """Await `call`, and return moments within the time it took, in seconds: at its beginning, and anywhere."""
    started = perf_counter()
    await call
    took = perf_counter() - started
    rng = random.Random(1)  # noqa: S311 - test data
    return [0.0, *(took * (number + rng.random()) / (_POINTS - 1) for number in range(_POINTS - 1))]


async def _resume(bench: EngineBench, point: float, call: Callable[[], Awaitable[object]]) -> None:
    """Cut `call` short, lose the engine, and call again."""
    await interrupted(call(), point)
    await bench.reopen()
    await call()


async def check_interrupted_creation(bench: EngineBench) -> None:
    """Making a volume or a clone that was cut short ends as asked for when called again; nothing else changes."""
    twin = Twin(bench)
    source = await twin.volume()
    await twin.write(source, 0, SIZE)
    snapshot_id = await twin.snapshot(source)

    async def make_volume(point: float) -> None:
        spec = VolumeSpec(VolumeId(new_uuid()), SIZE, LABELS)
        await _resume(bench, point, lambda: bench.engine.ensure_volume(spec))
        await bench.engine.ensure_no_volume(spec.volume_id)

    async def make_clone(point: float) -> None:
        spec = VolumeSpec(VolumeId(new_uuid()), SIZE, LABELS)
        await _resume(bench, point, lambda: bench.engine.ensure_volume_from_snapshot(spec, snapshot_id))
        found = await bench.read(spec.volume_id, 0, SIZE)
        expect(found == twin.snapshots[snapshot_id].data, "bytes of a clone whose making was cut short are others")
        await bench.engine.ensure_no_volume(spec.volume_id)

    for point in await points(twin.volume()):
        await make_volume(point)
    for point in await points(twin.clone(snapshot_id)):
        await make_clone(point)
    await twin.compare("after creations that were cut short")


async def check_interrupted_snapshot(bench: EngineBench) -> None:
    """A snapshot that was cut short is there wholly or not at all, and has one moment once it has been seen."""
    twin = Twin(bench)
    volume_id = await twin.volume()
    await twin.write(volume_id, 0, SIZE // 2)
    for point in await points(twin.snapshot(volume_id)):
        await twin.write(volume_id, 4096)
        order = twin.snapshot_spec(volume_id)
        await interrupted(bench.engine.ensure_snapshot(order), point)
        await bench.reopen()
        seen = await bench.engine.inspect_snapshot(order.snapshot_id)
        if seen is not None:
            twin.took(order, seen)
            await twin.write(volume_id, 8192)
        facts = await bench.engine.ensure_snapshot(order)
        if seen is None:
            twin.took(order, facts)
        else:
            expect_equal(facts.taken_at, seen.taken_at, "moment of a snapshot that was there after the interruption")
        await twin.write(volume_id, 12288)
        await twin.compare("after a snapshot that was cut short")


async def check_interrupted_deletion(bench: EngineBench) -> None:
    """Deleting a snapshot from the middle that was cut short harms nothing, and can be done again."""
    twin = Twin(bench)
    volume_id = await twin.volume()
    for number in range(2 * _POINTS + 2):
        await twin.write(volume_id, number * 16384, 65536)
        await twin.snapshot(volume_id)
    snapshots = list(twin.snapshots)
    clone = await twin.clone(snapshots[3])
    for snapshot_id, point in zip(snapshots[2::2], await points(twin.remove_snapshot(snapshots[0])), strict=True):
        await interrupted(bench.engine.ensure_no_snapshot(snapshot_id), point)
        await bench.kill_helpers()
        await bench.reopen()
        seen = await bench.engine.inspect_snapshot(snapshot_id)
        if seen is None:
            del twin.snapshots[snapshot_id]
        await twin.compare("after a deletion that was cut short")
        await bench.engine.ensure_no_snapshot(snapshot_id)
        twin.snapshots.pop(snapshot_id, None)
        await interrupted(bench.engine.settle(), point)  # the background's work is cut short as well
        await bench.reopen()
    await bench.engine.settle()
    await twin.compare("after deletions that were cut short")
    await twin.write(clone, 0, 512)
    await twin.compare_bytes(clone, "a clone, after deletions that were cut short")


async def check_interrupted_revert(bench: EngineBench) -> None:
    """A roll-back that was cut short has taken place, with its token, or not at all; repeated, it has."""
    twin = Twin(bench)
    volume_id = await twin.volume()
    await twin.write(volume_id)
    first = await twin.snapshot(volume_id)
    await twin.write(volume_id)
    second = await twin.snapshot(volume_id)
    for number, point in enumerate(await points(twin.revert(volume_id, first))):
        target = (first, second)[number % 2]
        await twin.write(volume_id, 4096)
        token = twin.next_token()
        await interrupted(bench.engine.ensure_reverted(volume_id, target, token), point)
        await bench.reopen()
        seen = await bench.engine.inspect_volume(volume_id)
        if seen is not None and seen.applied_token == token:
            twin.reverted(volume_id, target, seen)
        await twin.compare("after a roll-back that was cut short")
        twin.reverted(volume_id, target, await bench.engine.ensure_reverted(volume_id, target, token))
        await twin.compare("after the roll-back was called again")


async def check_interrupted_growth_and_removal(bench: EngineBench) -> None:
    """Growing, or deleting, a volume that was cut short ends as asked for when called again."""
    twin = Twin(bench)
    keeper = await twin.volume()
    await twin.write(keeper, SIZE - 4096, 4096)

    async def grow(point: float) -> None:
        size = len(twin.volumes[keeper].data) + 4096
        await _resume(bench, point, lambda: bench.engine.ensure_volume_size(keeper, size))
        twin.volumes[keeper].data.extend(bytes(4096))

    async def remove(point: float) -> None:
        goer = await twin.volume()
        await _resume(bench, point, lambda: bench.engine.ensure_no_volume(goer))
        del twin.volumes[goer]

    for point in await points(twin.grow(keeper, 4096)):
        await grow(point)
    await twin.compare("after growths that were cut short")
    for point in await points(twin.remove_volume(await twin.volume())):
        await remove(point)
    await twin.compare("after deletions of volumes that were cut short")
