"""Groups in the load: made, joined, left, copied, frozen and deleted, while their volumes are attached and written.

The first group and its volumes are made before the load begins and stay, so that there is always something to freeze.
Which volumes a group snapshot is of, and what is copied with a group, is known because no two workers ask at the same
time for what depends on it; what was accepted goes on meanwhile.
"""

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from tests.kill.clients import Answer, Client, HttpClient
from tests.kill.journal import GroupSnap, Grp, Snap, Vol, World, kept

T = TypeVar("T")
MEMBERS: Final = 3
MOST_GROUPS: Final = 5
MOST_MADE: Final = 3
"""Of those, at most so many are there before one more is made without volumes: the others are copies."""
MOST_GROUP_SNAPSHOTS: Final = 4
ONE_INSTANT: Final = "one-instant"
ONE_BY_ONE: Final = "one-by-one"
"""Names of the two types of groups: whether the snapshots of such a group are promised to be of one instant."""
Count = Callable[[str, Answer], None]


@dataclass
class GroupLoad:
    """What workers ask of groups."""

    world: World
    count: Count
    rng: random.Random
    most_volumes: int
    types: Sequence[str]

    def moves(self) -> dict[str, tuple[int, Callable[[Client], Awaitable[None]]]]:
        """Return name → weight and what is done."""
        return {
            "snapshot group": (7, self._snapshot),
            "delete group snapshot": (3, self._delete_snapshot),
            "make group": (2, self._make),
            "change group": (5, self._change),
            "copy group": (4, self._copy),
            "delete group": (3, self._delete),
        }

    async def _snapshot(self, client: Client) -> None:
        group = self._pick(self.world.live_groups())
        if group is None or len(self.world.live_group_snapshots()) >= MOST_GROUP_SNAPSHOTS:
            return
        made = GroupSnap(self.world.new_name("group-snap"), group)
        with kept(group):
            for volume in self.world.members(group):
                snapshot = Snap(made.name, volume, dict(volume.slots))
                snapshot.history = volume.history
                made.snapshots.append(snapshot)
                volume.taking.append(snapshot)
            self.world.snapshots += made.snapshots
            self.world.group_snapshots.append(made)
            answer = await client.snapshot_group(str(group.id), made.name)
        self.count("snapshot group", answer)
        if answer.accepted:
            made.id, made.accepted = answer.body["id"], True
            for snapshot in made.snapshots:
                snapshot.accepted = True
        elif not answer.unknown:
            self.world.group_snapshots.remove(made)
            for snapshot in made.snapshots:
                self.world.snapshots.remove(snapshot)
                snapshot.volume.taking.remove(snapshot)

    async def _delete_snapshot(self, client: Client) -> None:
        doomed = self._pick(self.world.live_group_snapshots())
        if doomed is None:
            return
        both: list[GroupSnap | Snap] = [doomed, *doomed.snapshots]
        for one in both:
            one.delete_sent = True
        answer = await client.delete_group_snapshot(str(doomed.id))
        self.count("delete group snapshot", answer)
        for one in both:
            one.deleted |= answer.accepted
            one.delete_sent = one.deleted or answer.unknown  # a snapshot may have been deleted by itself meanwhile

    async def _make(self, client: Client) -> None:
        if len(self.world.groups) >= MOST_MADE:
            return
        made = Grp(self.world.new_name("group"), one_instant=self.rng.random() < 0.6)
        self.world.groups.append(made)
        answer = await client.create_group(made.name, ONE_INSTANT if made.one_instant else ONE_BY_ONE, self.types)
        self._made("make group", made, answer)

    def _made(self, kind: str, made: Grp, answer: Answer) -> None:
        self.count(kind, answer)
        if answer.accepted:
            made.id, made.accepted = answer.body["id"], True
            for one in made.copies:
                one.accepted = True
        elif not answer.unknown:
            self.world.groups.remove(made)
            for one in made.copies:
                self.world.volumes.remove(one)
                if isinstance(one.source, Vol):
                    one.source.taking.remove(one)

    async def _change(self, client: Client) -> None:
        """Let volumes join and leave, by one request: attached or not, and whatever else is just asked of them."""
        group = self._pick(self.world.live_groups())
        if group is None:
            return
        free = [one for one in self.world.live_volumes() if one.groups == {None} and not one.moving and not one.apart]
        members = [one for one in self.world.live_volumes() if one.groups == {group} and not one.moving]
        joining = self.rng.sample(free, min(len(free), self.rng.randint(0, 2)))
        leaving = self.rng.sample(members, min(max(len(members) - 1, 0), self.rng.randint(0, 1)))
        if not joining and not leaving:
            return
        before = {one: one.groups for one in (*joining, *leaving)}
        with kept(group):
            for one in before:
                one.groups, one.moving = one.groups | {group, None}, True
            ids = [[str(one.id) for one in some] for some in (joining, leaving)]
            answer = await client.update_group(str(group.id), *ids)
        self.count("change group", answer)
        for one, was in before.items():
            one.moving = False
            if answer.accepted:
                one.groups = frozenset((group if one in joining else None,))
            elif not answer.unknown:
                one.groups = was

    async def _copy(self, client: Client) -> None:
        """Make a group from another one, or from a group snapshot: of each volume a copy, all of one instant if the
        source's type promises it."""
        group, taken = self._pick(self.world.live_groups()), None
        if self.rng.random() < 0.5:
            taken = self._pick([one for one in self.world.live_group_snapshots() if not _open(one)])
            group = taken.group if taken else None
        if group is None or group.busy or len(self.world.groups) >= MOST_GROUPS:
            return
        sources: Sequence[Snap | Vol] = taken.snapshots if taken else self.world.members(group)
        if len(self.world.live_volumes()) + len(sources) > self.most_volumes + MEMBERS:
            return
        made = Grp(self.world.new_name("group"), group.one_instant)
        with kept(group):
            for number, source in enumerate(sources):
                # How large it will be nobody is told: its source may just be growing, or have grown since.
                one = Vol(f"{made.name}-{number}", 1, dict(source.slots), groups=frozenset((made,)), source=source)
                one.origin = source.history
                made.copies.append(one)
                if isinstance(source, Vol):
                    source.taking.append(one)
            self.world.volumes += made.copies
            self.world.groups.append(made)
            answer = await client.copy_group(
                made.name,
                group_snapshot_id=taken.id if taken else None,
                source_group_id=None if taken else group.id,
            )
        self._made("copy group", made, answer)

    async def _delete(self, client: Client) -> None:
        first = self.world.groups[0]
        group = self._pick([one for one in self.world.live_groups() if one is not first])
        if group is None:
            return
        members = self.world.members(group)
        keeps_strays = any(self.world.keeps_strays(one) for one in members)
        with_volumes = bool(members) and not keeps_strays and self.rng.random() < 0.8
        doomed: list[Grp | Vol] = [group, *(members if with_volumes else ())]
        if any(one.delete_sent for one in doomed):
            return
        with kept(group):
            for one in doomed:
                one.delete_sent = True
            answer = await client.delete_group(str(group.id), with_volumes=with_volumes)
        self.count("delete group", answer)
        for one in doomed:
            one.deleted |= answer.accepted
            one.delete_sent = answer.accepted or answer.unknown

    def _pick(self, some: Sequence[T]) -> T | None:
        return self.rng.choice(some) if some else None


def _open(taken: GroupSnap) -> bool:
    return any(one.open or not one.id for one in taken.snapshots)


async def begin_groups(client: HttpClient, admin: HttpClient, world: World, types: Sequence[str]) -> None:
    """Make the group types, the first group and its volumes. Raises RuntimeError."""
    specs = {"consistent_group_snapshot_enabled": "<is> True"}
    await _made(admin, "group_type", {"name": ONE_INSTANT, "group_specs": specs})
    await _made(admin, "group_type", {"name": ONE_BY_ONE})
    group = await _made(client, "group", {"name": "g", "group_type": ONE_INSTANT, "volume_types": list(types)})
    first = Grp("g", one_instant=True, id=group["id"], accepted=True, open=False)
    world.groups.append(first)
    for _ in range(MEMBERS):
        name = world.new_name("vol")
        wanted = {"name": name, "size": 1, "group_id": first.id, "volume_type": types[0]}
        made = await _made(client, "volume", wanted)
        world.volumes.append(Vol(name, 1, id=made["id"], accepted=True, groups=frozenset((first,))))


async def _made(client: HttpClient, key: str, fields: dict[str, Any]) -> Any:
    answer = await client.call("POST", f"{key}s", {key: fields})
    if not answer.accepted:
        raise RuntimeError(f"making a {key} was answered {answer.status}: {answer.body}")
    return answer.body[key]
