"""The cut: one QMP command that puts the next head on top of the present one, and what it costs a client.

The cost is measured with reads of our own that run back to back while the command does. They see what a client sees:
the daemon holds every request up while it switches heads.
"""

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import Final

from openevs.engine.layers.daemon import Daemon
from openevs.engine.layers.exports import node_name
from openevs.engine.layers.graph import LayerId
from openevs.engine.nbd import NbdClient

_PROBE_BYTES: Final = 512
_PROBE_SECONDS: Final = 5.0  # a client that is held up for longer has other troubles than a snapshot


@dataclass(frozen=True, slots=True)
class Cost:
    """What a cut took, in milliseconds."""

    cut_ms: float
    stall_ms: float | None


async def cut(daemon: Daemon, old: LayerId, new: LayerId, probe: NbdClient | None) -> Cost:
    """Freeze `old` and let all further writes go to `new`. Raises the daemon's errors."""
    stop = asyncio.Event()
    watching = asyncio.create_task(_longest_read(probe, stop)) if probe else None
    if watching:
        await asyncio.sleep(0)  # the first read is on its way before the command is
    start = time.perf_counter()
    try:
        await daemon.execute("blockdev-snapshot", {"node": node_name(old), "overlay": node_name(new)})
        cut_ms = (time.perf_counter() - start) * 1e3
    except BaseException:
        if watching:
            watching.cancel()
        raise
    stop.set()
    return Cost(round(cut_ms, 3), await watching if watching else None)


async def _longest_read(probe: NbdClient, stop: asyncio.Event) -> float | None:
    longest = 0.0
    with contextlib.suppress(OSError, TimeoutError):
        while not stop.is_set():
            start = time.perf_counter()
            async with asyncio.timeout(_PROBE_SECONDS):
                await probe.read(0, _PROBE_BYTES)
            longest = max(longest, time.perf_counter() - start)
        return round(longest * 1e3, 3)
    return None
