"""What must hold of groups, their volumes and their snapshots after each restart.

A group snapshot is one instant over all its volumes, if the group's type promises that, and so is a copy of such a
group: nothing may be in one of them that was begun after something was acknowledged that another of them lacks.
"""

from collections.abc import Iterable
from typing import Any

from tests.kill.clients import HttpClient
from tests.kill.journal import GroupSnap, Grp, History, Slots, World

Rows = dict[str, dict[str, Any]]
"""Id → what the API shows."""


async def list_group_snapshots(client: HttpClient) -> Rows:
    """Return all group snapshots, by id."""
    return {row["id"]: row for row in (await client.get("group_snapshots/detail"))["group_snapshots"]}


async def list_groups(client: HttpClient) -> Rows:
    """Return all groups, by id."""
    return {row["id"]: row for row in (await client.get("groups/detail"))["groups"]}


async def passing_groups(client: HttpClient) -> list[str]:
    """Return a sentence for each group and group snapshot on which work seems to be open."""
    return [
        f"{kind} {row['id']} ({row['name']}) is {row['status']}"
        for kind, rows in (("group", await list_groups(client)), ("group snapshot", await list_group_snapshots(client)))
        for row in rows.values()
        if row["status"] in ("creating", "updating", "deleting")
    ]


def name_snapshots(world: World, snapshots: Rows) -> None:
    """Find the snapshots of group snapshots, which a list tells and no answer."""
    ids = {(row.get("group_snapshot_id"), row["volume_id"]): row["id"] for row in snapshots.values()}
    for made in world.group_snapshots:
        for snapshot in made.snapshots if made.id else ():
            snapshot.id = snapshot.id or ids.get((made.id, snapshot.volume.id))


def name_copies(world: World, volumes: Rows) -> None:
    """Find the volumes that were made along with a group, which a list tells and no answer."""
    ids = {(row["group_id"], row["source_volid"] or row["snapshot_id"]): row["id"] for row in volumes.values()}
    for made in world.groups:
        for one in made.copies if made.id else ():
            if one.source is not None:
                one.id = one.id or ids.get((made.id, one.source.id))


async def settle_groups(client: HttpClient, world: World, volumes: Rows, snapshots: Rows) -> list[str]:
    """Compare the journal with the lists; to be done before volumes and snapshots are compared."""
    groups, taken = await list_groups(client), await list_group_snapshots(client)
    wrong = [
        f"{one['name']} ({one['id']}) is {one['status']}"
        for one in (*groups.values(), *taken.values())
        if one["status"] != "available"
    ]
    wrong += _match("group", world.groups, groups)
    wrong += _match("group snapshot", world.group_snapshots, taken)
    name_copies(world, volumes)
    name_snapshots(world, snapshots)
    world.groups[:] = [made for made in world.groups if made.id in groups]
    for group in world.groups:
        group.open = group.delete_sent = False
    world.group_snapshots[:] = [made for made in world.group_snapshots if made.id in taken]
    for made in world.group_snapshots:
        made.delete_sent = False
        missing = [one.volume.id for one in made.snapshots if one.id not in snapshots]
        wrong += [f"group snapshot {made.id} has no snapshot of volume {one}" for one in missing]
    of = {row["id"]: row.get("group_snapshot_id") for row in snapshots.values()}
    return wrong + [
        f"snapshot {one} is of group snapshot {whole}, which is not there"
        for one, whole in of.items()
        if whole and whole not in taken
    ]


def _match(kind: str, things: Iterable[Grp | GroupSnap], rows: Rows) -> list[str]:
    wrong, known = [], set()
    by_name = {row["name"]: row["id"] for row in rows.values()}
    for one in things:
        one.id = one.id or by_name.get(one.name)
        known.add(one.id)
        if one.accepted and one.id not in rows and not one.delete_sent:
            wrong.append(f"{kind} {one.id} ({one.name}) was answered 202 and never deleted, but is gone")
        if one.deleted and one.id in rows:
            wrong.append(f"{kind} {one.id} ({one.name}): its deletion was answered 202, but it is there")
    return wrong + [f"{kind} {one}: nobody asked for it" for one in rows.keys() - known]


def settle_members(world: World, volumes: Rows) -> list[str]:
    """Each volume is in a group in which it may be; to be done after groups and volumes are compared."""
    wrong, by_id = [], {one.id: one for one in world.groups}
    for volume in world.volumes:
        found = volumes[str(volume.id)]["group_id"]
        allowed = {one.id if one else None for one in volume.groups}
        if found not in allowed:
            wrong.append(f"volume {volume.id} is in group {found}, but must be in one of {allowed}")
        volume.groups = frozenset((by_id.get(found),))
    return wrong


def check_instants(world: World) -> list[str]:
    """Each group snapshot whose snapshots have all been read is one instant, and so is each new copy of a group."""
    wrong = []
    for made in world.group_snapshots:
        if made.group.one_instant and all(one.times_read for one in made.snapshots):
            world.instants += 1
            parts = [(str(one.id), one.slots, one.history) for one in made.snapshots]
            wrong += torn(f"group snapshot {made.id}", parts)
    for group in world.groups:
        copies, group.copies = group.copies, []
        if group.one_instant and copies and all(one in world.volumes and not one.changed for one in copies):
            world.instants += 1
            wrong += torn(f"group {group.id}", [(str(one.id), one.slots, one.origin) for one in copies])
    return wrong


def torn(what: str, parts: Iterable[tuple[str, Slots, History | None]]) -> list[str]:
    """Return a sentence for each part that shows that the parts, each with what was read in it and what was written to
    its volume, are not one instant."""
    parts = list(parts)
    newest = max((number for _, slots, _ in parts for found in slots.values() for number in found), default=0)
    wrong = []
    for one, slots, history in parts:
        lacking = [
            f"record {number}, acknowledged before record {at + 1} was begun, in slot {slot}"
            for slot, writes in (history or {}).items()
            for number, at in writes
            if at < newest and number > max(slots.get(slot, frozenset((0,))))
        ]
        if lacking:
            wrong.append(f"{what} holds record {newest}, but its part {one} lacks {len(lacking)}, as {lacking[-1]}")
    return wrong
