"""Backups in the load, and what must hold of them after each restart.

A backup holds what its volume did when it was frozen, somewhere between the request and the moment at which it was
seen to be available; what it is restored into holds exactly that.
"""

import random
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from tests.kill.clients import Answer, Client, HttpClient
from tests.kill.journal import Bak, Vol, World, close

MOST_BACKUPS: Final = 8
Count = Callable[[str, Answer], None]


class BackupLoad:
    """What workers ask of backups."""

    def __init__(self, world: World, count: Count, rng: random.Random, most_volumes: int) -> None:
        self._world, self._count, self._rng, self._most_volumes = world, count, rng, most_volumes

    def moves(self) -> dict[str, tuple[int, Callable[[Client], Awaitable[None]]]]:
        """Return name → weight and what is done."""
        return {"back up": (5, self._back_up), "restore": (4, self._restore), "delete backup": (3, self._delete)}

    async def _back_up(self, client: Client) -> None:
        volumes = self._world.live_volumes()
        if not volumes or len(self._world.live_backups()) >= MOST_BACKUPS:
            return
        volume = self._rng.choice(volumes)
        made = Bak(self._world.new_name("bak"), volume, dict(volume.slots))
        self._world.backups.append(made)
        volume.taking.append(made)
        answer = await client.back_up(str(volume.id), made.name, incremental=self._rng.random() < 0.6)
        self._count("back up", answer)
        if answer.accepted:
            made.id, made.accepted = answer.body["id"], True
        elif not answer.unknown:
            self._world.backups.remove(made)
            volume.taking.remove(made)

    async def _restore(self, client: Client) -> None:
        usable = [one for one in self._world.live_backups() if not one.open]
        if not usable or len(self._world.live_volumes()) >= self._most_volumes:
            return
        backup = self._rng.choice(usable)
        made = Vol(self._world.new_name("vol"), 1, dict(backup.slots))
        self._world.volumes.append(made)
        answer = await client.restore(str(backup.id), made.name)
        self._count("restore", answer)
        if answer.accepted:
            made.id, made.accepted = answer.body["id"], True
        elif not answer.unknown:
            self._world.volumes.remove(made)

    async def _delete(self, client: Client) -> None:
        backups = self._world.live_backups()
        if not backups:
            return
        backup = self._rng.choice(backups)
        backup.delete_sent = True
        answer = await client.delete_backup(str(backup.id))
        self._count("delete backup", answer)
        backup.deleted |= answer.accepted
        backup.delete_sent = answer.accepted or answer.unknown


async def list_backups(client: HttpClient) -> dict[str, dict[str, Any]]:
    """Return all backups, by id."""
    return {row["id"]: row for row in (await client.get("backups/detail"))["backups"]}


def settle_backups(world: World, rows: dict[str, dict[str, Any]]) -> list[str]:
    """Compare the journal with the list, as is done for snapshots."""
    wrong = [
        f"backup {row['id']} ({row['name']}) is {row['status']}: {row['fail_reason']}"
        for row in rows.values()
        if row["status"] != "available"
    ]
    by_name = {row["name"]: row["id"] for row in rows.values()}
    for backup in world.backups:
        backup.id = backup.id or by_name.get(backup.name)
        there = backup.id in rows
        if backup.accepted and not there and not backup.delete_sent:
            wrong.append(f"backup {backup.id} ({backup.name}) was answered 202 and never deleted, but is gone")
        if backup.deleted and there:
            wrong.append(f"backup {backup.id} ({backup.name}): its deletion was answered 202, but it is there")
    known = {backup.id for backup in world.backups}
    wrong += [f"backup {one} ({rows[one]['name']}): nobody asked for it" for one in rows.keys() - known]
    world.backups[:] = [backup for backup in world.backups if backup.id in rows]
    for backup in world.backups:
        close(backup, world)
        backup.delete_sent = False
    return wrong


def bases(database: Any) -> set[str]:
    """Return the frozen states that backups keep on storage, from a connection to the database."""
    with closing(database):
        query = "SELECT base_snapshot_id FROM backup WHERE base_snapshot_id IS NOT NULL"
        return {row[0] for row in database.execute(query)}


def check_vault(folder: Path, rows: dict[str, dict[str, Any]]) -> list[str]:
    """In the vault is an index for each backup that is listed, and nothing half done."""
    names = {path.name.split(".")[0] for path in folder.rglob("*") if path.is_file()}
    return [f"backup {one} is listed, but not in the vault" for one in sorted(rows.keys() - names)]
