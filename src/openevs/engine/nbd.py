"""A small NBD client: fixed-newstyle handshake, simple replies, any number of requests in flight.

It is what the engines read frozen layers with and measure a cut's stall with, and what demo writers and tests use. It
speaks unix sockets and plain TCP. TLS-PSK is not spoken (this Python's `ssl` has no PSK): use libnbd for `nbds://`.

    client = await NbdClient.connect("nbd+unix:///NAME?socket=/run/x.sock")
    await client.write(0, b"x" * 4096, fua=True)
    await client.close()
"""

import asyncio
import contextlib
import os
import struct
from typing import Final, Self
from urllib.parse import parse_qs, unquote, urlsplit

_NBDMAGIC: Final = 0x4E42444D41474943
_IHAVEOPT: Final = 0x49484156454F5054
_OPT_REPLY: Final = 0x0003E889045565A9
_REQUEST: Final = 0x25609513
_REPLY: Final = 0x67446698
_FIXED_NEWSTYLE, _NO_ZEROES = 1, 2
_OPT_GO, _REP_ACK, _REP_INFO, _REP_ERROR, _INFO_EXPORT = 7, 1, 3, 1 << 31, 0
_READ, _WRITE, _DISC, _FLUSH, _TRIM, _WRITE_ZEROES = 0, 1, 2, 3, 4, 6
_FUA, _NO_HOLE = 1, 2
_MAX_REQUEST: Final = 32 << 20  # what every server accepts (NBD protocol, "Block size constraints")
_DEFAULT_PORT: Final = 10809


class NbdError(OSError):
    """The server refused a request (`errno` says why), or the connection is gone (`errno` is ENOTCONN or EPROTO)."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)


class NbdClient:
    """One connection to one export. Made by `connect`; every method but `close` raises NbdError."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.size_bytes = 0
        """Size of the export when the connection was made, or as the server last said."""
        self.read_only = False
        self._reader = reader
        self._writer = writer
        self._pending: dict[int, tuple[asyncio.Future[bytes], int]] = {}
        self._next_handle = 1
        self._lost: NbdError | None = None
        self._listener: asyncio.Task[None] | None = None

    @classmethod
    async def connect(cls, uri: str) -> Self:
        """Connect to an NBD URI (`nbd+unix:///NAME?socket=PATH`, `nbd://HOST[:PORT]/NAME`).
        Raises NbdError, OSError (nobody listens), ValueError (not such a URI)."""
        parts = urlsplit(uri)
        name = unquote(parts.path.removeprefix("/"))
        if parts.scheme == "nbd+unix":
            reader, writer = await asyncio.open_unix_connection(parse_qs(parts.query)["socket"][0])
        elif parts.scheme == "nbd" and parts.hostname:
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port or _DEFAULT_PORT)
        else:
            raise ValueError(f"not an NBD URI that this client speaks: scheme {parts.scheme!r}")
        client = cls(reader, writer)
        try:
            await client._handshake(name.encode())
        except asyncio.IncompleteReadError:
            writer.close()
            raise NbdError(107, "the server closed the connection during the handshake") from None
        except BaseException:
            writer.close()
            raise
        client._listener = asyncio.create_task(client._listen())
        return client

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def lost(self) -> bool:
        """Whether the connection is gone: no request can succeed any more."""
        return self._lost is not None

    async def read(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes."""
        parts = []
        for at, size in _pieces(offset, length):
            parts.append(await self._request(_READ, at, size))
        return b"".join(parts)

    async def write(self, offset: int, data: bytes, *, fua: bool = False) -> None:
        """Write; with `fua` it is on stable storage when this returns."""
        view = memoryview(data)
        for at, size in _pieces(offset, len(data)):
            start = at - offset
            await self._request(_WRITE, at, size, _FUA if fua else 0, view[start : start + size])

    async def flush(self) -> None:
        """Return when every write acknowledged before is on stable storage."""
        await self._request(_FLUSH, 0, 0)

    async def write_zeroes(self, offset: int, length: int, *, punch: bool = True, fua: bool = False) -> None:
        """Make the range read as zeros; `punch` allows the server to free its space."""
        flags = (0 if punch else _NO_HOLE) | (_FUA if fua else 0)
        for at, size in _pieces(offset, length, 1 << 30):
            await self._request(_WRITE_ZEROES, at, size, flags)

    async def trim(self, offset: int, length: int) -> None:
        """Tell the server that the range is not needed any more."""
        for at, size in _pieces(offset, length, 1 << 30):
            await self._request(_TRIM, at, size)

    async def close(self) -> None:
        """Say goodbye and close; safe to call twice and on a lost connection."""
        if self._lost is None:
            self._fail(NbdError(107, "the connection was closed"))
            self._writer.write(struct.pack(">IHHQQI", _REQUEST, 0, _DISC, 0, 0, 0))
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.wait([self._listener])  # awaiting it would take our own cancellation for its
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def _handshake(self, name: bytes) -> None:
        magic, opt_magic, flags = struct.unpack(">QQH", await self._reader.readexactly(18))
        if magic != _NBDMAGIC or opt_magic != _IHAVEOPT or not flags & _FIXED_NEWSTYLE:
            raise NbdError(71, "the server does not speak the fixed-newstyle handshake")
        no_zeroes = flags & _NO_ZEROES
        body = struct.pack(">I", len(name)) + name + struct.pack(">H", 0)
        self._writer.write(struct.pack(">I", _FIXED_NEWSTYLE | no_zeroes))
        self._writer.write(struct.pack(">QII", _IHAVEOPT, _OPT_GO, len(body)) + body)
        while True:
            magic, _, kind, size = struct.unpack(">QIII", await self._reader.readexactly(20))
            data = await self._reader.readexactly(size)
            if magic != _OPT_REPLY:
                raise NbdError(71, "the server answered the handshake with something else")
            if kind == _REP_ACK:
                return
            if kind & _REP_ERROR:
                raise NbdError(2 if kind & 0xFF == 6 else 71, data.decode(errors="replace") or "export refused")
            if kind == _REP_INFO and struct.unpack_from(">H", data)[0] == _INFO_EXPORT:
                self.size_bytes, flags = struct.unpack_from(">QH", data, 2)
                self.read_only = bool(flags & 2)

    async def _request(
        self, kind: int, offset: int, length: int, flags: int = 0, data: bytes | memoryview = b""
    ) -> bytes:
        if self._lost is not None:
            raise self._lost
        handle, self._next_handle = self._next_handle, self._next_handle + 1
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._pending[handle] = (future, length if kind == _READ else 0)
        self._writer.write(struct.pack(">IHHQQI", _REQUEST, flags, kind, handle, offset, length))
        if data:
            self._writer.write(bytes(data))
            with contextlib.suppress(OSError):  # the listener tells everybody at once
                await self._writer.drain()
        return await future

    async def _listen(self) -> None:
        try:
            while True:
                magic, error, handle = struct.unpack(">IIQ", await self._reader.readexactly(16))
                entry = self._pending.get(handle)
                if magic != _REPLY or entry is None:
                    self._fail(NbdError(71, "the server sent a reply that belongs to no request"))
                    return
                future, length = entry
                data = await self._reader.readexactly(length) if length and not error else b""
                del self._pending[handle]
                if future.done():
                    continue  # its caller was cancelled
                if error:
                    future.set_exception(NbdError(error, os.strerror(error)))
                else:
                    future.set_result(data)
        except (OSError, asyncio.IncompleteReadError):
            self._fail(NbdError(107, "the connection to the server was lost"))

    def _fail(self, error: NbdError) -> None:
        self._lost = error
        pending, self._pending = self._pending, {}
        for future, _ in pending.values():
            if not future.done():
                future.set_exception(NbdError(error.errno or 107, error.strerror or "lost"))


def _pieces(offset: int, length: int, limit: int = _MAX_REQUEST) -> list[tuple[int, int]]:
    return [(offset + at, min(limit, length - at)) for at in range(0, length, limit)]
