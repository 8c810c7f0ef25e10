"""Files that an administrator puts into the pool become volumes; what is half-way is finished or as before."""

import asyncio
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from openevs.domain.ids import SnapshotId, VolumeId, new_uuid
from openevs.engine.errors import EngineError, Mismatch
from openevs.engine.layers import manifest, strays
from openevs.engine.layers.engine import LayersEngine
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
def test_a_file_becomes_a_volume(short_folder: Path, kind: str) -> None:
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

    with_engine(short_folder, work)


def test_what_cannot_be_adopted_stays_where_it_is(short_folder: Path) -> None:
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

    with_engine(short_folder, work)


def test_an_adoption_that_was_interrupted_is_finished_or_taken_back(
    short_folder: Path, monkeypatch: pytest.MonkeyPatch
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

    with_engine(short_folder, work)


@pytest.mark.parametrize("which", ["released", "adopted"])
def test_of_two_manifests_the_newer_counts(short_folder: Path, which: str) -> None:
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

    with_engine(short_folder, first)
    with_engine(short_folder, second)
