"""Backups that are made while others are deleted, and share chunks with them, lose nothing."""

import asyncio
import random
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from openevs.domain.ids import BackupId
from openevs.vault.errors import NoSpace, Transient
from openevs.vault.folder import FolderStore
from openevs.vault.port import BackupOrder
from openevs.vault.repository import Repository
from openevs.vault.sealing import Sealer
from tests.vault.conftest import KIB, MIB, Piece, Volume, back_up, restored

SIZE = 4 * MIB


class SlowStore(FolderStore):
    """Takes its time at every turn, so that whatever can come between does."""

    def __init__(self, folder: Path, seed: int) -> None:
        super().__init__(folder, make=True)
        self._random = random.Random(seed)

    def _wait(self) -> None:
        time.sleep(self._random.random() * 0.004)

    def get(self, name: str) -> bytes | None:
        found = super().get(name)
        self._wait()
        return found

    def put(self, name: str, data: bytes) -> None:
        self._wait()
        super().put(name, data)
        self._wait()

    def delete(self, names: Sequence[str]) -> None:
        for name in names:
            self._wait()
            super().delete([name])


def volume_of(number: int) -> Volume:
    """A volume of few contents: many chunks are those of other volumes."""
    volume, source = Volume(SIZE), random.Random(number)
    for slot in range(SIZE // MIB):
        volume.write(slot * MIB, random.Random(source.randrange(6)).randbytes(64 * KIB) * 16)
    volume.scribble(number % 3, 4, 4 * KIB)
    return volume


@pytest.mark.parametrize("seed", range(3))
def test_deleting_while_making(tmp_path: Path, seed: int) -> None:
    source = random.Random(seed)

    async def one(vault: Repository, number: int) -> None:
        name, volume = BackupId(f"b{number}"), volume_of(number)
        await back_up(vault, volume, name, None, [Piece(0, SIZE)])
        child = f"c{number}"
        volume.write(source.randrange(3) * MIB, bytes(source.choice((4 * KIB, MIB))))
        extents = volume.take_extents()
        if number % 2:  # the parent goes while the child is being made
            making = asyncio.create_task(back_up(vault, volume, child, name, extents[-1:]))
            await asyncio.sleep(source.random() * 0.03)
            await vault.ensure_no_backup(name)
            await asyncio.wait({making})
            if making.exception() is None:
                assert await restored(vault, child, SIZE) == bytes(volume.data)
        else:
            await back_up(vault, volume, child, name, extents[-1:])
            await asyncio.gather(vault.ensure_no_backup(name), restored(vault, child, SIZE))
            assert await restored(vault, child, SIZE) == bytes(volume.data)
        if number % 3 == 0:
            await vault.ensure_no_backup(BackupId(child))

    async def scene() -> None:
        vault = Repository(SlowStore(tmp_path / "v", seed), Sealer(None, 1), threads=6)
        for start in range(0, 16, 4):
            await asyncio.gather(*(one(vault, number) for number in range(start, start + 4)))
        for backup_id in await vault.list_backups():
            assert not await vault.check(backup_id)
        for number in range(16):
            await vault.ensure_no_backup(BackupId(f"b{number}"))
            await vault.ensure_no_backup(BackupId(f"c{number}"))
        await vault.close()

    asyncio.run(scene())
    assert list((tmp_path / "v").glob("chunks/*/*")) == []


async def stored(folder: Path, count: int) -> None:
    """Wait until so many chunks are there."""
    while len(list(folder.glob("chunks/*/*"))) < count:  # noqa: ASYNC110, ASYNC240 - another thread makes them
        await asyncio.sleep(0.001)


def test_interrupted_backup_stores_nothing_twice(tmp_path: Path) -> None:
    async def scene() -> None:
        vault = Repository(SlowStore(tmp_path / "v", 1), Sealer(None, 1), threads=2)
        volume = Volume(SIZE * 4)
        volume.scribble(1, 16, MIB, MIB)
        extents = [Piece(0, SIZE * 4)]
        task = asyncio.create_task(back_up(vault, volume, "a", None, extents))
        await stored(tmp_path / "v", 3)
        with pytest.raises(Transient):
            await vault.ensure_no_backup(BackupId("a"))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        there = len(list((tmp_path / "v").glob("chunks/*/*")))
        assert 0 < there < 10
        assert await vault.list_backups() == []
        facts = await back_up(vault, volume, "a", None, extents)
        assert facts.bytes_stored < facts.object_count * MIB - (there - 1) * MIB * 0.9
        assert await restored(vault, "a", SIZE * 4) == bytes(volume.data)
        # One that is given up leaves nothing either.
        there = len(list((tmp_path / "v").glob("chunks/*/*")))
        task = asyncio.create_task(back_up(vault, volume_of(3), "b", None, [Piece(0, SIZE)]))
        await stored(tmp_path / "v", there + 1)
        task.cancel()
        await asyncio.wait({task})
        await vault.ensure_no_backup(BackupId("a"))
        await vault.ensure_no_backup(BackupId("b"))
        await vault.close()

    asyncio.run(scene())
    assert list((tmp_path / "v").glob("chunks/*/*")) == []
    assert list((tmp_path / "v" / "begun").glob("*")) == []


def test_error_of_the_reader_goes_through(tmp_path: Path) -> None:
    class Broke(Exception):
        pass

    async def scene() -> None:
        vault = Repository(FolderStore(tmp_path / "v", make=True), Sealer(None, 1))
        volume = volume_of(1)
        whole = volume.read

        async def read(offset: int, length: int) -> bytes:
            if offset >= 2 * MIB:
                raise Broke
            return await whole(offset, length)

        volume.read = read  # type: ignore[method-assign]
        with pytest.raises(Broke):
            await back_up(vault, volume, "a", None, [Piece(0, SIZE)])
        assert await vault.list_backups() == []
        await vault.close()

    asyncio.run(scene())


class FullStore(FolderStore):
    """Takes no chunks."""

    def put(self, name: str, data: bytes) -> None:
        if name.startswith("chunks/"):
            raise NoSpace("it is full")
        super().put(name, data)


def test_why_the_store_refused_is_told_however_much_is_under_way(tmp_path: Path) -> None:
    """Of more segments than are made at once, each with more chunks than are."""
    size_bytes = 6 << 30

    async def read(offset: int, length: int) -> bytes:
        await asyncio.sleep(0)
        return random.Random(offset).randbytes(16) * (length // 16)

    async def scene() -> None:
        vault = Repository(FullStore(tmp_path / "v", make=True), Sealer(None, 1))
        with pytest.raises(NoSpace):
            await vault.ensure_backup(BackupOrder(BackupId("a"), size_bytes), read, [Piece(0, size_bytes)])
        await vault.close()

    asyncio.run(scene())
