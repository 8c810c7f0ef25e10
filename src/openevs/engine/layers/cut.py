"""The cut: one QMP command that puts volumes' filters on next heads, and what it costs a client.

A next head is open on top of the present one already, so all that the command does is to let go of one node and take
another, with the volume held still. `blockdev-snapshot`, which is made for this, also puts the head on top then, and
opens the frozen layer anew to be read only: that takes half as long again with a new volume, thrice as long with one of
two hundred layers, and for all volumes of a daemon in turn. Here the frozen layer is made read-only later (`seals.py`).

The cost is measured with requests of our own that run back to back while the command does. They see what a client sees:
the daemon holds every request up while it switches heads. They touch no bytes: a read would go down the whole chain.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple

from openevs.engine.layers.daemon import Daemon, Order
from openevs.engine.layers.exports import filter_options
from openevs.engine.layers.graph import LayerId
from openevs.engine.layers.manifest import Manifest
from openevs.engine.nbd import NbdClient

_FLUSH_SECONDS: Final = 1.0  # a flush that takes longer is not worth waiting for
_PROBE_SECONDS: Final = 5.0  # a client that is held up for longer has other troubles than a snapshot


class Cut(NamedTuple):
    """Freeze the head that the volume has, and let all further writes go to `new`, which is open on top of it."""

    volume: Manifest
    new: LayerId


@dataclass(frozen=True, slots=True)
class Cost:
    """What a cut took, in milliseconds."""

    cut_ms: float
    stall_ms: float | None


@asynccontextmanager
async def flushing(probes: Sequence[NbdClient | None]) -> AsyncIterator[None]:
    """Flush the volumes while the block works, all at once and while clients write: the cut flushes what is left, one
    volume after the other, and holds all clients up meanwhile."""
    flushes = [asyncio.create_task(probe.flush()) for probe in probes if probe is not None]
    try:
        yield
    finally:
        if flushes:
            done, late = await asyncio.wait(flushes, timeout=_FLUSH_SECONDS)
            for task in late:
                task.cancel()
            for task in done:
                with contextlib.suppress(OSError):
                    task.result()


def aimed(daemon: Daemon, cuts: Sequence[Cut]) -> AbstractAsyncContextManager[Order]:
    """Let the daemon read the command that the block is to give it by `cut`."""
    return daemon.holding("blockdev-reopen", {"options": [filter_options(each.volume, each.new) for each in cuts]})


async def cut(order: Order, probe: NbdClient | None) -> Cost:
    """Make the cuts that were aimed, all at one instant or none. Raises the daemon's errors."""
    stop = asyncio.Event()
    watching = asyncio.create_task(_longest_wait(probe, stop)) if probe else None
    if watching:
        await asyncio.sleep(0)  # the first request is on its way before the command is
    start = time.perf_counter()
    try:
        await order()
        cut_ms = (time.perf_counter() - start) * 1e3
    except BaseException:
        if watching:
            watching.cancel()
        raise
    stop.set()
    return Cost(round(cut_ms, 3), await watching if watching else None)


async def _longest_wait(probe: NbdClient, stop: asyncio.Event) -> float | None:
    longest = 0.0
    with contextlib.suppress(OSError, TimeoutError):
        while not stop.is_set():
            start = time.perf_counter()
            async with asyncio.timeout(_PROBE_SECONDS):
                await probe.touch()
            longest = max(longest, time.perf_counter() - start)
        return round(longest * 1e3, 3)
    return None
