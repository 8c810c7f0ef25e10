"""What a connection sends, gathered until the event loop has answered all that had arrived.

Written at once, each answer would go out as two packets, head and body, each of which wakes its client; and the next
request would be answered with all of the kernel's network code in the processor's caches. Gathered, it is one packet,
and requests that arrived together are answered without a system call in between.
"""

import asyncio
from typing import Any, Final

MOST_HELD: Final = 65_536
"""Bytes that are held back at most: from there on the client's pace is what counts, and only the socket knows it."""


class Outgoing(asyncio.Transport):
    """A transport around the socket's own; all but what is written goes straight through."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._transport, self._loop = transport, loop
        self._held: list[bytes] = []
        self._size = 0

    def write(self, data: Any) -> None:
        """Send these bytes soon: when what is to run in this turn of the loop has run, or enough is held."""
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(data)
        self._size += len(data)
        if self._size > MOST_HELD:
            self._flush()

    def write_eof(self) -> None:
        """Send what is held, and that nothing follows."""
        self._flush()
        self._transport.write_eof()

    def close(self) -> None:
        """Send what is held, and close."""
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        """Close at once; what is held is lost."""
        self._held.clear()
        self._transport.abort()

    def _flush(self) -> None:
        held, self._held, self._size = self._held, [], 0
        if held and not self._transport.is_closing():
            self._transport.writelines(held)

    def is_closing(self) -> bool:
        """As the transport has it; so are the others."""
        return self._transport.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Tell about the socket."""
        return self._transport.get_extra_info(name, default)

    def pause_reading(self) -> None:
        """Leave what arrives in the socket."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on."""
        self._transport.resume_reading()

    def can_write_eof(self) -> bool:
        """Say whether the sending half can be closed by itself."""
        return self._transport.can_write_eof()
