"""A group of volumes in the load, and what must hold of its snapshots after each restart.

The group and its volumes are made before the load begins, so that it is known which volumes a group snapshot is of.
They are attached, written and extended as others are. A group snapshot is one instant over all of them: nothing may be
in one of its snapshots that was begun after something was acknowledged that another of them lacks.
"""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from tests.kill.clients import Answer, Client, HttpClient, Login
from tests.kill.journal import GroupSnap, Snap, Vol, World

MEMBERS: Final = 3
MOST_GROUP_SNAPSHOTS: Final = 3
Count = Callable[[str, Answer], None]
Rows = dict[str, dict[str, Any]]


@dataclass
class GroupLoad:
    """What workers ask of the group."""

    world: World
    count: Count
    rng: random.Random

    def moves(self) -> dict[str, tuple[int, Callable[[Client], Awaitable[None]]]]:
        """Return name → weight and what is done."""
        return {"snapshot group": (6, self._snapshot), "delete group snapshot": (3, self._delete)}

    async def _snapshot(self, client: Client) -> None:
        if len(self.world.live_group_snapshots()) >= MOST_GROUP_SNAPSHOTS:
            return
        made = GroupSnap(self.world.new_name("group-snap"))
        for volume in self.world.members():
            snapshot = Snap(made.name, volume, dict(volume.slots), group=made)
            snapshot.history = volume.history
            made.snapshots.append(snapshot)
            volume.taking.append(snapshot)
        self.world.snapshots += made.snapshots
        self.world.group_snapshots.append(made)
        answer = await client.snapshot_group(self.world.group_id, made.name)
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

    async def _delete(self, client: Client) -> None:
        some = self.world.live_group_snapshots()
        if not some:
            return
        doomed = self.rng.choice(some)
        both: list[GroupSnap | Snap] = [doomed, *doomed.snapshots]
        for one in both:
            one.delete_sent = True
        answer = await client.delete_group_snapshot(str(doomed.id))
        self.count("delete group snapshot", answer)
        for one in both:
            one.deleted |= answer.accepted
            one.delete_sent = answer.accepted or answer.unknown


async def begin_group(login: Login, folder: Path, client: HttpClient, world: World, types: tuple[str, ...]) -> None:
    """Make a group type, a group and its volumes. Raises RuntimeError."""
    clouds = yaml.safe_load((folder / "clouds.yaml").read_text())["clouds"]
    auth = next(one["auth"] for one in clouds.values() if one["auth"]["username"] == "admin")
    admin = HttpClient(Login(login.url, auth["username"], auth["password"], auth["project_name"]))
    await admin.log_in()
    specs = {"consistent_group_snapshot_enabled": "<is> True"}
    await _made(admin, "group_type", {"name": "one-instant", "group_specs": specs})
    await admin.close()
    group = await _made(client, "group", {"name": "g", "group_type": "one-instant", "volume_types": list(types)})
    world.group_id = group["id"]
    for _ in range(MEMBERS):
        name = world.new_name("vol")
        wanted = {"name": name, "size": 1, "group_id": world.group_id, "volume_type": types[0]}
        made = await _made(client, "volume", wanted)
        world.volumes.append(Vol(name, 1, id=made["id"], accepted=True, grouped=True))


async def _made(client: HttpClient, key: str, fields: dict[str, Any]) -> Any:
    answer = await client.call("POST", f"{key}s", {key: fields})
    if not answer.accepted:
        raise RuntimeError(f"making a {key} was answered {answer.status}: {answer.body}")
    return answer.body[key]


async def list_group_snapshots(client: HttpClient) -> Rows:
    """Return all group snapshots, by id."""
    return {row["id"]: row for row in (await client.get("group_snapshots/detail"))["group_snapshots"]}


async def passing_groups(client: HttpClient) -> list[str]:
    """Return a sentence for each group and group snapshot on which work seems to be open."""
    groups = {row["id"]: row for row in (await client.get("groups/detail"))["groups"]}
    return [
        f"{kind} {row['id']} ({row['name']}) is {row['status']}"
        for kind, rows in (("group", groups), ("group snapshot", await list_group_snapshots(client)))
        for row in rows.values()
        if row["status"] in ("creating", "updating", "deleting")
    ]


def name_snapshots(world: World, snapshots: Rows) -> None:
    """Find the snapshots of group snapshots, which a list tells and no answer."""
    ids = {(row.get("group_snapshot_id"), row["volume_id"]): row["id"] for row in snapshots.values()}
    for made in world.group_snapshots:
        for snapshot in made.snapshots if made.id else ():
            snapshot.id = snapshot.id or ids.get((made.id, snapshot.volume.id))


async def settle_groups(client: HttpClient, world: World, snapshots: Rows) -> list[str]:
    """Compare the journal with the lists; to be done before the snapshots are compared."""
    groups = (await client.get("groups/detail"))["groups"]
    wrong = [] if [one["id"] for one in groups] == [world.group_id] else [f"the groups are {groups}"]
    rows = await list_group_snapshots(client)
    things = [*groups, *rows.values()]
    wrong += [f"{one['name']} ({one['id']}) is {one['status']}" for one in things if one["status"] != "available"]
    by_name = {row["name"]: row["id"] for row in rows.values()}
    for made in world.group_snapshots:
        made.id = made.id or by_name.get(made.name)
        if made.accepted and made.id not in rows and not made.delete_sent:
            wrong.append(f"group snapshot {made.id} ({made.name}) was answered 202 and never deleted, but is gone")
        if made.deleted and made.id in rows:
            wrong.append(f"group snapshot {made.id} ({made.name}): its deletion was answered 202, but it is there")
    name_snapshots(world, snapshots)
    known = {made.id for made in world.group_snapshots}
    wrong += [f"group snapshot {one}: nobody asked for it" for one in rows.keys() - known]
    world.group_snapshots[:] = [made for made in world.group_snapshots if made.id in rows]
    for made in world.group_snapshots:
        made.delete_sent = False
        missing = [one.volume.id for one in made.snapshots if one.id not in snapshots]
        wrong += [f"group snapshot {made.id} has no snapshot of volume {one}" for one in missing]
    of = {row["id"]: row.get("group_snapshot_id") for row in snapshots.values()}
    wrong += [f"snapshot {one} is of group snapshot {whole}, which is not there" for one, whole in of.items()
              if whole and whole not in rows]  # fmt: skip
    return wrong


def check_instants(world: World) -> list[str]:
    """Each group snapshot whose snapshots have all been read is one instant."""
    wrong = []
    for made in world.group_snapshots:
        if all(one.times_read for one in made.snapshots):
            world.instants += 1
            wrong += _torn(made)
    return wrong


def _torn(made: GroupSnap) -> list[str]:
    newest = max((number for one in made.snapshots for found in one.slots.values() for number in found), default=0)
    return [
        f"group snapshot {made.id}: record {newest} is in it, begun after record {number} was acknowledged (at {at}), "
        f"which its snapshot {one.id} lacks in slot {slot}"
        for one in made.snapshots
        for slot, writes in (one.history or {}).items()
        for number, at in writes
        if at < newest and number > max(one.slots.get(slot, frozenset((0,))))
    ]
