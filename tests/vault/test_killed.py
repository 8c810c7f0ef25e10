"""A process that is killed while it makes and deletes backups leaves whole ones only, and nothing that stays."""

import asyncio
import random
import subprocess
import sys
import time
from pathlib import Path

from openevs.vault.folder import FolderStore
from tests.vault.conftest import repository, restored
from tests.vault.generations import SIZE, content, make, name_of

ROUNDS = 6


def killed_after(folder: Path, generations: int, seconds: float) -> None:
    """Let it make so many backups, and kill it so much later, in the middle of whatever it does then."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.vault.generations", folder], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        for _ in range(generations):
            process.stdout.readline()
        time.sleep(seconds)
        process.kill()


def test_kill(tmp_path: Path) -> None:
    folder, source = tmp_path / "backups", random.Random(1)
    highest = 0

    async def look() -> int:
        vault = repository(FolderStore(folder))
        found = await vault.list_backups()
        for backup_id in found:
            assert await restored(vault, backup_id, SIZE) == content(int(backup_id[1:]))[0], backup_id
            assert not await vault.check(backup_id)
        await vault.close()
        return int(found[-1][1:]) if found else 0

    async def clear() -> None:
        vault = repository(FolderStore(folder))
        await make(vault, highest + 1)
        assert await restored(vault, name_of(highest + 1), SIZE) == content(highest + 1)[0]
        for generation in range(highest + 2):
            await vault.ensure_no_backup(name_of(generation))
        await vault.close()

    for _ in range(ROUNDS):
        killed_after(folder, source.randrange(4), source.uniform(0, 0.2))
        highest = max(highest, asyncio.run(look()))
    assert highest > ROUNDS / 2, "it was killed so early that nothing was tested"
    asyncio.run(clear())
    left = [path for path in folder.rglob("*") if path.is_file() and path.name not in {"lock", "vault.json"}]
    assert left == []
