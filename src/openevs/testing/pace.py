"""Holding requests back to what `Limits` allow: the plainest way, for the engine in memory."""

import asyncio
from dataclasses import dataclass, field
from time import monotonic

from openevs.engine.port import UNTHROTTLED, Limits


@dataclass(slots=True)
class Pace:
    """The clients of one volume, all together."""

    limits: Limits = UNTHROTTLED
    _free_at: dict[str, float] = field(default_factory=dict)
    """When each limit has recovered from what was let through."""

    async def wait(self, length_bytes: int, *, reads: bool) -> None:
        """Wait as long as a request of so many bytes has to."""
        limits, now = self.limits, monotonic()
        rates = {
            "total_bytes": (limits.total_bytes, length_bytes),
            "total_requests": (limits.total_requests, 1),
            "bytes": (limits.read_bytes if reads else limits.write_bytes, length_bytes),
            "requests": (limits.read_requests if reads else limits.write_requests, 1),
        }
        until = now
        for name, (rate, amount) in rates.items():
            if rate is not None:
                key = name if name.startswith("total") else f"{name} {reads}"
                self._free_at[key] = max(self._free_at.get(key, 0.0), now) + amount / rate
                until = max(until, self._free_at[key])
        await asyncio.sleep(until - now)
