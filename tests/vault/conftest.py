"""Vaults over both kinds of store, and volumes that are bytearrays."""

import asyncio
import random
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from openevs.domain.ids import BackupId
from openevs.vault.folder import FolderStore
from openevs.vault.objects import ObjectStore
from openevs.vault.port import BackupFacts, BackupOrder
from openevs.vault.repository import Repository
from openevs.vault.sealing import Sealer
from tests.vault.s3_server import bucket, s3_server

KIB, MIB = 1 << 10, 1 << 20


class Piece(NamedTuple):
    """A run of bytes."""

    offset_bytes: int
    length_bytes: int


class Volume:
    """A volume that remembers what was written, and what was read."""

    def __init__(self, size_bytes: int) -> None:
        self.data = bytearray(size_bytes)
        self.changed: list[Piece] = []
        self.bytes_read = 0

    def write(self, offset: int, data: bytes) -> None:
        """Write, as a client."""
        self.data[offset : offset + len(data)] = data
        self.changed.append(Piece(offset, len(data)))

    def scribble(self, seed: int, count: int, length: int, grain: int = 4 * KIB) -> None:
        """Write at random places."""
        source = random.Random(seed)
        for _ in range(count):
            offset = source.randrange(0, (len(self.data) - length) // grain + 1) * grain
            self.write(offset, source.randbytes(length))

    def take_extents(self) -> list[Piece]:
        """Return what has changed since the last time, in order and not overlapping."""
        changed, self.changed = sorted(self.changed), []
        joined: list[Piece] = []
        for piece in changed:
            if joined and piece.offset_bytes <= joined[-1].offset_bytes + joined[-1].length_bytes:
                last = joined.pop()
                end = max(last.offset_bytes + last.length_bytes, piece.offset_bytes + piece.length_bytes)
                piece = Piece(last.offset_bytes, end - last.offset_bytes)
            joined.append(piece)
        return joined

    async def read(self, offset: int, length: int) -> bytes:
        """Read, as a vault does."""
        assert offset >= 0
        assert offset + length <= len(self.data)
        self.bytes_read += length
        await asyncio.sleep(0)
        return bytes(self.data[offset : offset + length])


async def back_up(
    vault: Repository, volume: Volume, backup_id: str, parent: str | None = None, extents: Sequence[Piece] | None = None
) -> BackupFacts:
    """Back up what has changed."""
    order = BackupOrder(
        BackupId(backup_id), len(volume.data), BackupId(parent) if parent else None, {"name": f"n-{backup_id}"}
    )
    return await vault.ensure_backup(order, volume.read, volume.take_extents() if extents is None else extents)


async def restored(vault: Repository, backup_id: str, size_bytes: int) -> bytes:
    """Restore to a place that is full of something else; each byte must be written once."""
    target = bytearray(b"\xaa" * size_bytes)
    times = bytearray(size_bytes // 512)

    def mark(offset: int, length: int) -> None:
        assert offset % 512 == length % 512 == 0
        for sector in range(offset // 512, (offset + length) // 512):
            times[sector] += 1

    async def write(offset: int, data: bytes) -> None:
        mark(offset, len(data))
        target[offset : offset + len(data)] = data

    async def zero(offset: int, length: int) -> None:
        mark(offset, length)
        target[offset : offset + length] = bytes(length)

    await vault.restore(BackupId(backup_id), write, zero)
    assert times.count(1) == len(times), "each sector is written once"
    return bytes(target)


def repository(store: ObjectStore, key: bytes | None = None) -> Repository:
    """A vault as the service has it."""
    return Repository(store, Sealer(key, 3))


@pytest.fixture(params=["plain", "encrypted"])
def key(request: pytest.FixtureRequest) -> bytes | None:
    """With and without."""
    return bytes(range(32)) if request.param == "encrypted" else None


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real S3 server."""
    with s3_server(tmp_path_factory.mktemp("s3")) as url:
        yield url


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ObjectStore]:
    """A store that is empty."""
    made: ObjectStore = FolderStore(tmp_path / "backups", make=True)
    if request.param == "s3":
        made = bucket(request.getfixturevalue("endpoint"), f"{uuid.uuid4()}/")
    made.open()
    yield made
    made.close()


@pytest.fixture
def vault(store: ObjectStore, key: bytes | None) -> Iterator[Repository]:
    """A vault that is empty."""
    made = repository(store, key)
    yield made
    asyncio.run(made.close())
