"""A small NBD server in this process: one export on one unix or TCP socket, any number of clients.

Fixed-newstyle handshake with NBD_OPT_EXPORT_NAME, LIST, INFO and GO, no TLS, simple replies; read, write, flush, trim
and write-zeroes. Names and numbers are those of the NBD protocol specification. Requests of one connection are
answered in order, which the protocol allows and which is enough for a volume that lives in memory.
"""

import asyncio
import contextlib
import struct
from errno import EINVAL, EIO, ENOSPC, EPERM
from pathlib import Path
from typing import Final, Protocol

from openevs.engine.errors import EngineError
from openevs.testing.pace import Pace

_NBDMAGIC: Final = 0x4E42444D41474943
_IHAVEOPT: Final = 0x49484156454F5054
_OPT_REPLY: Final = 0x0003E889045565A9
_REQUEST: Final = 0x25609513
_REPLY: Final = 0x67446698
_FIXED_NEWSTYLE, _NO_ZEROES = 1, 2
_OPT_EXPORT_NAME, _OPT_ABORT, _OPT_LIST, _OPT_INFO, _OPT_GO = 1, 2, 3, 6, 7
_REP_ACK, _REP_SERVER, _REP_INFO, _REP_ERR_UNSUP, _REP_ERR_UNKNOWN = 1, 2, 3, (1 << 31) + 1, (1 << 31) + 6
_INFO_EXPORT, _INFO_BLOCK_SIZE = 0, 3
_READ, _WRITE, _DISC, _FLUSH, _TRIM, _WRITE_ZEROES = 0, 1, 2, 3, 4, 6
_HAS_FLAGS, _READ_ONLY, _SEND_FLUSH, _SEND_FUA, _SEND_TRIM, _SEND_WRITE_ZEROES = 1, 2, 4, 8, 32, 64
_CAN_MULTI_CONN = 256
_MAX_REQUEST_BYTES: Final = 32 << 20  # what the protocol tells a server to accept at least
_MAX_OPTION_BYTES: Final = 64 << 10


class Disk(Protocol):
    """What is served. Raises EngineError."""

    async def size(self) -> int:
        """Return the size now, in bytes."""

    async def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        """Return exactly that range."""

    async def write(self, offset_bytes: int, data: bytes) -> None:
        """Write; stable when it returns."""

    async def write_zeroes(self, offset_bytes: int, length_bytes: int) -> None:
        """Make the range read as zeros."""


class NbdServer:
    """Serves one `Disk` under one export name from `start_…` until `stop`."""

    def __init__(self, disk: Disk, name: str, *, read_only: bool = False, pace: Pace | None = None) -> None:
        self._disk = disk
        self._name = name
        self._read_only = read_only
        self._pace = pace or Pace()
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start_unix(self, path: Path) -> None:
        """Serve on a unix socket at `path`. Raises OSError."""
        self._server = await asyncio.start_unix_server(self._serve, path)

    async def start_tcp(self, host: str, port: int = 0) -> int:
        """Serve on a TCP port, a free one if it is 0, and return it. Raises OSError."""
        self._server = await asyncio.start_server(self._serve, host, port)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Serve no more: no new client, and those there are cut off."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in tuple(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The stream server logs whatever its callback raises, cancellation included: so the work is a task of ours.
        connection = asyncio.create_task(self._converse(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)
        await asyncio.wait([connection])

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                if await self._negotiate(reader, writer):
                    await self._transmit(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _negotiate(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Return whether the client has chosen the export; False means to hang up."""
        writer.write(struct.pack(">QQH", _NBDMAGIC, _IHAVEOPT, _FIXED_NEWSTYLE | _NO_ZEROES))
        (client_flags,) = struct.unpack(">I", await reader.readexactly(4))
        while True:
            magic, option, length = struct.unpack(">QII", await reader.readexactly(16))
            if magic != _IHAVEOPT or length > _MAX_OPTION_BYTES:
                return False
            data = await reader.readexactly(length)
            if option == _OPT_EXPORT_NAME:
                if data.decode(errors="replace") != self._name:
                    return False
                padding = b"" if client_flags & _NO_ZEROES else bytes(124)
                writer.write(await self._export() + padding)
                return True
            replies = await self._answer(option, data)
            for kind, payload in replies:
                writer.write(struct.pack(">QIII", _OPT_REPLY, option, kind, len(payload)) + payload)
            await writer.drain()
            if option == _OPT_ABORT:
                return False
            if option == _OPT_GO and replies[-1][0] == _REP_ACK:
                return True

    async def _answer(self, option: int, data: bytes) -> list[tuple[int, bytes]]:
        name = self._name.encode()
        if option == _OPT_ABORT:
            return [(_REP_ACK, b"")]
        if option == _OPT_LIST:
            return [(_REP_SERVER, struct.pack(">I", len(name)) + name), (_REP_ACK, b"")]
        if option not in (_OPT_INFO, _OPT_GO):
            return [(_REP_ERR_UNSUP, b"")]
        (length,) = struct.unpack_from(">I", data)
        if data[4 : 4 + length] != name:
            return [(_REP_ERR_UNKNOWN, b"no such export")]
        sizes = struct.pack(">HIII", _INFO_BLOCK_SIZE, 1, 4096, _MAX_REQUEST_BYTES)
        return [
            (_REP_INFO, struct.pack(">H", _INFO_EXPORT) + await self._export()),
            (_REP_INFO, sizes),
            (_REP_ACK, b""),
        ]

    async def _export(self) -> bytes:
        flags = _HAS_FLAGS | _SEND_FLUSH | _SEND_FUA | _SEND_TRIM | _SEND_WRITE_ZEROES | _CAN_MULTI_CONN
        return struct.pack(">QH", await self._disk.size(), flags | (_READ_ONLY if self._read_only else 0))

    async def _transmit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            magic, _, kind, handle, offset, length = struct.unpack(">IHHQQI", await reader.readexactly(28))
            if magic != _REQUEST or kind == _DISC or (kind == _WRITE and length > _MAX_REQUEST_BYTES):
                return
            data = await reader.readexactly(length) if kind == _WRITE else b""
            error, payload = await self._carry_out(kind, offset, length, data)
            writer.write(struct.pack(">IIQ", _REPLY, error, handle) + payload)
            await writer.drain()

    async def _carry_out(self, kind: int, offset: int, length: int, data: bytes) -> tuple[int, bytes]:
        """Return an errno (0 for success) and what was read."""
        if kind == _FLUSH:
            return 0, b""
        if kind not in (_READ, _WRITE, _TRIM, _WRITE_ZEROES) or (kind == _READ and length > _MAX_REQUEST_BYTES):
            return EINVAL, b""
        if kind != _READ and self._read_only:
            return EPERM, b""
        await self._pace.wait(length, reads=kind == _READ)
        try:
            if offset + length > await self._disk.size():
                return (EINVAL if kind == _READ else ENOSPC), b""
            if kind == _READ:
                return 0, await self._disk.read(offset, length)
            if kind == _WRITE:
                await self._disk.write(offset, data)
            else:
                await self._disk.write_zeroes(offset, length)
        except EngineError:
            return EIO, b""
        return 0, b""
