"""Trees of snapshots: taken, rolled back to, branched off and deleted in every order; and volumes made from them."""

import itertools
import random

from openevs.domain.ids import SnapshotId, VolumeId
from openevs.engine.errors import Stale
from openevs.engine.port import VolumeSpec
from openevs.testing.conformance.bench import EngineBench, expect_equal, expect_error
from openevs.testing.conformance.twin import LABELS, SIZE, STEP, Twin

_PLACES = (0, 4096, 131072 - 512, SIZE // 2, SIZE - 8192)  # starts, ends and borders of usual clusters


async def _branching_tree(twin: Twin) -> tuple[VolumeId, list[SnapshotId], list[VolumeId]]:
    """Take, write, take, roll back, write, take; make a volume of the middle, and one of that one's snapshot."""
    volume_id = await twin.volume()
    await twin.write(volume_id, 0, SIZE // 2)
    first = await twin.snapshot(volume_id)
    await twin.write(volume_id, 4096)
    second = await twin.snapshot(volume_id)
    await twin.write(volume_id, 131072 - 512)
    await twin.revert(volume_id, first)
    await twin.write(volume_id, 8192)
    third = await twin.snapshot(volume_id)
    await twin.write(volume_id, SIZE // 2)
    clone = await twin.clone(second)
    await twin.write(clone, 0, 512)
    of_clone = await twin.snapshot(clone)
    await twin.write(clone, 1024, 512)
    grandchild = await twin.clone(of_clone, STEP)
    await twin.write(grandchild, SIZE - 512, 1024)
    return volume_id, [first, second, third, of_clone], [clone, grandchild]


async def check_branching_tree(bench: EngineBench) -> None:
    """Every node of a branching tree keeps its bytes; going round all its snapshots by roll-back gives each again."""
    twin = Twin(bench)
    volume_id, snapshots, _ = await _branching_tree(twin)
    await twin.compare("a branching tree")
    for snapshot_id in (*snapshots[:3], snapshots[0]):
        await twin.revert(volume_id, snapshot_id)
        await twin.compare_bytes(volume_id, "rolled back")
        await twin.write(volume_id, 65536)
    await twin.compare("after going round")
    await bench.engine.settle()
    await bench.reopen()
    await twin.compare("after going round, settled and reopened")


async def check_tree_deleted_in_every_order(bench: EngineBench) -> None:
    """Whatever order the tree's snapshots are deleted in, and the volumes as soon as they may be, the rest keeps its
    bytes."""
    for number, order in enumerate(itertools.permutations(range(3))):
        rng = random.Random(number)  # noqa: S311 - test data
        twin = Twin(bench)
        volume_id, snapshots, clones = await _branching_tree(twin)
        goers = [snapshots[index] for index in order]
        goers.insert(rng.randrange(4), snapshots[3])
        for snapshot_id in goers:
            await twin.remove_snapshot(snapshot_id)
            if rng.random() < 0.5:
                await bench.engine.settle()
            for candidate in (clones[1], clones[0], volume_id):
                may_go = candidate in twin.volumes and not twin.snapshots_of(candidate)
                if may_go and rng.random() < 0.4:
                    await twin.remove_volume(candidate)
            await twin.compare(f"deleting in the order {order}")


async def check_clone_outlives_its_source(bench: EngineBench) -> None:
    """A clone, and a clone of it, keep their bytes when the snapshot and the volume they come from are deleted."""
    twin = Twin(bench)
    volume_id = await twin.volume()
    await twin.write(volume_id, 0, SIZE)
    source = await twin.snapshot(volume_id)
    clone = await twin.clone(source)
    await twin.write(clone, 4096)
    await twin.compare("a clone that was written to")
    middle = await twin.snapshot(clone)
    last = await twin.clone(middle, STEP)
    await twin.remove_snapshot(source)
    await twin.compare("the source snapshot deleted")
    await twin.remove_volume(volume_id)
    await twin.compare("the source volume deleted")
    await twin.remove_snapshot(middle)
    await twin.remove_volume(clone)
    await bench.engine.settle()
    await twin.compare("only the clone's clone left")
    await bench.reopen()
    await twin.write(last, SIZE - 4096)
    await twin.compare("only the clone's clone left, reopened and written to")


async def check_clone_repeat_keeps_writes(bench: EngineBench) -> None:
    """A repeat never resets a clone that was written to since, also when its source is gone."""
    twin = Twin(bench)
    volume_id = await twin.volume()
    await twin.write(volume_id)
    source = await twin.snapshot(volume_id)
    clone = await twin.clone(source)
    await twin.write(clone, 4096)
    spec = VolumeSpec(clone, SIZE, LABELS)
    await bench.engine.ensure_volume_from_snapshot(spec, source)
    await twin.compare("repeat after a write")
    await bench.reopen()
    await bench.engine.ensure_volume_from_snapshot(spec, source)
    await twin.compare("repeat after a write and a reopening")
    await twin.remove_snapshot(source)
    await bench.engine.ensure_volume_from_snapshot(spec, source)
    await twin.compare("repeat after the source was deleted")


async def check_larger_clone_reads_zeros(bench: EngineBench) -> None:
    """What a clone is larger by reads as zeros, also if the source grew, was written there, and was rolled back."""
    twin = Twin(bench)
    volume_id = await twin.volume()
    await twin.write(volume_id, SIZE - 4096, 4096)
    small = await twin.snapshot(volume_id)
    await twin.grow(volume_id)
    await twin.write(volume_id, SIZE, STEP)
    await twin.clone(small, STEP)
    large = await twin.snapshot(volume_id)
    await twin.clone(large, 512)
    await twin.compare("clones that are larger than their snapshots")
    await twin.remove_snapshot(small)
    await bench.engine.settle()
    await twin.compare("clones that are larger than their snapshots, one of which is deleted")


async def check_revert(bench: EngineBench) -> None:
    """A roll-back gives the snapshot's bytes and leaves every snapshot, newer ones too."""
    twin = Twin(bench)
    volume_id = await twin.volume()
    snapshots = []
    for place in _PLACES:
        await twin.write(volume_id, place)
        snapshots.append(await twin.snapshot(volume_id))
    for snapshot_id in (snapshots[1], snapshots[4], snapshots[0]):
        await twin.write(volume_id, 16384)
        await twin.revert(volume_id, snapshot_id)
        await twin.compare("after a roll-back")
    await bench.reopen()
    await twin.compare("after three roll-backs and a reopening")


async def check_revert_token(bench: EngineBench) -> None:
    """The token of a roll-back is kept with the volume: the same again changes nothing, an older one is Stale."""
    twin = Twin(bench)
    volume_id = await twin.volume()
    await twin.write(volume_id)
    first = await twin.snapshot(volume_id)
    await twin.write(volume_id)
    second = await twin.snapshot(volume_id)
    older = await twin.revert(volume_id, second)
    token = await twin.revert(volume_id, first)
    await twin.write(volume_id, 4096)
    for when in ("after a write", "after a write and a reopening"):
        facts = await bench.engine.ensure_reverted(volume_id, first, token)
        expect_equal(facts.applied_token, token, f"applied token, repeat {when}")
        await twin.compare(f"repeat {when}")
        late = bench.engine.ensure_reverted(volume_id, second, older)
        await expect_error(Stale, late, f"a late roll-back {when}")
        await twin.compare(f"a late roll-back {when}")
        await bench.reopen()
    later = await twin.snapshot(volume_id)
    await twin.grow(volume_id)
    await twin.compare("the token after a snapshot and a growth")
    await expect_error(
        Stale, bench.engine.ensure_reverted(volume_id, later, older), "a late roll-back after a snapshot"
    )
    await twin.revert(volume_id, later)
    await twin.compare("a newer token")


async def check_grow_then_revert(bench: EngineBench) -> None:
    """A roll-back keeps the volume's size; what lies beyond the snapshot's end reads as zeros."""
    twin = Twin(bench)
    volume_id = await twin.volume()
    await twin.write(volume_id, SIZE - 512, 512)
    snapshot_id = await twin.snapshot(volume_id)
    await twin.grow(volume_id)
    await twin.write(volume_id, SIZE - 4096, STEP)
    large = await twin.snapshot(volume_id)
    await twin.revert(volume_id, snapshot_id)
    await twin.compare("grown and rolled back")
    await twin.write(volume_id, SIZE + 4096)
    await bench.reopen()
    await twin.compare("grown, rolled back, written and reopened")
    await twin.revert(volume_id, large)
    await twin.compare("rolled back to the larger one")
