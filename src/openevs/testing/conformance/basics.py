"""Volumes: made, grown, deleted; each call twice; what is said about ids that nothing has."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from openevs.domain.ids import SnapshotId, VolumeId, new_uuid
from openevs.engine.errors import Busy, Mismatch
from openevs.engine.port import POWERS, Reads, SnapshotSpec, VolumeSpec
from openevs.testing.conformance.bench import EngineBench, expect, expect_equal, expect_error
from openevs.testing.conformance.twin import LABELS, SIZE, STEP, Twin


async def check_describe_is_honest(bench: EngineBench) -> None:
    """`powers` names exactly the protocols that the engine has, and the facts are constant."""
    engine = bench.engine
    facts = engine.describe()
    has = {power for power, protocol in POWERS.items() if isinstance(engine, protocol)}
    expect_equal(set(facts.powers), has, "powers")
    expect(facts.max_volume_bytes >= SIZE, "the largest volume is smaller than any use")
    expect(bool(facts.kind and facts.version), "kind or version is empty")
    await bench.reopen()
    expect_equal(bench.engine.describe(), facts, "facts after a reopening")


async def check_calls_twice(bench: EngineBench) -> None:
    """Every method that changes something gives the same facts when it is called again, and does nothing more."""
    twin, engine = Twin(bench), bench.engine
    volume_id = await twin.volume()
    spec = VolumeSpec(volume_id, SIZE, LABELS)
    facts = await engine.inspect_volume(volume_id)
    expect_equal(await engine.ensure_volume(spec), facts, "second ensure_volume")
    other_labels = VolumeSpec(volume_id, SIZE, {"name": "other"})
    expect_equal((await engine.ensure_volume(other_labels)).size_bytes, SIZE, "ensure_volume with other labels")

    await twin.write(volume_id)
    order = twin.snapshot_spec(volume_id)
    taken = await engine.ensure_snapshot(order)
    twin.took(order, taken)
    again = await engine.ensure_snapshot(order)
    expect_equal((again.taken_at, again.size_bytes), (taken.taken_at, taken.size_bytes), "second ensure_snapshot")

    clone_id = await twin.clone(order.snapshot_id)
    clone = VolumeSpec(clone_id, SIZE, LABELS)
    expect_equal(
        await engine.ensure_volume_from_snapshot(clone, order.snapshot_id),
        await engine.inspect_volume(clone_id),
        "second ensure_volume_from_snapshot",
    )
    await twin.write(volume_id)
    token = await twin.revert(volume_id, order.snapshot_id)
    expect_equal(
        (await engine.ensure_reverted(volume_id, order.snapshot_id, token)).applied_token, token, "second revert"
    )
    await twin.grow(volume_id)
    expect_equal(
        await engine.ensure_volume_size(volume_id, SIZE + STEP),
        await engine.inspect_volume(volume_id),
        "second ensure_volume_size",
    )
    await twin.compare("after calling everything twice")
    await twin.remove_snapshot(order.snapshot_id)
    await engine.ensure_no_snapshot(order.snapshot_id)
    await twin.remove_volume(volume_id)
    await engine.ensure_no_volume(volume_id)
    expect(await engine.inspect_volume(volume_id) is None, "a deleted volume can be inspected")
    expect(await engine.inspect_snapshot(order.snapshot_id) is None, "a deleted snapshot can be inspected")
    await twin.compare("after deleting twice")


async def check_unknown_ids(bench: EngineBench) -> None:
    """An id that nothing has: success for deletions, None for inspections, Mismatch for the rest; nothing is made."""
    twin, engine = Twin(bench), bench.engine
    volume_id = await twin.volume()
    other_id = await twin.volume()
    snapshot_id = await twin.snapshot(volume_id)
    nobody, nothing = VolumeId(new_uuid()), SnapshotId(new_uuid())
    before = await engine.list_objects()

    await engine.ensure_no_volume(nobody)
    await engine.ensure_no_snapshot(nothing)
    expect(await engine.inspect_volume(nobody) is None, "an unknown volume can be inspected")
    expect(await engine.inspect_snapshot(nothing) is None, "an unknown snapshot can be inspected")
    refused: list[tuple[str, Callable[[], Awaitable[object]]]] = [
        ("ensure_volume_size of an unknown volume", partial(engine.ensure_volume_size, nobody, SIZE)),
        ("ensure_snapshot of an unknown volume", partial(engine.ensure_snapshot, SnapshotSpec(nothing, nobody))),
        (
            "ensure_volume_from_snapshot of an unknown snapshot",
            partial(engine.ensure_volume_from_snapshot, VolumeSpec(nobody, SIZE), nothing),
        ),
        ("ensure_reverted of an unknown volume", partial(engine.ensure_reverted, nobody, snapshot_id, 1)),
        ("ensure_reverted to an unknown snapshot", partial(engine.ensure_reverted, volume_id, nothing, 1)),
        ("ensure_reverted to a snapshot of another volume", partial(engine.ensure_reverted, other_id, snapshot_id, 1)),
        (
            "ensure_snapshot with the id of another volume's snapshot",
            partial(engine.ensure_snapshot, SnapshotSpec(snapshot_id, other_id)),
        ),
    ]
    for what, call in refused:
        await expect_error(Mismatch, call(), what)
    if isinstance(engine, Reads):
        await expect_error(Mismatch, engine.read(nobody, 0, 512), "read of an unknown volume")
        await expect_error(Mismatch, engine.read(nothing, 0, 512), "read of an unknown snapshot")
        await expect_error(Mismatch, engine.read(volume_id, SIZE - 512, 1024), "read beyond the end of a volume")
        await expect_error(Mismatch, engine.read(snapshot_id, SIZE, 512), "read beyond the end of a snapshot")
    expect_equal(await engine.list_objects(), before, "objects after refused calls")
    await bench.reopen()
    await twin.compare("after refused calls and a reopening")


async def check_size_mismatch(bench: EngineBench) -> None:
    """Another size than the present one is Mismatch, and changes nothing."""
    twin, engine = Twin(bench), bench.engine
    volume_id = await twin.volume()
    await twin.write(volume_id)
    snapshot_id = await twin.snapshot(volume_id)
    clone_id = await twin.clone(snapshot_id)
    fresh = VolumeId(new_uuid())
    refused: list[tuple[str, Callable[[], Awaitable[object]]]] = [
        ("ensure_volume, larger than there", partial(engine.ensure_volume, VolumeSpec(volume_id, SIZE + STEP))),
        ("ensure_volume, smaller than there", partial(engine.ensure_volume, VolumeSpec(volume_id, SIZE - STEP))),
        ("ensure_volume_size, smaller than there", partial(engine.ensure_volume_size, volume_id, SIZE - STEP)),
        (
            "ensure_volume_from_snapshot, smaller than the snapshot",
            partial(engine.ensure_volume_from_snapshot, VolumeSpec(fresh, SIZE - STEP), snapshot_id),
        ),
        (
            "ensure_volume_from_snapshot, larger than the clone that is there",
            partial(engine.ensure_volume_from_snapshot, VolumeSpec(clone_id, SIZE + STEP), snapshot_id),
        ),
    ]
    for what, call in refused:
        await expect_error(Mismatch, call(), what)
    expect(await engine.inspect_volume(fresh) is None, "a refused clone is there")
    await twin.compare("after refused sizes")


async def check_new_space_is_zero(bench: EngineBench) -> None:
    """A new volume, and what a volume grows by, reads as zeros; also beside bytes that were written."""
    twin = Twin(bench)
    volume_id = await twin.volume()
    await twin.compare("a new volume")
    await twin.write(volume_id, SIZE - 512, 512)
    await twin.grow(volume_id, 512)
    await twin.compare("grown by one sector")
    await twin.grow(volume_id)
    await twin.write(volume_id, SIZE + 4096 - 512, 1024)
    await twin.compare("grown, and written beyond the old end")
    await bench.reopen()
    await twin.compare("grown, written and reopened")


async def check_deleted_bytes_stay_away(bench: EngineBench) -> None:
    """Bytes of a deleted volume never reappear in one made later."""
    twin = Twin(bench)
    for _ in range(2):
        volume_id = await twin.volume()
        await twin.write(volume_id, 0, SIZE)
        await twin.remove_volume(volume_id)
        await twin.volume()
        await twin.compare("made after a full one was deleted")
    await bench.engine.settle()
    await twin.volume(SIZE + STEP)
    await bench.reopen()
    await twin.compare("made after full ones were deleted, settled and reopened")


async def check_list_equals_what_was_made(bench: EngineBench) -> None:
    """`list_objects` and `inspect_…` tell all that was made, and nothing more, also after a reopening."""
    before = await bench.engine.list_objects()
    twin = Twin(bench)
    volumes = [await twin.volume(SIZE + n * STEP) for n in range(3)]
    first = await twin.snapshot(volumes[0])
    await twin.snapshot(volumes[0])
    await twin.clone(first, STEP)
    await twin.revert(volumes[0], first)
    await twin.remove_volume(volumes[2])
    for when in ("made", "made and reopened"):
        objects = await bench.engine.list_objects()
        expect_equal(set(objects.volumes) - set(before.volumes), set(twin.volumes), f"volumes listed, {when}")
        expect_equal(set(objects.snapshots) - set(before.snapshots), set(twin.snapshots), f"snapshots listed, {when}")
        await twin.compare_facts(when)
        await bench.reopen()


async def check_labels(bench: EngineBench) -> None:
    """Labels of a volume and of a snapshot are changed, each by itself; what is not named stays, as do the bytes."""
    twin, engine = Twin(bench), bench.engine
    volume_id = await twin.volume()
    await twin.write(volume_id)
    first, second = await twin.snapshot(volume_id), await twin.snapshot(volume_id)
    before = await engine.list_objects()
    await engine.ensure_labels(first, {"new": "of the snapshot"})
    for _ in range(2):
        await engine.ensure_labels(volume_id, {"new": "of the volume", "project_id": "another"})
    await engine.ensure_labels(VolumeId(new_uuid()), {"new": "of nobody"})
    for when in ("labelled", "labelled and reopened"):
        objects = await engine.list_objects()
        facts = await engine.inspect_volume(volume_id)
        expect(facts is not None and facts == objects.volumes[volume_id], f"inspected otherwise than listed, {when}")
        expected = {**before.volumes[volume_id].labels, "new": "of the volume", "project_id": "another"}
        expect_equal(dict(objects.volumes[volume_id].labels), expected, f"the volume's labels, {when}")
        expected = {**before.snapshots[first].labels, "new": "of the snapshot"}
        expect_equal(dict(objects.snapshots[first].labels), expected, f"the snapshot's labels, {when}")
        expect_equal(objects.snapshots[second], before.snapshots[second], f"the other snapshot, {when}")
        await bench.reopen()
    for object_id in (volume_id, first, second):
        await twin.compare_bytes(object_id, "after labelling")


async def check_reached(bench: EngineBench) -> None:
    """What the work has reached is kept, for good, and never goes down."""
    number = (await bench.engine.list_objects()).reached + 2
    for lower in (0, 1):
        await bench.engine.ensure_reached(number - lower)
    for when in ("kept", "kept and reopened"):
        expect_equal((await bench.engine.list_objects()).reached, number, f"the number, {when}")
        await bench.reopen()


async def check_capacity(bench: EngineBench) -> None:
    """Provisioned bytes are the sum of the volumes' sizes; free is at most total."""
    before = await bench.engine.capacity()
    twin = Twin(bench)
    volume_id = await twin.volume()
    await twin.snapshot(volume_id)
    await twin.grow(volume_id)
    after = await bench.engine.capacity()
    expect_equal(after.provisioned_bytes - before.provisioned_bytes, SIZE + STEP, "bytes provisioned by a volume")
    expect(0 <= after.free_bytes <= after.total_bytes, "free bytes are not between 0 and the total")


async def check_busy_names_the_snapshots(bench: EngineBench) -> None:
    """A volume with snapshots cannot be deleted; Busy names them, and it works when they have gone."""
    twin = Twin(bench)
    volume_id = await twin.volume()
    await twin.write(volume_id)
    snapshots = [await twin.snapshot(volume_id) for _ in range(2)]
    busy = await expect_error(Busy, bench.engine.ensure_no_volume(volume_id), "deleting a volume with snapshots")
    expect_equal(set(busy.by), set(snapshots), "what Busy names")
    await twin.compare("after a refused deletion")
    for snapshot_id in snapshots:
        await twin.remove_snapshot(snapshot_id)
    await twin.remove_volume(volume_id)
    await twin.compare_facts("after the deletion")


async def check_at_once(bench: EngineBench) -> None:
    """Many volumes made, snapshotted, grown and deleted at once do not disturb one another."""
    twin = Twin(bench)

    async def life(keep: bool) -> None:
        volume_id = await twin.volume()
        await twin.write(volume_id, 4096 * len(twin.volumes))
        snapshot_id = await twin.snapshot(volume_id)
        await twin.grow(volume_id)
        if not keep:
            await twin.remove_snapshot(snapshot_id)
            await twin.remove_volume(volume_id)

    await asyncio.gather(*(life(keep=number % 3 == 0) for number in range(9)))
    await twin.compare("after nine lives at once")
    order = VolumeSpec(VolumeId(new_uuid()), SIZE, LABELS)
    facts = await asyncio.gather(*(bench.engine.ensure_volume(order) for _ in range(5)))
    expect(all(one == facts[0] for one in facts), "five ensure_volume of one id at once gave different facts")
    await asyncio.gather(*(bench.engine.ensure_no_volume(order.volume_id) for _ in range(5)))
    expect(await bench.engine.inspect_volume(order.volume_id) is None, "a volume is there after five deletions at once")
