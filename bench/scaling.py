"""What must not grow: a snapshot, a roll-back and a clone, with the volume, with its snapshots, with the pool."""

import random
import time
from collections.abc import Callable, Sequence

from bench.client import QuickClient
from bench.figures import Row, Samples, milliseconds
from bench.rig import Disk, Rig, Running, attached_disk, running, scatter_now

SMALL_GIB, LARGE_GIB = 1, 1024
FEW_VOLUMES, MANY_VOLUMES = 10, 1000
MANY_SNAPSHOTS = 200
_REACH = 1.3
_WRITES_BETWEEN = 64
Action = Callable[[int], float]
"""Does something in round n and returns the seconds it took."""


def in_turns(actions: Sequence[Action], rounds: int) -> list[Samples]:
    """Measure several actions in turns, in an order that changes, and return the samples of each."""
    found: list[list[float]] = [[] for _ in actions]
    order = list(range(len(actions)))
    for number in range(rounds):
        random.shuffle(order)
        for which in order:
            time.sleep(0.02)
            found[which].append(actions[which](number))
    return [milliseconds(samples) for samples in found]


def post(client: QuickClient, disk: Disk) -> Action:
    """Return the action that snapshots an attached volume on which something was written since."""

    def act(number: int) -> float:
        scatter_now(disk.attached.uri, _WRITES_BETWEEN, seed=number)
        time.sleep(0.02)
        _, asked, available = client.snapshot(disk.volume_id)
        return (available - asked) / 1e9

    return act


def measure_sizes(rig: Rig) -> list[Row]:
    """Return the rows that compare a small volume with a large one."""
    with running(rig.folder / "sizes") as service:
        disks = [attached_disk(service.api, size) for size in (SMALL_GIB, LARGE_GIB)]
        small, large = in_turns([post(service.client, disk) for disk in disks], rig.rounds(30))
        rows = [_row(f"POST → available on {LARGE_GIB} GiB", large, f"on {SMALL_GIB} GiB", small)]
        for disk in disks:
            service.api.detach(disk.volume_id, disk.attached)
        rows += _returns(rig, service, disks)
    return rows


def _returns(rig: Rig, service: Running, disks: list[Disk]) -> list[Row]:
    snapshots = [service.client.snapshot(disk.volume_id)[0] for disk in disks]
    pairs = list(zip(disks, snapshots, (SMALL_GIB, LARGE_GIB), strict=True))
    small, large = in_turns([_roll_back(service.client, d.volume_id, s) for d, s, _ in pairs], rig.rounds(30))
    rows = [_row(f"roll back on {LARGE_GIB} GiB", large, f"on {SMALL_GIB} GiB", small)]
    small, large = in_turns([_clone(service.client, s, size) for _, s, size in pairs], rig.rounds(30))
    return [*rows, _row(f"volume from snapshot on {LARGE_GIB} GiB", large, f"on {SMALL_GIB} GiB", small)]


def _roll_back(client: QuickClient, volume_id: str, snapshot_id: str) -> Action:
    def act(number: int) -> float:
        began = time.perf_counter()
        client.call("POST", f"/v2/{{p}}/cloudsnapshots/{snapshot_id}/rollback", {"rollback": {"volume_id": volume_id}})
        client.wait(f"/v3/{{p}}/volumes/{volume_id}", "available")
        return time.perf_counter() - began

    return act


def _clone(client: QuickClient, snapshot_id: str, size_gib: int) -> Action:
    def act(number: int) -> float:
        began = time.perf_counter()
        body = {"volume": {"size": size_gib, "snapshot_id": snapshot_id}}
        made = client.call("POST", "/v3/{p}/volumes", body)["volume"]["id"]
        client.wait(f"/v3/{{p}}/volumes/{made}", "available")
        return time.perf_counter() - began

    return act


def measure_snapshots(rig: Rig) -> list[Row]:
    """Return the row that compares a volume's first snapshot with its 200th and later ones."""
    rounds = rig.rounds(20)
    many = 20 if rig.quick else MANY_SNAPSHOTS
    with running(rig.folder / "snapshots") as service:
        old = attached_disk(service.api, 1)
        for number in range(many - 1):
            scatter_now(old.attached.uri, _WRITES_BETWEEN, seed=number)
            service.client.snapshot(old.volume_id)
        fresh = [attached_disk(service.api, 1) for _ in range(rounds)]
        firsts = [post(service.client, disk) for disk in fresh]
        first, later = in_turns([lambda n: firsts[n](n), post(service.client, old)], rounds)
    return [_row(f"POST → available, snapshot {many} and on", later, "a volume's first", first)]


def measure_pool(rig: Rig) -> list[Row]:
    """Return the row that compares a pool with few volumes with one that has many."""
    many_volumes = 100 if rig.quick else MANY_VOLUMES
    with running(rig.folder / "few") as few, running(rig.folder / "many") as many:
        for service, count in ((few, FEW_VOLUMES), (many, many_volumes)):
            for _ in range(count - 1):
                service.client.call("POST", "/v3/{p}/volumes", {"volume": {"size": 1}})
        disks = [attached_disk(service.api, 1) for service in (few, many)]
        _settle(many.client)
        actions = [post(service.client, disk) for service, disk in zip((few, many), disks, strict=True)]
        small, large = in_turns(actions, rig.rounds(30))
    return [_row(f"POST → available with {many_volumes} volumes", large, f"with {FEW_VOLUMES}", small)]


def _settle(client: QuickClient) -> None:
    """Wait until every volume has been made."""
    while client.call("GET", "/v3/{p}/volumes?status=creating")["volumes"]:
        time.sleep(0.2)


def _row(what: str, measured: Samples, against: str, limit: Samples) -> Row:
    return Row(what, measured, against, limit, _REACH)
