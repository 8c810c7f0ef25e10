"""What a vault promises, on real files."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from openevs.domain.ids import BackupId
from openevs.vault.errors import Damaged, Missing, WrongKey
from openevs.vault.folder import FolderStore
from openevs.vault.objects import ObjectStore
from openevs.vault.repository import Repository
from tests.vault.conftest import KIB, MIB, Piece, Volume, back_up, repository, restored

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


def test_a_new_backup_mends_the_chunks_it_shares(vault: Repository, store: ObjectStore) -> None:
    async def scene() -> None:
        volume = Volume(4 * MIB)
        volume.scribble(6, 3, MIB, MIB)
        extents = volume.take_extents()
        first = await back_up(vault, volume, A, extents=extents)
        names = chunks(store)

        def flipped(good: bytes) -> bytes:
            return good[:-9] + bytes([good[-9] ^ 1]) + good[-8:]

        ways: tuple[Callable[[bytes], bytes], ...] = (flipped, lambda good: good[:20], lambda _: b"")
        for number, spoil in enumerate(ways):
            for name in names:
                store.put(name, spoil(store.get(name) or b""))
            assert len(await vault.check(A)) > 0
            later = f"later-{number}"
            facts = await back_up(vault, volume, later, extents=extents)
            assert facts.bytes_stored == first.bytes_stored, "what is damaged is not relied on"
            assert chunks(store) == names
            for backup_id in (later, A):
                assert await vault.check(BackupId(backup_id)) == []
                assert await restored(vault, backup_id, 4 * MIB) == bytes(volume.data)
        again = await back_up(vault, volume, C, extents=extents)
        assert again.bytes_stored == 0

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


def test_nothing_stays_of_an_attempt_that_was_interrupted(vault: Repository, store: ObjectStore) -> None:
    """The one that succeeds is told of other changes (layers were merged meanwhile), and cuts its chunks otherwise."""

    async def scene() -> None:
        volume = Volume(8 * MIB)
        volume.scribble(8, 40, 4 * KIB)
        await back_up(vault, volume, A)
        before = chunks(store)
        for place in range(80):  # too little of each slot for a chunk of its own
            volume.write(place // 10 * MIB + place % 10 * 100 * KIB, bytes([place + 1]) * 40 * KIB)
        extents, read = volume.take_extents(), volume.read

        async def until_the_end(offset: int, length: int) -> bytes:
            if offset + length > 7 * MIB:
                while chunks(store) == before:  # noqa: ASYNC110 - a test
                    await asyncio.sleep(0.005)
                raise InterruptedError
            return await read(offset, length)

        volume.read = until_the_end  # type: ignore[method-assign]
        with pytest.raises(InterruptedError):
            await back_up(vault, volume, B, A, extents)
        assert chunks(store) > before
        volume.read = read  # type: ignore[method-assign]
        await back_up(vault, volume, B, None, [Piece(0, len(volume.data))])
        assert await restored(vault, B, len(volume.data)) == bytes(volume.data)
        await vault.ensure_no_backup(B)
        assert chunks(store) == before
        await vault.ensure_no_backup(A)
        assert chunks(store) == set()

    asyncio.run(scene())


def test_what_others_have_put_into_the_vault_is_in_nobody_s_way(tmp_path: Path) -> None:
    async def scene() -> None:
        store = FolderStore(tmp_path / "backups", make=True)
        vault = repository(store)
        volume = Volume(4 * MIB)
        volume.scribble(10, 3, MIB, MIB)
        await back_up(vault, volume, A)
        await back_up(vault, volume, B, A)
        for name in ("chunks/ab/.nfs0001", "chunks/README", "backups/.a.swp", "ended/.a.swp", "begun/.a.swp"):
            store.put(name, b"not ours")
        assert await vault.list_backups() == [A, B]
        store.put(f"begun/{A}", b"begun")  # as a process leaves it that is killed at the end
        assert await back_up(vault, volume, A) == await vault.inspect(A)
        await vault.ensure_no_backup(A)
        assert await restored(vault, B, 4 * MIB) == bytes(volume.data)
        await vault.close()

    asyncio.run(scene())
