"""The three ways in which a chunk that is found again could be removed all the same; each of them is held open."""

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

from openevs.domain.ids import BackupId
from openevs.vault.folder import FolderStore
from openevs.vault.repository import Repository
from openevs.vault.sealing import Sealer
from tests.vault.conftest import MIB, Piece, Volume, back_up, restored

A, B = BackupId("a"), BackupId("b")
SIZE = 2 * MIB
WHOLE = [Piece(0, SIZE)]


class Gate:
    """Where the first who comes, once the gate is shut, waits until it is opened; others pass."""

    def __init__(self) -> None:
        self._way = threading.Event()
        self._way.set()
        self.reached = threading.Event()

    def shut(self) -> None:
        self._way.clear()

    def open(self) -> None:
        self._way.set()

    def pass_through(self) -> None:
        if not self._way.is_set() and not self.reached.is_set():
            self.reached.set()
            assert self._way.wait(20)


class GatedStore(FolderStore):
    """A folder that waits where it is told to."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, make=True)
        self.reading, self.deleting = Gate(), Gate()

    def get(self, name: str) -> bytes | None:
        if name.startswith("chunks/"):
            self.reading.pass_through()
        return super().get(name)

    def delete(self, names: Sequence[str]) -> None:
        if any(name.startswith("chunks/") for name in names):
            self.deleting.pass_through()
        super().delete(names)


def same_volume(more: bytes = b"") -> Volume:
    volume = Volume(SIZE)
    volume.scribble(1, 1, MIB, MIB)
    other = MIB if volume.data[:MIB] != bytes(MIB) else 0
    volume.write(other, more)
    return volume


async def reached(gate: Gate) -> None:
    assert await asyncio.to_thread(gate.reached.wait, 20)


async def intact(vault: Repository, volume: Volume) -> None:
    assert not await vault.check(B)
    assert await restored(vault, B, SIZE) == bytes(volume.data)
    await vault.close()


def test_claimed_while_it_is_found_out_what_may_go(tmp_path: Path) -> None:
    async def scene() -> None:
        store = GatedStore(tmp_path)
        vault = Repository(store, Sealer(None, 1))
        await back_up(vault, same_volume(), A, None, WHOLE)
        store.reading.shut()
        removing = asyncio.create_task(vault.ensure_no_backup(A))
        await reached(store.reading)
        volume = same_volume(b"b" * 512)
        await asyncio.wait_for(_without_collecting(vault, volume, store), 20)
        await removing
        await intact(vault, volume)

    async def _without_collecting(vault: Repository, volume: Volume, store: GatedStore) -> None:
        making = asyncio.create_task(back_up(vault, volume, B, None, WHOLE))
        while await vault.list_backups() != [B]:  # noqa: ASYNC110 - its end waits for the collection
            await asyncio.sleep(0.005)
        store.reading.open()
        await making

    asyncio.run(scene())


def test_claimed_while_it_is_removed(tmp_path: Path) -> None:
    async def scene() -> None:
        store = GatedStore(tmp_path)
        vault = Repository(store, Sealer(None, 1))
        await back_up(vault, same_volume(), A, None, WHOLE)
        store.deleting.shut()
        removing = asyncio.create_task(vault.ensure_no_backup(A))
        await reached(store.deleting)
        volume = same_volume(b"b" * 512)
        making = asyncio.create_task(back_up(vault, volume, B, None, WHOLE))
        await asyncio.sleep(0.2)
        store.deleting.open()
        await asyncio.gather(removing, making)
        await intact(vault, volume)

    asyncio.run(scene())


def test_claimed_before(tmp_path: Path) -> None:
    async def scene() -> None:
        store = GatedStore(tmp_path)
        vault = Repository(store, Sealer(None, 1))
        await back_up(vault, same_volume(), A, None, WHOLE)
        volume = same_volume(b"b" * 512)
        go_on, read = asyncio.Event(), volume.read
        last = max(volume.data.find(b"b" * 512), 0) // MIB * MIB

        async def slowly(offset: int, length: int) -> bytes:
            if offset == last:
                await go_on.wait()
            return await read(offset, length)

        volume.read = slowly  # type: ignore[method-assign]
        making = asyncio.create_task(back_up(vault, volume, B, None, WHOLE))
        await asyncio.sleep(0.2)
        await vault.ensure_no_backup(A)
        go_on.set()
        await making
        await intact(vault, volume)

    asyncio.run(scene())
