"""Run as a program: backs up one generation of a volume after another, and deletes old ones, until it is killed.

usage: python -m tests.vault.generations FOLDER
"""

import asyncio
import random
import sys
from pathlib import Path

from openevs.domain.ids import BackupId
from openevs.vault.folder import FolderStore
from openevs.vault.repository import Repository
from tests.vault.conftest import KIB, MIB, Piece, Volume, back_up, repository

SIZE = 6 * MIB
KEPT = 3
CHANGES = 12


def content(generation: int) -> tuple[bytes, list[Piece]]:
    """Return the volume as it is in this generation, and what has changed since the one before."""
    volume = Volume(SIZE)
    for number in range(generation + 1):
        volume.changed = []
        source = random.Random(number)
        volume.write(source.randrange(5) * MIB, source.randbytes(MIB))
        volume.scribble(number, CHANGES, 12 * KIB)
        if number > 4:
            volume.write(MIB, bytes(64 * KIB))
    return bytes(volume.data), volume.take_extents()


def name_of(generation: int) -> BackupId:
    """Return the id of a generation's backup."""
    return BackupId(f"g{generation:03}")


async def make(vault: Repository, generation: int) -> None:
    """Back up a generation; incrementally, if the one before is there."""
    volume = Volume(SIZE)
    data, changed = content(generation)
    volume.data[:] = data
    before = name_of(generation - 1) if generation else None
    if before is not None and await vault.inspect(before):
        await back_up(vault, volume, name_of(generation), before, changed)
    else:
        await back_up(vault, volume, name_of(generation), None, [Piece(0, SIZE)])


async def run(folder: Path) -> None:
    """Go on where the last one was killed."""
    vault = repository(FolderStore(folder, make=True))
    there = await vault.list_backups()
    generation = int(there[-1][1:]) if there else 0
    print("ready", flush=True)  # noqa: T201 - to who kills us
    while True:
        await make(vault, generation)
        if generation >= KEPT:
            await vault.ensure_no_backup(name_of(generation - KEPT))
        print(generation, flush=True)  # noqa: T201
        generation += 1


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1])))
