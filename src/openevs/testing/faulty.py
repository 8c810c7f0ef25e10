"""Faults on demand: an engine whose calls fail, wait, hang or die when a test says so.

    faults = Faults()
    engine = faulty(MemoryEngine(), faults)
    faults.fail("ensure_snapshot", Transient("the pool sneezed"))  # the next call; nothing is done
    faults.fail("ensure_snapshot", OutcomeUnknown("no answer"), nth=2, when="after")  # the second; done all the same
    faults.crash("ensure_reverted", when="after")                              # Crashed: as far as our process got
    hang = faults.hang("ensure_volume")                                        # until hang.release()

Each fault is for one call: the nth of that method, counted from the moment the fault is asked for, and several faults
may wait for calls of the same method. `calls` is what has been called, whether it failed or not.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from openevs.engine.port import Engine
from openevs.engine.wrap import METHODS, Call, wrapped

T = TypeVar("T")
When = Literal["before", "after"]


class Crashed(BaseException):
    """Stands for the death of our process. No `except Exception` sees it, as none would see a SIGKILL."""


@dataclass(slots=True)
class Hang:
    """A call that waits. `reached` is set once it does; it goes on after `release()`."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    _released: asyncio.Event = field(default_factory=asyncio.Event)

    def release(self) -> None:
        """Let the call go on."""
        self._released.set()

    async def wait(self) -> None:
        """Wait as the call does; for `Faults`."""
        self.reached.set()
        await self._released.wait()


@dataclass(slots=True)
class _Fault:
    method: str
    calls_left: int
    when: When
    act: Callable[[], Awaitable[None]]


class Faults:
    """The faults that are to happen, and the calls that have been made."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._waiting: list[_Fault] = []

    def fail(self, method: str, error: BaseException, *, nth: int = 1, when: When = "before") -> None:
        """Make the nth call of `method` from now raise `error`, with its effect ("after") or without ("before")."""

        async def raise_it() -> None:
            raise error

        self._plan(method, nth, when, raise_it)

    def crash(self, method: str, *, nth: int = 1, when: When = "before") -> None:
        """Make the nth call of `method` from now raise Crashed, with its effect or without."""
        self.fail(method, Crashed(f"{when} the effect of {method}"), nth=nth, when=when)

    def delay(self, method: str, seconds: float, *, nth: int = 1, when: When = "before") -> None:
        """Make the nth call of `method` from now wait for `seconds`, before its effect or after it."""

        async def wait() -> None:
            await asyncio.sleep(seconds)

        self._plan(method, nth, when, wait)

    def hang(self, method: str, *, nth: int = 1, when: When = "before") -> Hang:
        """Make the nth call of `method` from now wait until the returned `Hang` is released."""
        hang = Hang()
        self._plan(method, nth, when, hang.wait)
        return hang

    def called(self, method: str) -> list[tuple[object, ...]]:
        """Return the arguments of each call of `method` so far, in order."""
        _check_name(method)
        return [call.arguments for call in self.calls if call.method == method]

    @property
    def pending(self) -> list[str]:
        """Methods whose fault has not happened yet; a test that ends with some did not test what it says."""
        return [fault.method for fault in self._waiting]

    async def around(self, call: Call, go: Callable[[], Awaitable[T]], /) -> T:
        """Do what has been asked for around this call."""
        self.calls.append(call)
        due = self._take_due(call.method)
        for fault in due:
            if fault.when == "before":
                await fault.act()
        result = await go()
        for fault in due:
            if fault.when == "after":
                await fault.act()
        return result

    def _plan(self, method: str, nth: int, when: When, act: Callable[[], Awaitable[None]]) -> None:
        _check_name(method)
        if nth < 1:
            raise ValueError("calls are counted from 1")
        self._waiting.append(_Fault(method, nth, when, act))

    def _take_due(self, method: str) -> list[_Fault]:
        """Count this call. Two faults of the same `nth` both happen, so a delay and a failure can be combined."""
        for fault in self._waiting:
            if fault.method == method:
                fault.calls_left -= 1
        due = [fault for fault in self._waiting if fault.calls_left == 0]
        self._waiting = [fault for fault in self._waiting if fault.calls_left > 0]
        return due


def faulty(engine: Engine, faults: Faults) -> Engine:
    """Return an engine with the powers of `engine` on whose calls `faults` act."""
    return wrapped(engine, faults.around)


def _check_name(method: str) -> None:
    # A misspelt name would be a fault that never happens, and so a test that passes for nothing.
    if method not in METHODS:
        raise ValueError(f"an engine has no method {method!r}")
