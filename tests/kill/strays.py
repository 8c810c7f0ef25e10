"""What is nobody's, in the load: volumes and snapshots that are let go, files that are put into the pool, and all of
them managed; and what must hold of what is nobody's after each restart.

What was let go is on storage under a name of its own until it is managed again: never both, never neither, and its
bytes are what they were. A file is there until it is a volume. All of it is an administrator's to ask.
"""

import asyncio
import random
import subprocess
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from openevs.domain.backends import HOST
from tests.kill.clients import Answer, Client, HttpClient
from tests.kill.journal import SLOTS, Slots, Snap, Stray, Vol, World, kept, offset_of, record

T = TypeVar("T")
MOST_OF_A_KIND: Final = 3
FILE_RECORDS: Final = 12
Count = Callable[[str, Answer], None]


@dataclass
class StrayLoad:
    """What workers ask as an administrator; and the files that they put into the pool."""

    world: World
    count: Count
    rng: random.Random
    admins: Sequence[Client]
    incoming: Path

    def moves(self) -> dict[str, tuple[int, Callable[[Client], Awaitable[None]]]]:
        """Return name → weight and what is done."""
        return {
            "unmanage": (4, self._unmanage),
            "unmanage snapshot": (4, self._unmanage_snapshot),
            "put file": (3, self._put_file),
            "manage": (6, self._manage),
            "manage snapshot": (4, self._manage_snapshot),
        }

    async def _unmanage(self, _client: Client) -> None:
        detached = [one for one in self.world.live_volumes() if not one.uri and not one.busy]
        free = [one for one in detached if one.groups == {None} and not self.world.keeps_strays(one)]
        volume = self._pick(free)
        if volume is None or len(detached) < 3 or self._are_many(Vol):
            return
        with kept(volume):
            stray = Stray(f"volume-{volume.id}", volume, dict(volume.slots), volume.size)
            await self._let_go("unmanage", stray, volume, self._admin().unmanage(str(volume.id)))

    async def _unmanage_snapshot(self, _client: Client) -> None:
        of_groups = {one for taken in self.world.group_snapshots for one in taken.snapshots}
        snapshot = self._pick([one for one in self.world.usable_snapshots() if one not in of_groups])
        if snapshot is None or self._are_many(Snap):
            return
        stray = Stray(f"snapshot-{snapshot.id}", snapshot, dict(snapshot.slots), snapshot.volume.size)
        await self._let_go("unmanage snapshot", stray, snapshot, self._admin().unmanage_snapshot(str(snapshot.id)))

    async def _let_go(self, kind: str, stray: Stray, thing: Vol | Snap, asking: Awaitable[Answer]) -> None:
        self.world.strays.append(stray)
        thing.delete_sent = True
        answer = await asking
        self.count(kind, answer)
        thing.deleted |= answer.accepted
        thing.delete_sent = answer.accepted or answer.unknown
        if not answer.accepted and not answer.unknown:
            self.world.strays.remove(stray)

    async def _put_file(self, _client: Client) -> None:
        if self._are_many(type(None)):
            return
        numbers = {slot: self.world.numbers.take() for slot in self.rng.sample(range(SLOTS), FILE_RECORDS)}
        slots: Slots = {slot: frozenset((number,)) for slot, number in numbers.items()}
        name = self.world.new_name("file")
        unnoticed = self.incoming / f".{name}"
        await asyncio.to_thread(_write_file, unnoticed, numbers, as_qcow2=self.rng.random() < 0.5)
        unnoticed.rename(self.incoming / name)
        self.world.strays.append(Stray(f"incoming/{name}", None, slots, 1))

    async def _manage(self, _client: Client) -> None:
        stray = self._pick([one for one in self.world.strays if one.manageable() and not isinstance(one.thing, Snap)])
        if stray is None:
            return
        stray.taker = made = Vol(self.world.new_name("vol"), stray.size, dict(stray.slots))
        self.world.volumes.append(made)
        answer = await self._admin().manage(HOST, stray.name, made.name)
        self.count("manage" if stray.thing else "manage file", answer)
        self._taken(stray, made, answer, self.world.volumes)

    async def _manage_snapshot(self, _client: Client) -> None:
        stray = self._pick([one for one in self.world.strays if one.manageable() and isinstance(one.thing, Snap)])
        if stray is None or not isinstance(stray.thing, Snap):
            return
        stray.taker = made = Snap(self.world.new_name("snap"), stray.thing.volume, dict(stray.slots))
        self.world.snapshots.append(made)
        answer = await self._admin().manage_snapshot(str(made.volume.id), stray.name, made.name)
        self.count("manage snapshot", answer)
        self._taken(stray, made, answer, self.world.snapshots)

    def _taken(self, stray: Stray, made: T, answer: Answer, among: list[T]) -> None:
        if answer.accepted:
            made.id, made.accepted = answer.body["id"], True  # type: ignore[attr-defined]
            self.world.strays.remove(stray)
        elif not answer.unknown:
            stray.taker = None
            among.remove(made)

    def _are_many(self, kind: type) -> bool:
        return sum(isinstance(one.thing, kind) for one in self.world.strays) >= MOST_OF_A_KIND

    def _admin(self) -> Client:
        return self.rng.choice(self.admins)

    def _pick(self, some: Sequence[T]) -> T | None:
        return self.rng.choice(some) if some else None


def _write_file(path: Path, numbers: dict[int, int], *, as_qcow2: bool) -> None:
    """Write records into a file that ends with the last of them: it becomes a volume of whole GiB all the same."""
    raw = path.with_name(f"{path.name}.raw") if as_qcow2 else path
    with raw.open("wb") as file:
        for slot, number in numbers.items():
            file.seek(offset_of(slot))
            file.write(record(number, slot))
    if as_qcow2:
        subprocess.run(["qemu-img", "convert", "-q", "-f", "raw", "-O", "qcow2", raw, path], check=True, timeout=60)
        raw.unlink()


async def settle_strays(admin: HttpClient, world: World, listed: Collection[str]) -> list[str]:
    """Compare the journal with what can be managed; to be done after volumes and snapshots are compared, whose ids are
    `listed`."""
    there = set()
    for kind in ("volumes", "snapshots"):
        rows = (await admin.get(f"manageable_{kind}/detail?host={HOST}"))[f"manageable-{kind}"]
        there |= {row["reference"]["source-name"] for row in rows if row["safe_to_manage"]}
    # Let go of, or not; and managed since, or not: if an answer was lost, the lists tell.
    world.strays[:] = [
        one
        for one in world.strays
        if not (one.thing and one.thing.id in listed) and not (one.taker and one.taker.id in listed)
    ]
    for one in world.strays:
        one.taker = None
    expected = {one.name for one in world.strays}
    wrong = [f"{name} is nobody's, but not on storage" for name in sorted(expected - there)]
    return wrong + [f"{name} is on storage and nobody's, but must not be" for name in sorted(there - expected)]
