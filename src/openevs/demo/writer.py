"""A writer in a process of its own, so that nothing else that the demo does shows in its latencies.

One request at a time: a record, the next record, …, and a flush after every 16th. Its parent tells it to go, to pause,
and to stop, in lines on stdin; on stopping it writes when each request began and ended into a file.
"""

import asyncio
import contextlib
import gc
import os
import subprocess
import sys
import time
from array import array
from pathlib import Path
from typing import Final, NamedTuple, Self

import uvloop

from openevs.demo.records import RECORD_BYTES, record
from openevs.engine.nbd import NbdClient

RECORDS_PER_FLUSH: Final = 16
_STOP_SECONDS: Final = 30.0


class WriterError(Exception):
    """The writer has failed; the message says why."""


class Request(NamedTuple):
    """One request of a writer; nanoseconds of the monotonic clock."""

    number: int
    """Of the record; -1: a flush."""
    began_ns: int
    ended_ns: int


class Writer:
    """The parent's side: a writer that goes on until it is told otherwise."""

    def __init__(self, uri: str, offset_bytes: int, slots: int, log: Path) -> None:
        """`log` is a file for the times, which is made and removed."""
        self._log = log
        self._process = subprocess.Popen(
            [sys.executable, "-m", "openevs.demo.writer", uri, str(offset_bytes), str(slots), str(log)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the parent
        )
        self._tell("go")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def pause(self) -> None:
        """Write no more until `go`; returns when the last request has been answered."""
        self._tell("pause")

    def go(self) -> None:
        """Write again."""
        self._tell("go")

    def stop(self) -> list[Request]:
        """Stop, and return every request there was, in order. Raises WriterError."""
        try:
            _, errors = self._process.communicate("stop\n", timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise WriterError(f"The writer does not stop within {_STOP_SECONDS:g} s.") from None
        if self._process.returncode:
            raise WriterError(f"The writer failed: {errors.strip().splitlines()[-1:]}")
        times = array("q", self._log.read_bytes())
        self._log.unlink()
        return [Request(*times[at : at + 3]) for at in range(0, len(times), 3)]

    def kill(self) -> None:
        """End the process; safe to call twice."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()

    def _tell(self, word: str) -> None:
        assert self._process.stdin is not None  # noqa: S101 - pipes were asked for
        assert self._process.stdout is not None  # noqa: S101
        with contextlib.suppress(BrokenPipeError):  # said better below
            self._process.stdin.write(word + "\n")
            self._process.stdin.flush()
        if self._process.stdout.readline().strip() != word:
            self.kill()
            errors = self._process.stderr.read() if self._process.stderr and not self._process.stderr.closed else ""
            raise WriterError(f"The writer failed: {errors.strip()[-300:]}")


def worst_ms(requests: list[Request], from_ns: int, until_ns: int) -> float:
    """Return the longest time that one of the requests took that were under way between two moments."""
    under_way = (r.ended_ns - r.began_ns for r in requests if r.ended_ns >= from_ns and r.began_ns <= until_ns)
    return max(under_way, default=0) / 1e6


async def _write(uri: str, offset_bytes: int, slots: int, log: Path) -> None:
    gc.disable()  # a collection would show as a latency of the storage; nothing here is cyclic
    times = array("q")
    may_write, stopping, idle = asyncio.Event(), asyncio.Event(), asyncio.Event()
    client = await NbdClient.connect(uri)
    listening = asyncio.create_task(_listen(may_write, stopping, idle))
    number = 0
    while True:
        if not may_write.is_set():
            idle.set()
            await may_write.wait()
            idle.clear()
        if stopping.is_set():
            break
        data = record(number, slots)
        began = time.monotonic_ns()
        await client.write(offset_bytes + number % slots * RECORD_BYTES, data)
        times.extend((number, began, time.monotonic_ns()))
        number += 1
        if number % RECORDS_PER_FLUSH == 0:
            began = time.monotonic_ns()
            await client.flush()
            times.extend((-1, began, time.monotonic_ns()))
    await client.flush()
    await client.close()
    await asyncio.to_thread(log.write_bytes, times.tobytes())
    listening.cancel()


async def _listen(may_write: asyncio.Event, stopping: asyncio.Event, idle: asyncio.Event) -> None:
    """Obey the parent; its end is the order to stop."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while word := (await reader.readline()).decode().strip():
        if word == "stop":
            break
        if word == "pause":
            may_write.clear()
            await idle.wait()
        else:
            may_write.set()
        os.write(1, f"{word}\n".encode())
    stopping.set()
    may_write.set()


if __name__ == "__main__":
    uvloop.run(_write(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])))
