"""Backups, incremental ones and deletions in any order, against a plain model."""

import asyncio
import itertools
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openevs.domain.ids import BackupId
from openevs.vault import index, making, planning, restoring
from openevs.vault.folder import FolderStore
from openevs.vault.repository import Repository
from tests.vault.conftest import Piece, Volume, back_up, repository, restored

SECTOR = 512
SECTORS = st.integers(0, 399)
WRITE = st.tuples(st.just("write"), SECTORS, st.integers(1, 120), st.integers(0, 3))
BACKUP = st.tuples(st.just("backup"), st.integers(0, 5), st.booleans(), st.just(0))
DELETE = st.tuples(st.just("delete"), st.integers(0, 5), st.just(0), st.just(0))
GROW = st.tuples(st.just("grow"), st.integers(1, 60), st.just(0), st.just(0))
STEPS = st.lists(st.one_of(WRITE, WRITE, BACKUP, BACKUP, DELETE, GROW), min_size=3, max_size=25)


class Model:
    """A volume, its backups, and what each must hold."""

    def __init__(self, vault: Repository) -> None:
        self.vault = vault
        self.volume = Volume(400 * SECTOR)
        self.backups: dict[str, bytes] = {}
        self.count = 0

    def write(self, sector: int, length: int, fill: int) -> None:
        end = min(len(self.volume.data) // SECTOR, sector + length)
        # Few contents, zeros among them, so that chunks are shared and left out.
        self.volume.write(sector * SECTOR, b"".join(bytes([fill * (at % 3)]) * SECTOR for at in range(sector, end)))

    async def backup(self, which: int, full: bool) -> None:
        self.count += 1
        name, parents = f"b{self.count}", list(self.backups)
        if full or not parents:
            await back_up(self.vault, self.volume, name, None, [Piece(0, len(self.volume.data))])
        else:
            parent = parents[which % len(parents)]
            await back_up(self.vault, self.volume, name, parent, self.changes(self.backups[parent]))
        self.backups[name] = bytes(self.volume.data)

    def changes(self, before: bytes) -> list[Piece]:
        now, found = bytes(self.volume.data), list[Piece]()
        before = before.ljust(len(now), b"\0")
        for at in range(0, len(now), SECTOR):
            if now[at : at + SECTOR] != before[at : at + SECTOR]:
                last = found[-1] if found else Piece(-1, 0)
                if last.offset_bytes + last.length_bytes == at:
                    found[-1] = Piece(last.offset_bytes, last.length_bytes + SECTOR)
                else:
                    found.append(Piece(at, SECTOR))
        return found

    async def delete(self, which: int) -> None:
        if self.backups:
            name = list(self.backups)[which % len(self.backups)]
            await self.vault.ensure_no_backup(BackupId(name))
            del self.backups[name]

    async def compare(self) -> None:
        assert await self.vault.list_backups() == sorted(self.backups)
        for name, data in self.backups.items():
            assert await restored(self.vault, name, len(data)) == data
            assert not await self.vault.check(BackupId(name))


@contextmanager
def smaller(sizes: dict[str, int]) -> Iterator[None]:
    """Let slots and segments be so small that a small volume has many of them."""
    modules = (index, making, planning, restoring)
    with ExitStack() as stack:
        for module, (name, value) in itertools.product(modules, sizes.items()):
            if hasattr(module, name):
                stack.enter_context(pytest.MonkeyPatch.context()).setattr(module, name, value)
        yield


@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_any_order(steps: list[tuple[str, int, int, int]]) -> None:
    async def scene(folder: Path) -> None:
        vault = repository(FolderStore(folder))
        model = Model(vault)
        for what, first, second, third in steps:
            if what == "write":
                model.write(first, second, third)
            elif what == "backup":
                await model.backup(first, bool(second))
            elif what == "delete":
                await model.delete(first)
            else:
                model.volume.data.extend(bytes(first * SECTOR))
        await model.compare()
        for _ in list(model.backups):
            await model.delete(0)
            await model.compare()
        await vault.close()

    sizes = {"SLOT_BYTES": 16 * SECTOR, "SEGMENT_BYTES": 128 * SECTOR, "_RUNS_MAX": 4}
    with tempfile.TemporaryDirectory() as folder, smaller(sizes):
        asyncio.run(scene(Path(folder)))
        assert list(Path(folder).glob("chunks/*/*")) == [], "nothing is left of what nobody needs"
