"""An engine in a process of its own, so that a test can kill it: the honest way to ask what survives a SIGKILL.

    process = EngineProcess(partial(LayersEngine, pool_folder, run_folder))
    engine = process.engine()       # has the powers of what the function makes; `open` starts the process
    ...
    await process.kill()            # SIGKILL, between any two instructions

Calls travel as pickles over the process's stdin and stdout. A call that is cancelled here goes on there, as the call of
a client that was lost does, until it ends or the process is killed.
"""

import asyncio
import contextlib
import os
import pickle
import struct
import sys
import traceback
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar, cast

from openevs.engine.errors import EngineError, OutcomeUnknown
from openevs.engine.port import Engine, EngineFacts
from openevs.engine.wrap import Call, wrapped

T = TypeVar("T")
_LENGTH: Final = struct.Struct(">I")
_DESCRIBE: Final = "describe"


class UnexpectedError(Exception):
    """The engine raised something that is no EngineError."""


class EngineProcess:
    """Makes one engine, by `make` (which must be picklable), in one process."""

    def __init__(self, make: Callable[[], Engine]) -> None:
        self._make = make
        self._process: asyncio.subprocess.Process | None = None
        self._replies: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._last_number = 0
        self._facts: EngineFacts | None = None

    def engine(self) -> Engine:
        """Return the engine as it is seen from here. After `kill` it answers OutcomeUnknown, until it is opened."""
        # What is made here is never opened: it is there for its powers.
        return wrapped(self._make(), self._around, self._described)

    async def kill(self) -> None:
        """Kill the process, if there is one, and see it gone."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        await self._ended()

    async def _ended(self) -> None:
        process, self._process = self._process, None
        if process is None or process.stdin is None:
            return
        process.stdin.close()
        await process.wait()
        if self._replies is not None:
            await self._replies

    def _described(self) -> EngineFacts:
        if self._facts is None:
            raise OutcomeUnknown("the engine's process has not been started")
        return self._facts

    async def _around(self, call: Call, _: Callable[[], Awaitable[T]], /) -> T:
        if call.method == "open" and not self._is_running():
            await self._ended()
            await self._start()
        if call.method == "close" and self._process is None:
            return cast("T", None)
        result: T = await self._ask(call.method, call.arguments)
        if call.method == "open":
            self._facts = await self._ask(_DESCRIBE, ())
        if call.method == "close":
            await self._ended()
        return result

    def _is_running(self) -> bool:
        return self._replies is not None and not self._replies.done()

    async def _start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", __name__, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        self._send(self._process, self._make)
        self._replies = asyncio.create_task(self._receive(self._process))

    async def _ask(self, method: str, arguments: tuple[object, ...]) -> Any:
        if self._process is None or not self._is_running():
            raise OutcomeUnknown("the engine's process was killed, or died")
        self._last_number += 1
        reply = asyncio.get_running_loop().create_future()
        self._waiting[self._last_number] = reply
        self._send(self._process, (self._last_number, method, arguments))
        return await reply

    def _send(self, process: asyncio.subprocess.Process, message: object) -> None:
        if process.stdin is not None:
            process.stdin.write(_packed(message))

    async def _receive(self, process: asyncio.subprocess.Process) -> None:
        if process.stdout is None:
            return
        try:
            while True:
                number, result, error = await _unpacked(process.stdout)
                reply = self._waiting.pop(number)
                if reply.done():  # its caller was cancelled
                    continue
                if error is None:
                    reply.set_result(result)
                else:
                    reply.set_exception(error)
        except asyncio.IncompleteReadError:
            pass
        finally:
            for reply in self._waiting.values():
                if not reply.done():
                    reply.set_exception(OutcomeUnknown("the engine's process died"))
            self._waiting.clear()


def _packed(message: object) -> bytes:
    data = pickle.dumps(message)
    return _LENGTH.pack(len(data)) + data


async def _unpacked(reader: asyncio.StreamReader) -> Any:
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    return pickle.loads(await reader.readexactly(length))  # noqa: S301 - from our own child, or parent


async def serve(output: int) -> None:
    """The child: carry out what comes on stdin, each call in a task of its own, until there is no parent."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    engine: Engine = (await _unpacked(reader))()
    calls: set[asyncio.Task[None]] = set()

    async def carry_out(number: int, method: str, arguments: tuple[object, ...]) -> None:
        try:
            result = getattr(engine, method)(*arguments)
            message = _packed((number, result if method == _DESCRIBE else await result, None))
        except EngineError as error:
            error.add_note(traceback.format_exc())
            message = _packed((number, None, error))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the parent's to judge
            # Not as it is: an exception of another library may not survive the way.
            seen = UnexpectedError(f"the engine raised {type(error).__name__}, which it must not: {error}")
            seen.add_note(traceback.format_exc())
            message = _packed((number, None, seen))
        _write_all(output, message)

    with contextlib.suppress(asyncio.IncompleteReadError):
        while True:
            task = asyncio.create_task(carry_out(*await _unpacked(reader)))
            calls.add(task)
            task.add_done_callback(calls.discard)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


if __name__ == "__main__":
    # Under its own name: the parent would not know the classes of `__main__`.
    from openevs.testing.process import serve

    # What anything prints goes to stderr: stdout is for replies.
    replies = os.dup(1)
    os.dup2(2, 1)
    asyncio.run(serve(replies))
    os._exit(0)  # without the good order that a killed process does not have either
