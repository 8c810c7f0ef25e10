"""A daemon's second monitor, for a command that is to take effect the moment it may.

QEMU reads its commands a byte at a time, with half a dozen system calls for each: some 4 µs a byte, so one that freezes
sixteen volumes takes ten milliseconds to be read. Here a command is sent ahead but for its last byte, and is read while
the disk is waited for. It is carried out when that byte comes, and not at all if the connection ends before.
"""

import asyncio
import json
from pathlib import Path
from typing import Any, Final

from qemu.qmp import ExecInterruptedError

from openevs.engine.layers.faults import from_qemu

_CONNECT_SECONDS: Final = 1.0  # what takes longer is not faster than sending the command when it is due
_READ_BYTES: Final = 1 << 16


class Trigger:
    """The connection; made when it is first needed. Holds one command at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._answers: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._reading: asyncio.Task[None] | None = None
        self._command: bytes | None = None
        """What was sent ahead, until its answer is there."""

    async def hold(self, command: str, arguments: object) -> bytes | None:
        """Send all of the command but its last byte, and return it as `holds` and `drop` want it; None if that was not
        done: the daemon cannot be reached, or another command is held."""
        if self._command is not None:
            return None
        text = self._command = _text(command, arguments)
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                writer = await self._connected()
        except (OSError, TimeoutError, ValueError):
            await self.close()
            return None
        except BaseException:
            await self.close()
            raise
        writer.write(text[:-1])
        return text

    def holds(self, text: bytes) -> bool:
        """Say whether this is the command that is held, as `hold` has returned it."""
        return self._command is text

    async def pull(self) -> Any:
        """Let the held command be carried out and return its answer. Raises EngineError; ExecInterruptedError if the
        daemon goes away meanwhile."""
        if self._command is None or self._streams is None:
            raise ExecInterruptedError("no command is held")
        self._streams[1].write(self._command[-1:])
        answer = await self._answers.get()
        if answer is None:
            raise ExecInterruptedError("the connection was lost")
        self._command = None
        if "error" in answer:
            raise from_qemu(str(answer["error"]["desc"]))
        return answer["return"]

    async def drop(self, text: bytes) -> None:
        """See that the command is not carried out if it is still held, nor waited for if its answer has not come."""
        if self._command is text:
            await self.close()

    async def close(self) -> None:
        """Close the connection; the next command makes a new one."""
        streams, self._streams = self._streams, None
        reading, self._reading = self._reading, None
        self._command = None
        if reading is not None:
            reading.cancel()
        if streams is not None:
            streams[1].transport.abort()

    async def _connected(self) -> asyncio.StreamWriter:
        if self._streams is not None and self._reading is not None and not self._reading.done():
            return self._streams[1]
        self._answers = asyncio.Queue()
        self._streams = reader, writer = await asyncio.open_unix_connection(self._path, limit=_READ_BYTES)
        await reader.readline()  # the greeting
        writer.write(_text("qmp_capabilities", None))
        self._reading = asyncio.create_task(_answers(reader, self._answers))
        if await self._answers.get() is None:
            raise ConnectionResetError(self._path)
        return writer


async def _answers(reader: asyncio.StreamReader, answers: "asyncio.Queue[dict[str, Any] | None]") -> None:
    """Pass on what is no event; None at the end."""
    try:
        while line := await reader.readline():
            found = json.loads(line)
            if "event" not in found:
                answers.put_nowait(found)
    except (OSError, ValueError):
        pass
    finally:
        answers.put_nowait(None)


def _text(command: str, arguments: object) -> bytes:
    words = {"execute": command} if arguments is None else {"execute": command, "arguments": arguments}
    return json.dumps(words, separators=(",", ":")).encode()
