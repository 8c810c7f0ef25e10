"""Clients that write to an attached volume: numbered records into random slots, with a flush every few.

Each has slots of its own. It connects again to the same URI whenever it is cut off, as a machine would, and goes on.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from openevs.engine.nbd import NbdClient
from tests.kill.journal import RECORD_BYTES, SLOTS, Numbers, Vol, number_in, offset_of, record
from tests.kill.reach import REQUEST_SECONDS, reached

_RECONNECT_SECONDS: Final = 0.02
_CLIENTS: Final = 2
"""Clients of one volume at the same time."""


class Stuck(Exception):
    """A volume that is to be served is not, or does not answer."""


class Writer:
    """Writes to one volume, over several connections, until it is told to stop."""

    def __init__(self, volume: Vol, numbers: Numbers, rng: random.Random, *, acknowledged_is_safe: bool) -> None:
        self.volume = volume
        self.records = 0
        self.flushes = 0
        self._numbers = numbers
        self._rng = rng
        self._safe = acknowledged_is_safe
        """Nobody kills daemons: what was acknowledged stays, flushed or not."""
        self._stopping = False
        self._tasks = [asyncio.create_task(self._run(range(first, SLOTS, _CLIENTS))) for first in range(_CLIENTS)]

    async def stop(self) -> None:
        """End the requests that are under way, flush, and close."""
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def _run(self, slots: Sequence[int]) -> None:
        while not self._stopping:
            # A write that was cut off may have been done, and is not done later: what is unflushed stays uncertain.
            with contextlib.suppress(OSError, TimeoutError):
                async with reached(str(self.volume.uri)) as client:
                    await self._write(client, slots)
            if not self._stopping:
                await asyncio.sleep(_RECONNECT_SECONDS)

    async def _write(self, client: NbdClient, slots: Sequence[int]) -> None:
        unflushed: dict[int, int] = {}
        while not self._stopping:
            slot, number = self._rng.choice(slots), self._numbers.take()
            data = record(number, slot)
            self.volume.begin(slot, number)
            async with asyncio.timeout(REQUEST_SECONDS):
                await client.write(offset_of(slot), data)
            self.records += 1
            unflushed[slot] = number
            if self._safe:
                self.volume.settled(slot, number, self._numbers.newest)
            if self._rng.random() < 0.25:
                await self._flush(client, unflushed)
            await asyncio.sleep(self._rng.uniform(0, 0.03 * _CLIENTS))
        await self._flush(client, unflushed)

    async def _flush(self, client: NbdClient, unflushed: dict[int, int]) -> None:
        async with asyncio.timeout(REQUEST_SECONDS):
            await client.flush()
        self.flushes += 1
        for slot, number in unflushed.items():
            self.volume.settled(slot, number, self._numbers.newest)
        unflushed.clear()


async def read_slots(uri: str, seconds: float = 10.0) -> dict[int, int]:
    """Return what is in every slot, as a client reads it, and make it last. Raises WrongBytes, Stuck."""
    try:
        async with connected(uri, seconds) as client, asyncio.timeout(REQUEST_SECONDS):
            found = {}
            for slot in range(SLOTS):
                found[slot] = number_in(await client.read(offset_of(slot), RECORD_BYTES), slot)
            await client.flush()
            return found
    except (OSError, TimeoutError) as error:
        raise Stuck(f"{uri}: {type(error).__name__}: {error}") from error


@asynccontextmanager
async def connected(uri: str, seconds: float) -> AsyncIterator[NbdClient]:
    """Connect to a volume that may only just be coming back. Raises Stuck."""
    until, client = time.monotonic() + seconds, None
    async with AsyncExitStack() as stack:
        while client is None:
            try:
                client = await stack.enter_async_context(reached(uri))
            except (OSError, TimeoutError) as error:
                if time.monotonic() > until:
                    raise Stuck(f"{uri} cannot be reached for {seconds:g} s: {error}") from error
                await asyncio.sleep(_RECONNECT_SECONDS)
        yield client
