"""What must hold after each restart. Each check returns sentences about what does not."""

import asyncio
import contextlib
import sqlite3
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from openevs.domain.backup import TRANSITIONAL_BACKUP_STATUSES
from openevs.domain.lifecycle import TRANSITIONAL_SNAPSHOT_STATUSES, TRANSITIONAL_VOLUME_STATUSES
from openevs.engine.layers import manifest, qcow2
from openevs.engine.layers.manifest import Manifest
from tests.kill.backups import bases, list_backups
from tests.kill.clients import HttpClient, uri_of
from tests.kill.instants import passing_groups
from tests.kill.journal import Snap, Vol, World, close

QUIET_SECONDS: Final = 20.0
_LOOKS: Final = 20
Rows = dict[str, dict[str, Any]]
"""Id → what the API shows."""


async def until_true(holds: Callable[[], Awaitable[list[str]]], seconds: float = QUIET_SECONDS) -> list[str]:
    """Return what is still wrong after that time; nothing as soon as nothing is."""
    until = time.monotonic() + seconds
    while True:
        wrong = await holds()
        if not wrong or time.monotonic() > until:
            return wrong
        await asyncio.sleep(0.05)


async def list_all(client: HttpClient) -> tuple[Rows, Rows]:
    """Return all volumes and all snapshots."""
    volumes = await client.get("volumes/detail")
    snapshots = await client.get("snapshots/detail")
    return {row["id"]: row for row in volumes["volumes"]}, {row["id"]: row for row in snapshots["snapshots"]}


async def is_quiet(client: HttpClient, folder: Path) -> list[str]:
    """No work is open, and no status says that there is some."""
    volumes, snapshots = await list_all(client)
    wrong = [
        f"{kind} {row['id']} ({row['name']}) is {row['status']}"
        for kind, rows, passing in (
            ("volume", volumes, TRANSITIONAL_VOLUME_STATUSES | {"detaching"}),
            ("snapshot", snapshots, TRANSITIONAL_SNAPSHOT_STATUSES),
        )
        for row in rows.values()
        if row["status"] in passing
    ]
    wrong += [
        f"backup {row['id']} ({row['name']}) is {row['status']}"
        for row in (await list_backups(client)).values()
        if row["status"] in TRANSITIONAL_BACKUP_STATUSES
    ]
    wrong += await passing_groups(client)
    return wrong + await asyncio.to_thread(_open_work, folder)


def _open_work(folder: Path) -> list[str]:
    with closing(_database(folder)) as database:
        found = database.execute(
            "SELECT kind, resource_id, state, attempts, error FROM operation WHERE state IN ('queued', 'running')"
        ).fetchall()
        claims = database.execute("SELECT resource_kind, resource_id FROM operation_claim").fetchall()
    wrong = [
        f"operation {kind} on {row_id} is {state} (try {tries}: {why})" for kind, row_id, state, tries, why in found
    ]
    return wrong + ([] if found else [f"claim on {kind} {row_id} without an operation" for kind, row_id in claims])


def _database(folder: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{folder / 'openevs.db'}?mode=ro", uri=True, timeout=10)


def reconcile(world: World, volumes: Rows, snapshots: Rows) -> list[str]:
    """Compare the journal with the lists: find by name what was never answered, and what should be there or gone."""
    wrong = _statuses("volume", volumes, {"available", "in-use", "attaching", "reserved"})
    wrong += _statuses("snapshot", snapshots, {"available"})
    wrong += _match("volume", world.volumes, volumes)
    world.volumes[:] = [one for one in world.volumes if one.id in volumes]
    for snapshot in world.snapshots:
        snapshot.deleted |= snapshot.volume.deleted
        snapshot.delete_sent |= snapshot.volume.delete_sent
    wrong += _match("snapshot", world.snapshots, snapshots)
    world.snapshots[:] = [one for one in world.snapshots if one.id in snapshots]
    things: list[Vol | Snap] = [*world.volumes, *world.snapshots]
    for thing in things:
        close(thing, world)
        thing.delete_sent = False
    for volume in world.volumes:
        volume.taking.clear()
        wrong += _size(volume, volumes[str(volume.id)])
    return wrong


def _statuses(kind: str, rows: Rows, stable: set[str]) -> list[str]:
    return [
        f"{kind} {row['id']} ({row['name']}) is {row['status']}: {row.get('openevs:reason')}"
        for row in rows.values()
        if row["status"] not in stable
    ]


def _match(kind: str, things: "list[Vol] | list[Snap]", rows: Rows) -> list[str]:
    wrong = []
    by_name = {row["name"]: row["id"] for row in rows.values()}
    known = set()
    for thing in things:
        thing.id = thing.id or by_name.get(thing.name)
        there = thing.id in rows
        known.add(thing.id)
        if thing.accepted and not there and not thing.delete_sent:
            wrong.append(f"{kind} {thing.id} ({thing.name}) was answered 202 and never deleted, but is gone")
        if thing.deleted and there:
            wrong.append(f"{kind} {thing.id} ({thing.name}): its deletion was answered 202, but it is there")
    wrong += [
        f"{kind} {row['id']} ({row['name']}): nobody asked for it" for row in rows.values() if row["id"] not in known
    ]
    return wrong


def _size(volume: Vol, row: Mapping[str, Any]) -> list[str]:
    asked, volume.size = volume.size, row["size"]
    if volume.size < asked:
        return [f"volume {volume.id} has {volume.size} GiB; {asked} were answered 202"]
    return []


async def settle_transfers(client: HttpClient) -> list[str]:
    """Take back the offers that a client was cut off from: no volume is held by one that is not listed."""
    for transfer in (await client.get("volume-transfers"))["transfers"]:
        await client.call("DELETE", f"volume-transfers/{transfer['id']}")
    volumes, _ = await list_all(client)
    return [f"volume {one} awaits a transfer that is not there" for one, row in volumes.items() if _offered(row)]


def _offered(row: Mapping[str, Any]) -> bool:
    return bool(row["status"] == "awaiting-transfer")


async def settle_attachments(client: HttpClient, world: World, volumes: Rows) -> list[str]:
    """End attaching and detaching that a client was cut off from: what it can always do is delete the attachment."""
    wrong = []
    for volume in world.volumes:
        found = (await client.get(f"attachments/detail?volume_id={volume.id}"))["attachments"]
        shown = [one for one in found if one["status"] == "attached"]
        if volume.uri and volumes[str(volume.id)]["status"] == "in-use" and len(shown) == 1:
            volume.attachment = shown[0]["id"]
            if (given := uri_of(shown[0]["connection_info"])) != volume.uri:
                wrong.append(f"volume {volume.id} was served at {volume.uri}, and now is at {given}")
            continue
        if volume.uri:
            wrong.append(f"volume {volume.id} was attached, but is {volumes[str(volume.id)]['status']}: {found}")
        volume.uri = volume.attachment = None
        volume.apart = False
        wrong += await _detach(client, str(volume.id), [one["id"] for one in found])
    return wrong


async def _detach(client: HttpClient, volume_id: str, attachment_ids: list[str]) -> list[str]:
    for attachment_id in attachment_ids:
        answer = await client.call("DELETE", f"attachments/{attachment_id}")
        if not answer.accepted:
            return [f"attachment {attachment_id} of volume {volume_id} cannot be deleted: {answer}"]
    status = (await client.get(f"volumes/{volume_id}"))["volume"]["status"]
    if status in ("attaching", "reserved"):
        await client.call("POST", f"volumes/{volume_id}/action", {"os-unreserve": {}})
        status = (await client.get(f"volumes/{volume_id}"))["volume"]["status"]
    return [] if status == "available" else [f"volume {volume_id} is {status} after all its attachments have gone"]


def check_quota(folder: Path, volumes: Rows, snapshots: Rows, groups: int) -> list[str]:
    """Usage is what a recount of the lists gives, in total and, for volumes, by type."""
    counted: Counter[str] = Counter(f"volumes_{row['volume_type']}" for row in volumes.values())
    for name, rows in (("volumes", volumes), ("snapshots", snapshots)):
        for row in rows.values():
            counted[name] += 1
            counted["gigabytes"] += row["size"]
    counted["groups"] = groups
    with closing(_database(folder)) as database:
        recorded = dict(
            database.execute("SELECT resource, in_use FROM quota_usage WHERE resource NOT LIKE '%#_%' ESCAPE '#'")
        )
        recorded |= database.execute(
            "SELECT resource, in_use FROM quota_usage WHERE resource LIKE 'volumes#_%' ESCAPE '#'"
        )
    by_type = {name for name in (*recorded, *counted) if name.startswith("volumes_")}
    return [
        f"quota: {recorded.get(name, 0)} {name} are recorded, {counted[name]} are there"
        for name in ("volumes", "snapshots", "gigabytes", "groups", *sorted(by_type))
        if recorded.get(name, 0) != counted[name]
    ]


def check_shown_quota(usage: Mapping[str, Any], volumes: Rows, snapshots: Rows) -> list[str]:
    """The same, as the API shows it."""
    sizes = sum(row["size"] for rows in (volumes, snapshots) for row in rows.values())
    counted = {"volumes": len(volumes), "snapshots": len(snapshots), "gigabytes": sizes}
    return [
        f"quota: the API shows {usage[name]['in_use']} {name} in use, {number} are there"
        for name, number in counted.items()
        if usage[name]["in_use"] != number
    ]


def check_pool(pool: Path, world: World, volumes: Rows, snapshots: Rows) -> list[str]:
    """On storage is what is listed, and no layer that nothing needs. Merges may go on meanwhile: if a file goes away
    between being listed and being read, all is looked at again."""
    for _ in range(_LOOKS - 1):
        with contextlib.suppress(FileNotFoundError):
            return _check_pool(pool, world, volumes, snapshots)
        time.sleep(0.05)
    return _check_pool(pool, world, volumes, snapshots)


def _check_pool(pool: Path, world: World, volumes: Rows, snapshots: Rows) -> list[str]:
    made = [manifest.read(path) for path in (pool / "volumes").glob("*.json")]
    wrong = _compare("volume", {one.volume_id for one in made}, set(volumes))
    frozen = {key for one in made for key in one.snapshots}
    wrong += _compare("snapshot", frozen - bases(_database(pool.parent)), set(snapshots))
    served = {str(one.volume_id) for one in made if one.export is not None}
    wrong += _compare("export of volume", served, {str(one.id) for one in world.volumes if one.uri})
    strays = [manifest.read(path) for path in (pool / "released").glob("*.json")]
    names = {one.released for one in strays} | {name for one in made for name in one.released_snapshots}
    names |= {f"incoming/{path.name}" for path in (pool / "incoming").iterdir()}
    wrong += _compare("stray", names, {one.name for one in world.strays})
    return wrong + _layers(pool / "layers", [*made, *strays])


def daemons_needed(pool: Path) -> int:
    """Return how many daemons serve the volumes: those of a group that were attached as such have one."""
    made = [manifest.read(path) for path in (pool / "volumes").glob("*.json")]
    return len({one.export.together or one.volume_id for one in made if one.export is not None})


def _compare(kind: str, stored: set[Any], listed: set[Any]) -> list[str]:
    wrong = [f"{kind} {one} is on storage, but is not listed" for one in sorted(stored - listed)]
    return wrong + [f"{kind} {one} is listed, but not on storage" for one in sorted(listed - stored)]


def _layers(folder: Path, made: list[Manifest]) -> list[str]:
    parents: dict[str, str | None] = {}
    for path in folder.glob("*.qcow2"):
        below = qcow2.read_header(path).parent
        parents[path.stem] = below.removesuffix(".qcow2") if below else None
    needed: set[str] = set()
    for top in (layer for one in made for layer in one.layers()):
        at: str | None = top
        while at is not None and at not in needed:
            if at not in parents:
                return [f"layer {at} is missing"]
            needed.add(at)
            at = parents[at]
    # A merge that ends just as another volume is being connected waits, with its note, while that one is served.
    served = {layer for one in made if one.export is not None for layer in _below(str(one.head), parents)}
    # One that is prepared for the next snapshot of a volume that is served hangs on its head.
    heads = Counter(str(one.head) for one in made if one.export is not None)
    left = []
    for layer in sorted(parents.keys() - needed):
        below = str(parents[layer])
        if heads[below]:
            heads[below] -= 1
        else:
            left.append(f"layer {layer} (on {below}) is needed by nothing")
    return left + [
        f"{path.name} is left in the pool"
        for path in folder.iterdir()
        if path.suffix != ".qcow2" and not (path.suffix == ".merged" and path.stem in served)
    ]


def _below(top: str, parents: dict[str, str | None]) -> list[str]:
    """Return a layer and all that are below it."""
    chain: list[str] = []
    at: str | None = top
    while at is not None:
        chain.append(at)
        at = parents.get(at)
    return chain
