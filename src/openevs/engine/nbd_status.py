"""What an NBD server knows of a range without reading it: a connection of its own that asks for one metadata context.

    async with await NbdStatus.connect(uri, ALLOCATION) as status:
        async for run in status.runs(0, size): ...

`ALLOCATION` tells whether bytes read as zeros, `DEPTH` in which layer of a chain they are. It is apart from `NbdClient`
because the server then answers in another form, which reading would only be slowed down by. One request at a time.
"""

import asyncio
import contextlib
import os
import struct
from collections.abc import AsyncIterator
from typing import Final, NamedTuple, Self

from openevs.engine.nbd import NbdError, open_streams

ALLOCATION: Final = "base:allocation"
DEPTH: Final = "qemu:allocation-depth"
READS_AS_ZEROS: Final = 2
"""The flag of `ALLOCATION` for bytes that are zeros."""

_IHAVEOPT: Final = 0x49484156454F5054
_OPT_REPLY: Final = 0x0003E889045565A9
_OPT_GO, _OPT_STRUCTURED, _OPT_CONTEXT = 7, 8, 10
_REP_ACK, _REP_CONTEXT, _REP_ERROR = 1, 4, 1 << 31
_REQUEST, _CHUNK = 0x25609513, 0x668E33EF
_DISC, _BLOCK_STATUS = 2, 7
_DONE, _CHUNK_STATUS, _CHUNK_ERROR = 1, 5, 1 << 15
_MOST_BYTES: Final = 1 << 31
_LONGEST_CHUNK: Final = 64 << 20


class Run(NamedTuple):
    """Bytes of which the same is true."""

    offset: int
    length: int
    value: int
    """Flags or number, as the context defines it."""


class NbdStatus:
    """One connection. Methods raise NbdError."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._handle = 0

    @classmethod
    async def connect(cls, uri: str, context: str) -> Self:
        """Connect to an NBD URI as `NbdClient` does. Raises NbdError, OSError, ValueError."""
        reader, writer, name = await open_streams(uri)
        status = cls(reader, writer)
        try:
            await status._negotiate(name, context.encode())
        except BaseException as error:
            writer.close()
            if isinstance(error, asyncio.IncompleteReadError):
                raise NbdError(107, "the server closed the connection during the handshake") from None
            raise
        return status

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.write(struct.pack(">IHHQQI", _REQUEST, 0, _DISC, 0, 0, 0))
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def runs(self, offset: int, length: int) -> AsyncIterator[Run]:
        """Yield what is known of the range, in order, without a gap."""
        end = offset + length
        while offset < end:
            try:
                found = await self._ask(offset, min(end - offset, _MOST_BYTES))
            except asyncio.IncompleteReadError:
                raise NbdError(107, "the connection to the server was lost") from None
            for size, value in found:
                size = min(size, end - offset)  # noqa: PLW2901 - the last one may reach further
                if size:
                    yield Run(offset, size, value)
                offset += size
            if not found:
                raise NbdError(71, "the server knows nothing of a range")

    async def _ask(self, offset: int, length: int) -> list[tuple[int, int]]:
        self._handle += 1
        self._writer.write(struct.pack(">IHHQQI", _REQUEST, 0, _BLOCK_STATUS, self._handle, offset, length))
        found: list[tuple[int, int]] = []
        while True:
            magic, flags, kind, handle, size = struct.unpack(">IHHQI", await self._reader.readexactly(20))
            if magic != _CHUNK or handle != self._handle or size > _LONGEST_CHUNK:
                raise NbdError(71, "the server sent a reply that belongs to no request")
            data = await self._reader.readexactly(size)
            if kind & _CHUNK_ERROR:
                code = struct.unpack_from(">I", data)[0]
                raise NbdError(code, os.strerror(code))
            if kind == _CHUNK_STATUS:
                found += struct.iter_unpack(">II", data[4:])
            if flags & _DONE:
                return found

    async def _negotiate(self, name: bytes, context: bytes) -> None:
        _, _, flags = struct.unpack(">QQH", await self._reader.readexactly(18))
        self._writer.write(struct.pack(">I", 1 | flags & 2))
        await self._option(_OPT_STRUCTURED, b"")
        wanted = struct.pack(f">I{len(name)}sII{len(context)}s", len(name), name, 1, len(context), context)
        if _REP_CONTEXT not in await self._option(_OPT_CONTEXT, wanted):
            raise NbdError(95, f"the server does not know {context.decode()}")
        await self._option(_OPT_GO, struct.pack(">I", len(name)) + name + struct.pack(">H", 0))

    async def _option(self, option: int, body: bytes) -> list[int]:
        self._writer.write(struct.pack(">QII", _IHAVEOPT, option, len(body)) + body)
        kinds = []
        while True:
            magic, _, kind, size = struct.unpack(">QIII", await self._reader.readexactly(20))
            data = await self._reader.readexactly(size)
            if magic != _OPT_REPLY:
                raise NbdError(71, "the server answered the handshake with something else")
            if kind & _REP_ERROR:
                raise NbdError(71, data.decode(errors="replace") or "the server refused an option")
            kinds.append(kind)
            if kind == _REP_ACK:
                return kinds
