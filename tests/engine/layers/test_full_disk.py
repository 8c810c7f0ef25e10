"""A pool whose file system is full: nothing acknowledged is lost, and what makes room is done."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from openevs.domain.ids import SnapshotId, VolumeId, new_uuid
from openevs.engine.errors import NoSpace
from openevs.engine.layers.reserve import Reserve
from openevs.engine.nbd import NbdError
from openevs.engine.port import VolumeSpec
from tests.engine.layers.bench import BLOCK, Bench, on_bench


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "none", str(place)], check=False)
    if mounted.returncode:
        pytest.skip("a small file system can be mounted by root only")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_loses_nothing_that_was_acknowledged(small_disk: Path) -> None:
    async def test(bench: Bench) -> None:
        volume_id = await bench.volume()
        written = 0
        async with await bench.connect(volume_id) as client:
            await bench.engine.settle()
            with pytest.raises(NbdError) as full:  # noqa: PT012 - which write is the first to fail is not known
                while True:
                    await client.write(written * BLOCK, (written + 1).to_bytes(8, "big") * (BLOCK // 8), fua=True)
                    written += 1
            assert full.value.errno == 28
            with pytest.raises(NoSpace):  # noqa: PT012
                for _ in range(20):  # the first may find room for a manifest
                    await bench.take(volume_id)
            with pytest.raises(NoSpace):
                await bench.engine.ensure_volume(VolumeSpec(VolumeId(new_uuid()), 1 << 30))
            data = await client.read(0, written * BLOCK)
            assert all(data[at * BLOCK : at * BLOCK + 8] == (at + 1).to_bytes(8, "big") for at in range(written))
            subprocess.run(["mount", "-o", "remount,size=40m", str(small_disk)], check=True)  # noqa: ASYNC221
            taken = await bench.snapshot(volume_id)
            await client.write(0, b"z" * BLOCK, fua=True)
            assert (await bench.engine.read(taken, 0, 8)) == (1).to_bytes(8, "big")
        await bench.engine.ensure_no_export(volume_id)
        await bench.lose()
        contents = await bench.engine.read(volume_id, 0, written * BLOCK)
        assert contents[:BLOCK] == b"z" * BLOCK
        assert all(contents[at * BLOCK : at * BLOCK + 8] == (at + 1).to_bytes(8, "big") for at in range(1, written))

    on_bench(test, folder=small_disk)


def fill(folder: Path) -> Path:
    """Leave not a byte."""
    filler = folder / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * BLOCK)
    return filler


def test_a_full_pool_lets_go_of_what_is_in_it(small_disk: Path) -> None:
    async def test(bench: Bench) -> None:
        first, second = await bench.volume(), await bench.volume()
        taken: list[SnapshotId] = []
        for letter in "abc":
            await bench.put(first, 0, letter)
            taken.append(await bench.snapshot(first))
            await bench.put(second, 0, letter)
            await bench.snapshot(second)
        client = await bench.connect(second)
        await client.write(BLOCK, b"d" * BLOCK, fua=True)
        await bench.engine.settle()
        filler = fill(small_disk)
        with pytest.raises(NoSpace):
            await bench.engine.ensure_volume(VolumeSpec(VolumeId(new_uuid()), 1 << 30))
        await client.close()
        await bench.engine.ensure_no_export(second)
        for snapshot_id in taken:
            fill(small_disk)
            await bench.engine.ensure_no_snapshot(snapshot_id)
        await bench.engine.ensure_labels(second, {"name": "still there"})
        await bench.engine.ensure_no_volume(first)
        await bench.lose()
        objects = await bench.engine.list_objects()
        assert list(objects.volumes) == [second]
        assert objects.volumes[second].labels == {"name": "still there"}
        assert (len(objects.snapshots), await bench.text(second, 2)) == (3, "cd")
        filler.unlink()
        await bench.put(second, 0, "e")
        await bench.snapshot(second)
        assert await bench.text(second, 2) == "ed"

    on_bench(test, folder=small_disk)


def test_the_reserve_is_never_a_manifest(tmp_path: Path) -> None:
    """As a process leaves it that is killed while it changes the one for the other."""
    manifest = tmp_path / "manifest"
    manifest.write_text("needed")
    for name in ("reserve", ".reserve.tmp"):
        (tmp_path / name).hardlink_to(manifest)
    Reserve(tmp_path / "reserve").open()
    assert manifest.read_text() == "needed"
    assert (manifest.stat().st_nlink, (tmp_path / "reserve").stat().st_size) == (1, 1 << 20)
