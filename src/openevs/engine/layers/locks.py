"""A lock that many may share or one may have alone, for asyncio."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class SharedLock:
    """Guards the graph of layers: methods that point at layers share it, moving and removing layers takes it alone.

    One who wants it alone waits for the sharers to leave; new sharers wait behind, so neither side starves."""

    def __init__(self) -> None:
        self._gate = asyncio.Lock()
        self._sharers = 0
        self._empty = asyncio.Event()
        self._empty.set()

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """Hold it together with others."""
        async with self._gate:
            self._sharers += 1
            self._empty.clear()
        try:
            yield
        finally:
            self._sharers -= 1
            if not self._sharers:
                self._empty.set()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Hold it with nobody else."""
        async with self._gate:
            await self._empty.wait()
            yield
