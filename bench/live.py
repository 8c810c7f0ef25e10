"""The snapshot of a volume that is attached and being written to: how long it takes, and what the writer feels."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from bench.client import QuickClient
from bench.figures import Row, Samples, milliseconds
from bench.floor import Floor, FloorVolume
from bench.rig import Rig, Running, attached_disk, running, scatter_now
from openevs.demo.writer import Request, Writer, worst_ms

SLOTS = 8192
BLOCKS = 5
"""Volumes that are used one after the other, so that no chain of layers gets long."""
_SETTLE_SECONDS = 0.1
_WHAT = "POST → available, attached and written"
_LOOK_SECONDS = 0.05
_REQUESTS = 2
"""That are made for a snapshot: the one for it, and the look that is answered when it is there."""


class Window(NamedTuple):
    """A window around a snapshot, and one as long before it in which as many requests were made; monotonic ns."""

    asked: int
    available: int
    quiet: int
    """Middle of the time without a snapshot."""


def measure(rig: Rig) -> list[Row]:
    """Return the rows about a live snapshot."""
    took: list[float] = []
    floors: list[Floor] = []
    prepared: list[Floor] = []
    inside: list[float] = []
    outside: list[float] = []
    bare: list[float] = []
    with running(rig.folder / "live") as service:
        for block in range(BLOCKS):
            windows, requests, found, felt = _block(rig, service, block)
            bare += felt
            floors += found[::2]
            prepared += found[1::2]
            for window in windows:
                length = window.available - window.asked
                took.append(length / 1e9)
                inside.append(worst_ms(requests, window.asked, window.available))
                outside.append(worst_ms(requests, window.quiet - length // 2, window.quiet + length // 2))
    return [
        Row(
            _WHAT,
            milliseconds(took),
            "the floor: two commits, a manifest, one bare QMP command that creates and cuts",
            milliseconds([floor.total for floor in floors]),
            2.5,
            notes=_parts(floors),
        ),
        Row(
            f"{_WHAT} (stricter)",
            milliseconds(took),
            "the same floor with its overlay made beforehand, as ours is",
            milliseconds([floor.total for floor in prepared]),
            2.5,
            notes=_parts(prepared),
        ),
        Row(
            "writer's worst latency in that window",
            Samples(tuple(inside), "ms"),
            "its worst in as long a window without a snapshot, with as many other requests",
            Samples(tuple(outside), "ms"),
            2.0,
            notes=(f"in as long a window from the floor's own work on: {Samples(tuple(bare), 'ms').spread()}",),
        ),
    ]


def _parts(floors: list[Floor]) -> tuple[str, ...]:
    names = ("accepting commit", "manifest", "overlay and cut", "closing commit")
    parts = zip(names, zip(*floors, strict=True), strict=True)
    return tuple(f"floor, {name}: {milliseconds(values).spread()}" for name, values in parts)


def _block(rig: Rig, service: Running, block: int) -> tuple[list[Window], list[Request], list[Floor], list[float]]:
    """Use one volume of the service's and one of the floor's in turns; only one of them is written to at a time.
    Return also what the floor's writer felt at worst, in windows as long as ours, when its overlay was prepared."""
    windows: list[Window] = []
    floors: list[Floor] = []
    bare_windows: list[tuple[int, int]] = []
    with ExitStack() as stack:
        disk = attached_disk(service.api, 1)
        bare = stack.enter_context(FloorVolume(rig.folder / f"floor-{block}", 1))
        scatter_now(bare.uri)
        ours = stack.enter_context(Writer(disk.attached.uri, 0, SLOTS, rig.folder / "ours.times"))
        theirs = stack.enter_context(Writer(bare.uri, 0, SLOTS, rig.folder / "theirs.times"))
        theirs.pause()
        last, length = service.client.snapshot(disk.volume_id)[0], _LOOK_SECONDS
        for number in range(rig.rounds(20)):
            with _writing(ours):
                quiet = _look(service.client, last, max(_LOOK_SECONDS, length * 1.5), length / _REQUESTS)
                last, asked, available = service.client.snapshot(disk.volume_id)
                windows.append(Window(asked, available, quiet))
                length = (available - asked) / 1e9
                time.sleep(_SETTLE_SECONDS / 2)
            with _writing(theirs):
                prepared = number % 2 == 1
                floors.append(bare.round(prepared=prepared))
                ended = time.monotonic_ns()
                time.sleep(_SETTLE_SECONDS / 2)
                began = ended - int(floors[-1].total * 1e9)
                bare_windows += [(began, began + available - asked)] if prepared else []
        requests, felt = ours.stop(), theirs.stop()
    service.api.detach(disk.volume_id, disk.attached)
    return windows, requests, floors, [worst_ms(felt, *window) for window in bare_windows]


@contextmanager
def _writing(writer: Writer) -> Iterator[None]:
    writer.go()
    time.sleep(_SETTLE_SECONDS)
    try:
        yield
    finally:
        writer.pause()


def _look(client: QuickClient, snapshot_id: str, seconds: float, pause_seconds: float) -> int:
    """Look at a snapshot once in each pause, for so long; return the moment half-way."""
    request = client.prepared("GET", f"/v3/{{p}}/snapshots/{snapshot_id}")
    began = time.monotonic_ns()
    while time.monotonic_ns() - began < seconds * 1e9:
        client.exchange(request)
        time.sleep(pause_seconds)
    return began + int(seconds * 1e9 / 2)
