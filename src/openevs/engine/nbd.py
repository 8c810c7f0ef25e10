"""A small NBD client: fixed-newstyle handshake, simple replies, any number of requests in flight.

Payloads are received where they stay: a backup reads a whole volume through here.

It is what the engines read frozen layers with and measure a cut's stall with, and what demo writers and tests use. It
speaks unix sockets and plain TCP. TLS-PSK is not spoken (this Python's `ssl` has no PSK): use libnbd for `nbds://`.

    client = await NbdClient.connect("nbd+unix:///NAME?socket=/run/x.sock")
    await client.write(0, b"x" * 4096, fua=True)
    await client.close()
"""

import asyncio
import os
import struct
from typing import Final, Self, cast
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
_READ_AHEAD: Final = (
    1 << 20
)  # what is longer is asked for in pieces at once: the server reads one while it sends another
_HEADER: Final = struct.Struct(">IIQ")
_SCRATCH_BYTES: Final = 64 << 10
_DEFAULT_PORT: Final = 10809


class NbdError(OSError):
    """The server refused a request (`errno` says why), or the connection is gone (`errno` is ENOTCONN or EPROTO)."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)


class NbdClient:
    """One connection to one export. Made by `connect`; every method but `close` raises NbdError."""

    def __init__(self, writer: asyncio.StreamWriter, size_bytes: int, read_only: bool) -> None:
        self.size_bytes = size_bytes
        """Size of the export when the connection was made."""
        self.read_only = read_only
        self._writer = writer  # it closes its transport when it is forgotten
        self._transport = transport = cast(asyncio.Transport, writer.transport)
        self._wire = _Wire()
        self._next_handle = 1
        # It reads nothing while the protocol is changed, and the server sends nothing before it is asked to.
        transport.pause_reading()
        transport.set_protocol(self._wire)
        transport.resume_reading()

    @classmethod
    async def connect(cls, uri: str) -> Self:
        """Connect to an NBD URI (`nbd+unix:///NAME?socket=PATH`, `nbd://HOST[:PORT]/NAME`).
        Raises NbdError, OSError (nobody listens), ValueError (not such a URI)."""
        reader, writer, name = await open_streams(uri)
        try:
            size_bytes, read_only = await _handshake(reader, writer, name)
        except asyncio.IncompleteReadError:
            writer.close()
            raise NbdError(107, "the server closed the connection during the handshake") from None
        except BaseException:
            writer.close()
            raise
        return cls(writer, size_bytes, read_only)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def lost(self) -> bool:
        """Whether the connection is gone: no request can succeed any more."""
        return self._wire.lost is not None

    async def read(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes."""
        return bytes(await self.receive(offset, length))

    async def receive(self, offset: int, length: int) -> bytearray:
        """As `read`, but return the buffer that they were received in, which spares whoever reads much a copy."""
        if length <= _READ_AHEAD:
            return await self._request(_READ, offset, length) if length else bytearray()
        pieces = _pieces(offset, length, _READ_AHEAD)
        return bytearray().join(await asyncio.gather(*(self._request(_READ, at, size) for at, size in pieces)))

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

    async def touch(self) -> None:
        """Return when a request has been through the server that touches no bytes; one byte, if it is read-only."""
        await (self._request(_READ, 0, 1) if self.read_only else self._request(_TRIM, 0, 0))

    async def close(self) -> None:
        """Say goodbye and close; safe to call twice and on a lost connection."""
        if self._wire.lost is None:
            self._wire.fail(NbdError(107, "the connection was closed"))
            self._transport.write(struct.pack(">IHHQQI", _REQUEST, 0, _DISC, 0, 0, 0))
        self._transport.close()
        await self._wire.closed.wait()

    async def _request(
        self, kind: int, offset: int, length: int, flags: int = 0, data: bytes | memoryview = b""
    ) -> bytearray:
        wire = self._wire
        if wire.lost is not None:
            raise wire.lost
        handle, self._next_handle = self._next_handle, self._next_handle + 1
        future: asyncio.Future[bytearray] = asyncio.get_running_loop().create_future()
        wire.pending[handle] = (future, length if kind == _READ else 0)
        self._transport.write(struct.pack(">IHHQQI", _REQUEST, flags, kind, handle, offset, length))
        if data:
            self._transport.write(data)
            await wire.writable.wait()
        return await future


class _Wire(asyncio.BufferedProtocol):
    """Takes the replies apart. What begins a payload comes with its header; the rest is received in its place."""

    def __init__(self) -> None:
        self.pending: dict[int, tuple[asyncio.Future[bytearray], int]] = {}
        self.lost: NbdError | None = None
        self.writable = asyncio.Event()
        self.writable.set()
        self.closed = asyncio.Event()
        self._scratch = memoryview(bytearray(_SCRATCH_BYTES))
        self._kept = 0
        """Bytes at the scratch's beginning that are no whole header yet."""
        self._future: asyncio.Future[bytearray] | None = None
        self._payload = bytearray()
        self._missing = 0
        """Bytes that the payload still lacks at its end."""

    def get_buffer(self, sizehint: int) -> memoryview:
        if self._missing:
            return memoryview(self._payload)[-self._missing :]
        return self._scratch[self._kept :]

    def buffer_updated(self, count: int) -> None:
        if self._missing:
            self._missing -= count
            if not self._missing:
                self._finish()
            return
        have, at = self._kept + count, 0
        while have - at >= _HEADER.size and self.lost is None:
            at = self._take(at, have)
        self._kept = have - at
        self._scratch[: self._kept] = self._scratch[at:have]

    def connection_lost(self, exc: Exception | None) -> None:
        self.fail(NbdError(107, "the connection to the server was lost"))
        self.closed.set()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def fail(self, error: NbdError) -> None:
        """Tell everybody who waits; no request can succeed any more."""
        self.lost = self.lost or error
        self.writable.set()
        pending, self.pending = self.pending, {}
        waiting = [future for future, _ in pending.values()] + ([self._future] if self._future else [])
        self._future = None
        for future in waiting:
            if not future.done():
                future.set_exception(NbdError(error.errno or 107, error.strerror or "lost"))

    def _take(self, at: int, have: int) -> int:
        """Take one reply out of the scratch, or its beginning; return where the next one begins."""
        magic, error, handle = _HEADER.unpack_from(self._scratch, at)
        at += _HEADER.size
        entry = self.pending.pop(handle, None)
        if magic != _REPLY or entry is None:
            self.fail(NbdError(71, "the server sent a reply that belongs to no request"))
            return have
        future, length = entry
        if error:
            if not future.done():  # else its caller was cancelled
                future.set_exception(NbdError(error, os.strerror(error)))
            return at
        there = min(length, have - at)
        self._future = future
        self._payload = bytearray(length)
        self._payload[:there] = self._scratch[at : at + there]
        self._missing = length - there
        if not self._missing:
            self._finish()
        return at + there

    def _finish(self) -> None:
        future, self._future = self._future, None
        payload, self._payload = self._payload, bytearray()
        if future is not None and not future.done():
            future.set_result(payload)


async def open_streams(uri: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]:
    """Connect to an NBD URI's address; return the name of its export too. Raises OSError, ValueError."""
    parts = urlsplit(uri)
    name = unquote(parts.path.removeprefix("/")).encode()
    if parts.scheme == "nbd+unix":
        return *await asyncio.open_unix_connection(parse_qs(parts.query)["socket"][0]), name
    if parts.scheme == "nbd" and parts.hostname:
        return *await asyncio.open_connection(parts.hostname, parts.port or _DEFAULT_PORT), name
    raise ValueError(f"not an NBD URI that this client speaks: scheme {parts.scheme!r}")


async def _handshake(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: bytes) -> tuple[int, bool]:
    """Ask for the export; return its size, and whether it is read-only."""
    magic, opt_magic, flags = struct.unpack(">QQH", await reader.readexactly(18))
    if magic != _NBDMAGIC or opt_magic != _IHAVEOPT or not flags & _FIXED_NEWSTYLE:
        raise NbdError(71, "the server does not speak the fixed-newstyle handshake")
    no_zeroes = flags & _NO_ZEROES
    body = struct.pack(">I", len(name)) + name + struct.pack(">H", 0)
    writer.write(struct.pack(">I", _FIXED_NEWSTYLE | no_zeroes))
    writer.write(struct.pack(">QII", _IHAVEOPT, _OPT_GO, len(body)) + body)
    size_bytes, read_only = 0, False
    while True:
        magic, _, kind, size = struct.unpack(">QIII", await reader.readexactly(20))
        data = await reader.readexactly(size)
        if magic != _OPT_REPLY:
            raise NbdError(71, "the server answered the handshake with something else")
        if kind == _REP_ACK:
            return size_bytes, read_only
        if kind & _REP_ERROR:
            raise NbdError(2 if kind & 0xFF == 6 else 71, data.decode(errors="replace") or "export refused")
        if kind == _REP_INFO and struct.unpack_from(">H", data)[0] == _INFO_EXPORT:
            size_bytes, flags = struct.unpack_from(">QH", data, 2)
            read_only = bool(flags & 2)


def _pieces(offset: int, length: int, limit: int = _MAX_REQUEST) -> list[tuple[int, int]]:
    return [(offset + at, min(limit, length - at)) for at in range(0, length, limit)]
