"""Volumes in the load that are let go and managed again, and what must hold of what is nobody's after each restart.

Each volume that was let go is on storage under a name of its own, until it is managed again: never both, never neither,
and its bytes are what they were. Both are an administrator's to ask.
"""

import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

from openevs.domain.backends import HOST
from tests.kill.clients import Answer, Client, HttpClient
from tests.kill.journal import Stray, Vol, World, kept

T = TypeVar("T")
MOST_STRAYS: Final = 3
Count = Callable[[str, Answer], None]


class StrayLoad:
    """What workers ask of volumes, as an administrator."""

    def __init__(self, world: World, count: Count, rng: random.Random, admins: Sequence[Client]) -> None:
        self._world, self._count, self._rng, self._admins = world, count, rng, admins

    def moves(self) -> dict[str, tuple[int, Callable[[Client], Awaitable[None]]]]:
        """Return name → weight and what is done."""
        return {"unmanage": (4, self._unmanage), "manage": (5, self._manage)}

    async def _unmanage(self, _client: Client) -> None:
        detached = [one for one in self._world.live_volumes() if not one.uri and not one.busy]
        volume = self._pick([one for one in detached if one.groups == {None}])
        if volume is None or len(detached) < 3 or len(self._world.strays) >= MOST_STRAYS:
            return
        stray = Stray(f"volume-{volume.id}", volume, dict(volume.slots))
        self._world.strays.append(stray)
        with kept(volume):
            volume.delete_sent = True
            answer = await self._rng.choice(self._admins).unmanage(str(volume.id))
        self._count("unmanage", answer)
        volume.deleted |= answer.accepted
        volume.delete_sent = answer.accepted or answer.unknown
        if not answer.accepted and not answer.unknown:
            self._world.strays.remove(stray)

    async def _manage(self, _client: Client) -> None:
        stray = self._pick([one for one in self._world.strays if one.taker is None and one.volume.deleted])
        if stray is None:
            return
        made = Vol(self._world.new_name("vol"), stray.volume.size, dict(stray.slots))
        stray.taker = made
        self._world.volumes.append(made)
        answer = await self._rng.choice(self._admins).manage(HOST, stray.name, made.name)
        self._count("manage", answer)
        if answer.accepted:
            made.id, made.accepted = answer.body["id"], True
            self._world.strays.remove(stray)
        elif not answer.unknown:
            stray.taker = None
            self._world.volumes.remove(made)

    def _pick(self, some: Sequence[T]) -> T | None:
        return self._rng.choice(some) if some else None


async def settle_strays(admin: HttpClient, world: World, volumes: dict[str, dict[str, Any]]) -> list[str]:
    """Compare the journal with what can be managed; to be done after the volumes are compared."""
    rows = (await admin.get(f"manageable_volumes/detail?host={HOST}"))["manageable-volumes"]
    there = {row["reference"]["source-name"] for row in rows if row["safe_to_manage"]}
    # Let go of, or not; and managed since, or not: if an answer was lost, the list of volumes tells.
    world.strays[:] = [
        one
        for one in world.strays
        if one.volume.id not in volumes and (one.taker is None or one.taker.id not in volumes)
    ]
    for one in world.strays:
        one.taker = None
    expected = {one.name for one in world.strays}
    wrong = [f"{name} was let go of, but is not on storage" for name in sorted(expected - there)]
    return wrong + [f"{name} is on storage and nobody's, but must not be" for name in sorted(there - expected)]
