"""Files that an administrator puts into the pool become volumes; what is half-way is finished or as before."""

import asyncio
import os
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from openevs import durable
from openevs.domain.ids import SnapshotId, VolumeId, new_uuid
from openevs.engine.errors import Broken, EngineError, Mismatch, OutcomeUnknown
from openevs.engine.layers import manifest, strays, tool
from openevs.engine.layers.engine import LayersEngine
from openevs.engine.layers.pool import new_layer_id
from openevs.engine.port import SnapshotSpec, VolumeSpec

MIB = 1 << 20
SIZE = 8 * MIB
TEXT = b"put here by hand " * 1000


def with_engine(folder: Path, work: Callable[[LayersEngine, Path], Awaitable[None]]) -> None:
    async def main() -> None:
        pool, run = folder / "p", folder / "r"
        pool.mkdir(exist_ok=True)
        engine = LayersEngine(pool, run)
        await engine.open()
        try:
            await work(engine, pool)
        finally:
            await engine.close()

    asyncio.run(main())


def spec(size: int = SIZE) -> VolumeSpec:
    return VolumeSpec(VolumeId(new_uuid()), size)


def put(pool: Path, name: str, kind: str) -> Path:
    """Put a file there as an administrator would."""
    path = pool / "incoming" / name
    raw = path if kind == "raw" else pool.parent / "raw"
    raw.write_bytes(TEXT.ljust(5 * MIB, b"\0"))
    if kind != "raw":
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", str(raw), str(path)], check=True)
    return path


def put_overlay(base: Path, path: Path) -> None:
    """Put a file there whose bytes are partly in another one."""
    create = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(base), "-F", "raw", str(path)]
    subprocess.run(create, check=True)


def manifests_in(pool: Path) -> list[str]:
    """Return every manifest there is."""
    return [
        str(path.relative_to(pool)) for folder in ("volumes", "released") for path in (pool / folder).glob("*.json")
    ]


@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_a_file_becomes_a_volume(tmp_path: Path, kind: str) -> None:
    async def work(engine: LayersEngine, pool: Path) -> None:
        path = put(pool, "disk.img", kind)
        (stray,) = await engine.list_strays()
        assert (stray.name, stray.kind, stray.size_bytes, stray.unsafe) == (
            "incoming/disk.img",
            "volume",
            5 * MIB,
            None,
        )
        wanted = spec()
        for _ in range(2):
            assert (await engine.ensure_adopted(wanted, "incoming/disk.img")).size_bytes == SIZE
        assert not path.exists()
        assert list((pool / "incoming").iterdir()) == []
        assert await engine.read(wanted.volume_id, 0, len(TEXT)) == TEXT
        assert await engine.read(wanted.volume_id, 5 * MIB, 3 * MIB) == bytes(3 * MIB)
        snapshot = SnapshotId(new_uuid())
        await engine.ensure_snapshot(SnapshotSpec(snapshot, wanted.volume_id))
        clone = spec()
        await engine.ensure_volume_from_snapshot(clone, snapshot)
        assert await engine.read(clone.volume_id, 0, len(TEXT)) == TEXT
        await engine.write(wanted.volume_id, 0, b"x" * 512)
        await engine.close()
        await engine.open()
        assert await engine.read(wanted.volume_id, 512, 1024) == TEXT[512:1536]
        assert await engine.check() == []

    with_engine(tmp_path, work)


def test_what_cannot_be_adopted_stays_where_it_is(tmp_path: Path) -> None:
    async def work(engine: LayersEngine, pool: Path) -> None:
        base = put(pool, "base.img", "raw")
        put_overlay(base, pool / "incoming" / "overlay.qcow2")
        (pool / "incoming" / "link.img").symlink_to("/etc/passwd")
        (pool / "incoming" / "empty.img").touch()
        (pool / "incoming" / "cut.qcow2").write_bytes(b"QFI\xfb" + bytes(20))
        found = {stray.name: stray.unsafe for stray in await engine.list_strays()}
        assert found.keys() == {f"incoming/{name}" for name in ("base.img", "overlay.qcow2", "empty.img", "cut.qcow2")}
        assert found["incoming/overlay.qcow2"] == "its bytes are partly in another file"
        for name in ("overlay.qcow2", "link.img", "empty.img", "cut.qcow2", "../pool.json", "none", ".hidden"):
            with pytest.raises(Mismatch):
                await engine.ensure_adopted(spec(), f"incoming/{name}")
        with pytest.raises(Mismatch):
            await engine.ensure_adopted(spec(MIB), "incoming/base.img")
        assert {stray.name: stray.unsafe for stray in await engine.list_strays()} == found
        assert (await engine.list_objects()).volumes == {}

    with_engine(tmp_path, work)


def test_an_adoption_that_was_interrupted_is_finished_or_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(engine: LayersEngine, pool: Path) -> None:
        put(pool, "disk.img", "raw")
        wanted = spec()
        # As a process leaves it that is killed while it copies.
        (pool / "incoming" / "disk.img").rename(strays._taken_path(engine._core(), wanted.volume_id))
        assert await engine.list_strays() == []
        await engine.ensure_released(wanted.volume_id, "incoming/disk.img")
        assert [stray.name for stray in await engine.list_strays()] == ["incoming/disk.img"]
        (pool / "incoming" / "disk.img").rename(strays._taken_path(engine._core(), wanted.volume_id))
        await engine.ensure_adopted(wanted, "incoming/disk.img")
        assert await engine.read(wanted.volume_id, 0, len(TEXT)) == TEXT

        async def full(*words: str) -> str:
            raise OSError(28, "No space left on device")

        put(pool, "next.img", "raw")
        monkeypatch.setattr("openevs.engine.layers.tool.run_tool", full)
        with pytest.raises(EngineError):
            await engine.ensure_adopted(spec(), "incoming/next.img")
        assert [stray.name for stray in await engine.list_strays()] == ["incoming/next.img"]

    with_engine(tmp_path, work)


def test_a_file_that_cannot_be_read_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(engine: LayersEngine, pool: Path) -> None:
        for name in ("good.img", "gone.img", "secret.img"):
            put(pool, name, "raw")
        read = strays._read_file

        def refused(path: Path, most: int) -> strays.Incoming:
            if path.name == "gone.img":
                raise FileNotFoundError(2, "No such file or directory")
            if path.name == "secret.img":
                raise PermissionError(13, "Permission denied")
            return read(path, most)

        monkeypatch.setattr(strays, "_read_file", refused)
        found = {stray.name: stray.unsafe for stray in await engine.list_strays()}
        assert found == {"incoming/good.img": None, "incoming/secret.img": "it cannot be read (Permission denied)"}

    with_engine(tmp_path, work)


def test_what_a_file_says_of_another_one_is_never_followed(tmp_path: Path) -> None:
    """Not even if it says so only after it was looked at."""

    async def work(engine: LayersEngine, pool: Path) -> None:
        base, path = put(pool, "base.img", "raw"), pool / "incoming" / "overlay.qcow2"
        put_overlay(base, path)
        opened = engine._open
        assert opened is not None
        layer = new_layer_id()
        await opened.strays._copy(path, "qcow2", layer, SIZE)
        raw = pool.parent / "copy"
        made = opened.core.pool.layer_path(layer)
        await tool.run_tool("qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(made), str(raw))
        assert raw.read_bytes() == bytes(SIZE)

    with_engine(tmp_path, work)


def test_headers_that_lie_do_no_harm(tmp_path: Path) -> None:
    async def work(engine: LayersEngine, pool: Path) -> None:
        for name, at, value in (("size", 24, 1 << 63), ("tables", 36, 0xFFFFFFFF), ("places", 40, 1 << 62)):
            path = put(pool, f"{name}.qcow2", "qcow2")
            with path.open("r+b") as file:
                file.seek(at)
                file.write(value.to_bytes(4 if name == "tables" else 8, "big"))
        found = {stray.name: stray for stray in await engine.list_strays()}
        assert found["incoming/size.qcow2"].unsafe == "it is larger than a volume may be"
        assert found["incoming/size.qcow2"].size_bytes <= engine.describe().max_volume_bytes
        for name in found:
            with pytest.raises((Mismatch, Broken)):
                await engine.ensure_adopted(spec(), name)
        assert {stray.name for stray in await engine.list_strays()} == set(found)
        assert (await engine.list_objects()).volumes == {}
        assert list((pool / "layers").iterdir()) == []

    with_engine(tmp_path, work)


def test_a_file_that_was_not_copied_to_its_end_is_not_adopted(tmp_path: Path) -> None:
    async def work(engine: LayersEngine, pool: Path) -> None:
        path, raw = pool / "incoming" / "half.qcow2", pool.parent / "raw"
        raw.write_bytes(os.urandom(5 * MIB))
        await tool.run_tool("qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(path))
        os.truncate(path, 3 * MIB)
        with pytest.raises(Mismatch, match="damaged"):
            await engine.ensure_adopted(spec(), "incoming/half.qcow2")
        assert path.stat().st_size == 3 * MIB

    with_engine(tmp_path, work)


def test_what_was_a_file_can_be_adopted_again_after_it_was_taken_back(tmp_path: Path) -> None:
    async def work(engine: LayersEngine, pool: Path) -> None:
        put(pool, "disk.img", "raw")
        first, second = spec(), spec()
        await engine.ensure_adopted(first, "incoming/disk.img")
        for _ in range(2):  # as an operation does whose last try had its effect and yet failed
            await engine.ensure_released(first.volume_id, "incoming/disk.img")
        assert [stray.name for stray in await engine.list_strays()] == ["incoming/disk.img"]
        await engine.ensure_adopted(second, "incoming/disk.img")
        assert await engine.read(second.volume_id, 0, len(TEXT)) == TEXT
        assert await engine.list_strays() == []

    with_engine(tmp_path, work)


def test_files_that_were_left_half_way_are_removed_or_told_of(tmp_path: Path) -> None:
    done, given_up = spec(), spec()

    async def first(engine: LayersEngine, pool: Path) -> None:
        put(pool, "disk.img", "raw")
        await engine.ensure_adopted(done, "incoming/disk.img")
        for wanted in (done, given_up):
            put(pool, "left.img", "raw").rename(strays._taken_path(engine._core(), wanted.volume_id))

    async def second(engine: LayersEngine, pool: Path) -> None:
        (left,) = (pool / "incoming").iterdir()
        assert left.name.endswith(given_up.volume_id)
        (complaint,) = await engine.check()
        assert str(given_up.volume_id) in complaint

    with_engine(tmp_path, first)
    with_engine(tmp_path, second)


async def make_anew(engine: LayersEngine, first: VolumeSpec, second: VolumeSpec) -> None:
    await engine.ensure_volume(second)


async def let_go(engine: LayersEngine, first: VolumeSpec, second: VolumeSpec) -> None:
    await engine.ensure_released(first.volume_id, "name")


async def take_over(engine: LayersEngine, first: VolumeSpec, second: VolumeSpec) -> None:
    await engine.ensure_adopted(second, "name")


async def take_file(engine: LayersEngine, first: VolumeSpec, second: VolumeSpec) -> None:
    await engine.ensure_adopted(second, "incoming/disk.img")


@pytest.mark.parametrize("call", [make_anew, let_go, take_over, take_file])
def test_a_manifest_that_may_not_last_counts_all_the_same(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: Callable[[LayersEngine, VolumeSpec, VolumeSpec], Awaitable[None]],
) -> None:
    """It is in its place, but to make that last has failed: nothing that it needs may be removed."""
    first, second, sync = spec(), spec(), durable.sync_folder

    def fails(path: Path) -> None:
        if path.name in ("volumes", "released"):
            raise OSError(5, "Input/output error")
        sync(path)

    async def work(engine: LayersEngine, pool: Path) -> None:
        put(pool, "disk.img", "raw")
        await engine.ensure_volume(first)
        await engine.write(first.volume_id, 0, TEXT[:512])
        await engine.flush(first.volume_id)
        if call is take_over:
            await engine.ensure_released(first.volume_id, "name")
        with monkeypatch.context() as patched:
            patched.setattr(durable, "sync_folder", fails)
            with pytest.raises(OutcomeUnknown):
                await call(engine, first, second)
        await engine.settle()
        await call(engine, first, second)

    async def look(engine: LayersEngine, pool: Path) -> None:
        volumes, names = set((await engine.list_objects()).volumes), {one.name for one in await engine.list_strays()}
        if call is let_go:
            assert (volumes, names) == (set(), {"incoming/disk.img", "name"})
            await engine.ensure_adopted(second, "name")
        else:
            assert volumes == ({second.volume_id} if call is take_over else {first.volume_id, second.volume_id})
        assert len(manifests_in(pool)) == len((await engine.list_objects()).volumes)
        expected = bytes(512) if call is make_anew else TEXT[:512]
        assert await engine.read(second.volume_id, 0, 512) == expected
        assert await engine.check() == []

    with_engine(tmp_path, work)
    with_engine(tmp_path, look)


@pytest.mark.parametrize("which", ["released", "adopted"])
def test_of_two_manifests_the_newer_counts(tmp_path: Path, which: str) -> None:
    old, new = spec(), spec()

    async def first(engine: LayersEngine, pool: Path) -> None:
        await engine.ensure_volume(old)
        await engine.write(old.volume_id, 0, TEXT[:512])
        await engine.flush(old.volume_id)
        left = manifest.read(pool / "volumes" / f"{old.volume_id}.json")
        await engine.ensure_released(old.volume_id, "name")
        if which == "adopted":
            left = manifest.read(pool / "released" / f"{old.volume_id}.json")
            await engine.ensure_adopted(new, "name")
        folder = "volumes" if which == "released" else "released"
        (pool / folder / f"{old.volume_id}.json").write_bytes(manifest.encode(left))

    async def second(engine: LayersEngine, pool: Path) -> None:
        volumes, names = (await engine.list_objects()).volumes, [one.name for one in await engine.list_strays()]
        assert (set(volumes), names) == ((set(), ["name"]) if which == "released" else ({new.volume_id}, []))
        if which == "released":
            await engine.ensure_adopted(new, "name")
        assert await engine.read(new.volume_id, 0, 512) == TEXT[:512]
        assert manifests_in(pool) == [f"volumes/{new.volume_id}.json"]

    with_engine(tmp_path, first)
    with_engine(tmp_path, second)
