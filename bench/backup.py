"""A backup of a 10 GiB volume: as fast as the libraries allow, and an incremental one that costs what has changed."""

import asyncio
import mmap
import os
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

import uvloop
import zstandard

from bench.figures import Row, Samples
from bench.rig import GIB, Rig
from openevs.domain.ids import BackupId, SnapshotId, VolumeId, new_uuid
from openevs.engine.layers.engine import LayersEngine
from openevs.engine.port import SnapshotSpec, VolumeSpec
from openevs.engine.wrap import limited, measured
from openevs.settings import Backups
from openevs.vault.folder import FolderStore
from openevs.vault.index import SLOT_BYTES
from openevs.vault.port import BackupFacts, BackupOrder
from openevs.vault.repository import Repository
from openevs.vault.sealing import Sealer

_SIZE: Final = 10 * GIB
_SOURCES: Final = ("/usr/lib", "/usr/share", "/usr/bin")
_MOST_BYTES: Final = 4 * GIB
_CHANGED: Final = 0.01
_CHANGE_SIZES: Final = (4 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20)
"""Of a change: small ones are many, large ones are most of the bytes, as files are."""
_LEVEL: Final = Backups().compression_level


class Taken(NamedTuple):
    """One backup that was made."""

    facts: BackupFacts
    seconds: float


def measure(rig: Rig) -> list[Row]:
    """Return the rows about backups."""
    image = rig.folder / "image"
    written = _make_image(image, _MOST_BYTES // 8 if rig.quick else _MOST_BYTES)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_measure(rig, image, written))


async def _measure(rig: Rig, image: Path, written: int) -> list[Row]:
    bare, full, little, scattered = [], [], [], []
    for number in range(2 if rig.quick else 3):
        bare.append(await asyncio.to_thread(_bare_loop, image))
        folder = rig.folder / f"round-{number}"
        for made in (folder / "pool", folder / "vault"):
            made.mkdir(parents=True)
        one, two, three = await _round(folder, image, number)
        full.append(one)
        little.append(two)
        scattered.append(three)
        shutil.rmtree(folder / "pool")  # not the many files of the vault: see _make_image
    speed = Samples(tuple(written / 1e6 / taken.seconds for taken in full), "MB/s")
    note = f"{written / GIB:.1f} of {_SIZE / GIB:.0f} GiB hold files of this machine; zstd level {_LEVEL}"
    changed = f"{_CHANGED:.0%} of the bytes changed, in pieces of {_CHANGE_SIZES[0] >> 10} KiB to 1 MiB"
    return [
        Row(
            "full backup", speed, "reading, hashing and compressing the same bytes in a bare loop on the same cores",
            Samples(tuple(written / 1e6 / seconds for seconds in bare), "MB/s"), 0.5, at_least=True, notes=(note,),
        ),
        _against("incremental backup, bytes read", little, full, _megabytes_read, 0.03, (changed,)),
        _against("incremental backup, time", little, full, _seconds, 0.06, (changed,)),
        _against("the same with 4 KiB changes only, bytes read", scattered, full, _megabytes_read, 0.03, ()),
        _against("the same with 4 KiB changes only, time", scattered, full, _seconds, 0.30, ()),
    ]  # fmt: skip


def _against(
    what: str, one: Sequence[Taken], full: Sequence[Taken], figure: Callable[[Sequence[Taken]], Samples], reach: float,
    notes: tuple[str, ...],
) -> Row:  # fmt: skip
    return Row(what, figure(one), "the full one", figure(full), reach, notes=notes)


def _megabytes_read(taken: Sequence[Taken]) -> Samples:
    return Samples(tuple(each.facts.bytes_read / 1e6 for each in taken), "MB")


def _seconds(taken: Sequence[Taken]) -> Samples:
    return Samples(tuple(each.seconds for each in taken), "s")


async def _round(folder: Path, image: Path, seed: int) -> tuple[Taken, Taken, Taken]:
    layers = LayersEngine(folder / "pool", folder / "run")
    engine = limited(measured(layers, lambda *_: None), 120)
    vault = Repository(FolderStore(folder / "vault"), Sealer(None, _LEVEL))
    await engine.open()
    volume_id = VolumeId(new_uuid())
    await engine.ensure_volume(VolumeSpec(volume_id, _SIZE))
    await _fill(layers, volume_id, image)
    snapshots: list[SnapshotId] = []
    taken: list[Taken] = []

    async def back_up() -> None:
        snapshot_id = SnapshotId(new_uuid())
        await engine.ensure_snapshot(SnapshotSpec(snapshot_id, volume_id))
        began = time.perf_counter()
        since = snapshots[-1] if snapshots else None
        extents = await layers.changed_blocks(snapshot_id, since)
        parent = taken[-1].facts.backup_id if taken else None
        order = BackupOrder(BackupId(new_uuid()), _SIZE, parent)

        async def read(offset: int, length: int) -> bytes:
            found: bytes = await engine.read(snapshot_id, offset, length)  # type: ignore[attr-defined]
            return found

        facts = await vault.ensure_backup(order, read, extents)
        taken.append(Taken(facts, time.perf_counter() - began))
        snapshots.append(snapshot_id)

    await back_up()
    await _change(layers, volume_id, image, seed, _CHANGE_SIZES)
    await back_up()
    await _change(layers, volume_id, image, seed, (4 << 10,))
    await back_up()
    await vault.close()
    await engine.close()
    return taken[0], taken[1], taken[2]


async def _fill(layers: LayersEngine, volume_id: VolumeId, image: Path) -> None:
    with image.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
        await _all(partial(layers.write, volume_id, at, data[at : at + length]) for at, length in _data(file.fileno()))
    await layers.flush(volume_id)


async def _change(layers: LayersEngine, volume_id: VolumeId, image: Path, seed: int, sizes: Sequence[int]) -> None:
    """Overwrite a part of what is written with other parts of it."""
    source = random.Random(seed)  # noqa: S311 - repeatable, nothing secret
    with image.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
        pieces = list(_data(file.fileno()))
        left = sum(length for _, length in pieces) * _CHANGED

        def changes() -> Iterator[Callable[[], Awaitable[None]]]:
            nonlocal left
            while left > 0:
                length = source.choice(sizes)
                there, here = (source.choice(pieces)[0] for _ in range(2))
                inside = source.randrange(0, SLOT_BYTES - length + 1, 4096)
                left -= length
                yield partial(layers.write, volume_id, there + inside, data[here : here + length])

        await _all(changes())
    await layers.flush(volume_id)


async def _all(work: Iterator[Callable[[], Awaitable[None]]]) -> None:
    async def worker() -> None:
        for each in work:
            await each()

    await asyncio.gather(*(worker() for _ in range(4)))


def _bare_loop(image: Path) -> float:
    """Return how long it takes to read, hash and compress what is written, on all cores, and do nothing with it."""
    began = time.perf_counter()
    guard = threading.Lock()
    with image.open("rb") as file:
        pieces = _data(file.fileno())

        def work() -> None:
            packer = zstandard.ZstdCompressor(level=_LEVEL)
            while True:
                with guard:
                    piece = next(pieces, None)
                if piece is None:
                    return
                data = os.pread(file.fileno(), piece[1], piece[0])
                sha256(data).digest()
                packer.compress(data)

        threads = [threading.Thread(target=work) for _ in os.sched_getaffinity(0)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return time.perf_counter() - began


def _make_image(image: Path, most: int) -> int:
    """Make an ext4 file system image that holds files of this machine; return how much of it is written.

    The copies are left for whoever removes the folder: for five minutes ext4 uses no inode anew, and looks at each that
    was removed for every file that it makes, which can take a tenth of the time of a backup."""
    staged, total = image.with_name("staged"), 0
    for source in _SOURCES:
        for folder, _, files in os.walk(source):
            for name in files:
                path = Path(folder) / name
                if total < most and path.is_file() and not path.is_symlink():
                    total += path.stat().st_size
                    target = staged / path.relative_to("/")
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, target)
    command = [
        "mke2fs",
        "-q",
        "-t",
        "ext4",
        "-E",
        "lazy_itable_init=1",
        "-d",
        str(staged),
        str(image),
        f"{_SIZE >> 10}k",
    ]
    subprocess.run(command, check=True, capture_output=True)
    with image.open("rb") as file:
        return sum(length for _, length in _data(file.fileno()))


def _data(file: int) -> Iterator[tuple[int, int]]:
    """Yield the slots of a sparse file that hold something, whole."""
    at = 0
    while True:
        try:
            at = os.lseek(file, at, os.SEEK_DATA) // SLOT_BYTES * SLOT_BYTES
        except OSError:
            return
        yield at, SLOT_BYTES
        at += SLOT_BYTES
