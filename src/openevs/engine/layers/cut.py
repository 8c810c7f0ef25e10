"""The cut: one QMP command that puts next heads on top of the present ones, and what it costs a client.

The cost is measured with requests of our own that run back to back while the command does. They see what a client sees:
the daemon holds every request up while it switches heads. They touch no bytes: a read would go down the whole chain.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from openevs.engine.layers.daemon import Daemon
from openevs.engine.layers.exports import node_name
from openevs.engine.layers.graph import LayerId
from openevs.engine.nbd import NbdClient

_FLUSH_SECONDS: Final = 1.0  # a flush that takes longer is not worth waiting for
_PROBE_SECONDS: Final = 5.0  # a client that is held up for longer has other troubles than a snapshot


class Cut(NamedTuple):
    """Freeze `old` and let all further writes go to `new`."""

    old: LayerId
    new: LayerId

    def words(self) -> dict[str, str]:
        """QEMU's words for it."""
        return {"node": node_name(self.old), "overlay": node_name(self.new)}


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


async def cut(daemon: Daemon, cuts: Sequence[Cut], probe: NbdClient | None) -> Cost:
    """Make the cuts, all at one instant or none. Raises the daemon's errors."""
    stop = asyncio.Event()
    watching = asyncio.create_task(_longest_wait(probe, stop)) if probe else None
    if watching:
        await asyncio.sleep(0)  # the first request is on its way before the command is
    start = time.perf_counter()
    try:
        await daemon.execute(*_command(cuts))
        cut_ms = (time.perf_counter() - start) * 1e3
    except BaseException:
        if watching:
            watching.cancel()
        raise
    stop.set()
    return Cost(round(cut_ms, 3), await watching if watching else None)


def aimed(daemon: Daemon, cuts: Sequence[Cut]) -> AbstractAsyncContextManager[None]:
    """Let the daemon read the command that the block is to give it by `cut`."""
    return daemon.holding(*_command(cuts))


def _command(cuts: Sequence[Cut]) -> tuple[str, dict[str, Any]]:
    if len(cuts) == 1:
        return "blockdev-snapshot", cuts[0].words()
    return "transaction", {"actions": [{"type": "blockdev-snapshot", "data": each.words()} for each in cuts]}


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
