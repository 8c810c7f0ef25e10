"""What a vault promises, on real files."""

import asyncio
from pathlib import Path

import pytest

from openevs.domain.ids import BackupId
from openevs.vault.errors import Damaged, Missing, WrongKey
from openevs.vault.folder import FolderStore
from openevs.vault.objects import ObjectStore
from openevs.vault.repository import Repository
from tests.vault.conftest import KIB, MIB, Volume, back_up, repository, restored

A, B, C = BackupId("a"), BackupId("b"), BackupId("c")


def chunks(store: ObjectStore) -> set[str]:
    return set(store.list("chunks/"))


def test_full_and_incremental(vault: Repository, store: ObjectStore) -> None:
    async def scene() -> None:
        volume = Volume(40 * MIB + 512)
        volume.scribble(1, 10, 700 * KIB)
        volume.write(len(volume.data) - 512, b"the end" + bytes(505))
        first, before = await back_up(vault, volume, A), bytes(volume.data)
        assert first.bytes_read < len(volume.data)
        read = volume.bytes_read
        assert await back_up(vault, volume, A) == first, "a repeat returns the same"
        assert volume.bytes_read == read, "and reads nothing"

        volume.scribble(2, 8, 4 * KIB)
        volume.write(3 * MIB, bytes(MIB))
        second = await back_up(vault, volume, B, A)
        assert second.bytes_read < 3 * MIB
        assert second.parent_id == A
        assert await restored(vault, A, len(before)) == before
        assert await restored(vault, B, len(before)) == bytes(volume.data)
        assert await vault.list_backups() == [A, B]
        assert await vault.inspect(B) == second
        assert second.labels == {"name": "n-b"}
        assert not await vault.check(B)

        await vault.ensure_no_backup(A)
        assert await restored(vault, B, len(before)) == bytes(volume.data), "a child needs no parent"
        with pytest.raises(Missing):
            await restored(vault, A, len(before))
        await vault.ensure_no_backup(B)
        await vault.ensure_no_backup(B)
        assert chunks(store) == set()
        assert await vault.list_backups() == []

    asyncio.run(scene())


def test_grown_volume(vault: Repository) -> None:
    async def scene() -> None:
        volume = Volume(5 * MIB + 4 * KIB)
        volume.scribble(3, 3, 300 * KIB)
        await back_up(vault, volume, A)
        volume.data.extend(bytes(3 * MIB))
        volume.scribble(4, 3, 300 * KIB)
        await back_up(vault, volume, B, A)
        assert await restored(vault, B, len(volume.data)) == bytes(volume.data)

    asyncio.run(scene())


def test_same_content_is_stored_once(vault: Repository, store: ObjectStore) -> None:
    async def scene() -> None:
        one, two = Volume(8 * MIB), Volume(16 * MIB)
        one.scribble(5, 4, MIB, MIB)
        await back_up(vault, one, A)
        before = chunks(store)
        two.write(8 * MIB, bytes(one.data))
        facts = await back_up(vault, two, B)
        assert facts.bytes_stored < 10 * KIB
        assert len(chunks(store) - before) == 1, "a segment"
        await vault.ensure_no_backup(A)
        assert await restored(vault, B, 16 * MIB) == bytes(two.data)

    asyncio.run(scene())


def test_damaged_and_missing_chunk(vault: Repository, store: ObjectStore) -> None:
    async def scene() -> None:
        volume = Volume(4 * MIB)
        volume.scribble(6, 3, MIB, MIB)
        await back_up(vault, volume, A)
        for name in chunks(store):
            good, chunk = store.get(name) or b"", name.rpartition("/")[2]
            for bad in (good[:-9] + bytes([good[-9] ^ 1]) + good[-8:], good[:20], b"", b"OEV\0" + good[9:], None):
                store.put(name, bad) if bad is not None else store.delete([name])
                with pytest.raises(Damaged) as caught:
                    await restored(vault, A, 4 * MIB)
                assert chunk in str(caught.value)
                assert caught.value.chunk == chunk
                assert caught.value.backup_id == A
                complaints = await vault.check(A)
                assert chunk in "".join(complaints)
                store.put(name, good)
        assert await restored(vault, A, 4 * MIB) == bytes(volume.data)
        store.put(f"backups/{A}", (store.get(f"backups/{A}") or b"")[:-1])
        with pytest.raises(Damaged):
            await vault.inspect(A)

    asyncio.run(scene())


def test_wrong_key(tmp_path: Path) -> None:
    async def scene() -> None:
        keys = [None, bytes(32), bytes(range(32))]
        for number, right in enumerate(keys):
            folder = tmp_path / str(number)
            vault = repository(FolderStore(folder, make=True), right)
            volume = Volume(2 * MIB)
            volume.write(0, b"recognizable plain text" * 50_000)
            await back_up(vault, volume, A)
            await vault.close()
            for wrong in keys:
                if wrong == right:
                    continue
                other = repository(FolderStore(folder), wrong)
                with pytest.raises(WrongKey) as caught:
                    await other.list_backups()
                assert str(folder) in caught.value.reason
                await other.close()

    asyncio.run(scene())


def test_records(vault: Repository, store: ObjectStore, key: bytes | None, tmp_path: Path) -> None:
    async def scene() -> None:
        volume = Volume(2 * MIB)
        volume.scribble(7, 1, MIB)
        facts = await back_up(vault, volume, A)
        record = await vault.export_record(A)
        assert await vault.import_record(record) == facts
        for wrong in ("", "?", record[:-5], record + "x", "e30="):
            with pytest.raises(Missing):
                await vault.import_record(wrong)
        with pytest.raises(Missing):
            await vault.export_record(B)
        other = repository(FolderStore(tmp_path / "other", make=True), key)
        with pytest.raises(Missing):
            await other.import_record(record)
        await other.close()
        await vault.ensure_no_backup(A)
        with pytest.raises(Missing):
            await vault.import_record(record)

    asyncio.run(scene())
