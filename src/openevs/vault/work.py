"""Doing many things at once within bounds, for asyncio: threads that are waited for, tasks that fail as one."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from openevs.vault.port import Progress, Report

T = TypeVar("T")
_REPORT_SECONDS: Final = 0.25


async def in_thread(pool: Executor, function: Callable[..., T], *args: Any) -> T:
    """Return what the function returns. If the caller is cancelled, wait for the thread all the same: it must not go on
    writing when whoever began it has let go of what it holds."""
    future = asyncio.get_running_loop().run_in_executor(pool, function, *args)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait({future})
        if not future.cancelled():
            future.exception()  # nobody else will ask for it
        raise


class Crew:
    """At most so many tasks at a time; the first that fails ends them all."""

    def __init__(self, group: asyncio.TaskGroup, at_once: int) -> None:
        self._group = group
        self._places = asyncio.Semaphore(at_once)

    async def start(self, work: Callable[[], Coroutine[Any, Any, T]]) -> asyncio.Task[T]:
        """Begin it when there is room."""
        await self._places.acquire()
        task = self._group.create_task(work())
        task.add_done_callback(lambda _: self._places.release())
        return task


@asynccontextmanager
async def group() -> AsyncIterator[asyncio.TaskGroup]:
    """As `asyncio.TaskGroup`, but what one of them raised is raised as it is."""
    try:
        async with asyncio.TaskGroup() as tasks:
            yield tasks
    except BaseExceptionGroup as errors:
        first: BaseException = errors
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from None


class Meter:
    """Counts, and reports now and then; to be used by the loop's thread only."""

    def __init__(self, report: Report, bytes_total: int) -> None:
        self.bytes_read = 0
        self.bytes_stored = 0
        self._bytes_total = bytes_total
        self._report = report
        self._began = self._told = time.monotonic()

    def add(self, read: int = 0, stored: int = 0) -> None:
        """Count."""
        self.bytes_read += read
        self.bytes_stored += stored
        if time.monotonic() - self._told >= _REPORT_SECONDS:
            self.tell()

    def tell(self) -> None:
        """Report now."""
        self._told = time.monotonic()
        total = max(self._bytes_total, self.bytes_read)
        self._report(Progress(self.bytes_read, self.bytes_stored, total, self._told - self._began))
