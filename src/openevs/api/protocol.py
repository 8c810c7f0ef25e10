"""HTTP/1.1 as it is taken from the wire: uvicorn's protocol, with bounds on what a client may make it hold or wait for.

Bounded are the URL, the header block, the time from a request's first byte to its last, the time a client takes to
read an answer, and the number of connections. (The body has its own bound, in `endpoint.py`.) A request that arrives
whole, in one piece, pays for this with a few comparisons.
"""

import asyncio
from http import HTTPStatus
from typing import Any, Final

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from openevs.api.faults import fault
from openevs.api.outgoing import Outgoing

MAX_URL_BYTES: Final = 8192
"""What most servers and proxies take; the longest of ours has a list of 60 ids in its query, 2.5 kB."""
MAX_HEAD_BYTES: Final = 32_768
"""URL and headers together; a token has up to 8 kB in other clouds."""
LAST_SECONDS: Final = 2.0
"""What the application gets to answer (408) when the time for the body has run out."""


class TooMuch(Exception):
    """Raised inside a parser's callback to end the request; the parser turns it into an error of its own."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    request_seconds: float = 30.0
    max_connections: int = 1000

    url: bytes = b""
    _partial = False
    """Some of a request has arrived, but not all."""
    _in_head = True
    _head_bytes = 0
    """Bytes that were fed to the parser since the header block began, at most."""
    _deadline: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None
    _refused = False
    _refusal: tuple[int, str] = (400, "The request is not valid HTTP.")

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; a client that then sends nothing has as long as one that sends slowly."""
        super().connection_made(Outgoing(transport, self.loop))
        if len(self.connections) > self.max_connections:
            self._refuse(503, "There are too many connections; try again shortly.")
            self.transport.close()
            return
        self._deadline = self.loop.call_later(self.request_seconds, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._cancel_timers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what has arrived."""
        if self._refused or self.transport.is_closing():
            return
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > MAX_URL_BYTES and not self._refused:
            self._check_head()
        if self._refused:
            return
        if self._partial or self._is_idle():
            if self._deadline is None:
                self._deadline = self.loop.call_later(self.request_seconds, self._too_slow)
        elif self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _check_head(self) -> None:
        """Refuse a header block that is too long already."""
        if self._head_bytes > MAX_HEAD_BYTES or len(self.url) > MAX_URL_BYTES:
            self._refuse(*self._what_is_too_long())

    def _is_idle(self) -> bool:
        """Say whether bytes have come that began no request, so that no other timer is running."""
        return self.timeout_keep_alive_task is None and (self.cycle is None or self.cycle.response_complete)

    def on_message_begin(self) -> None:
        """Note that a request has begun."""
        self._partial = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Check the size of what has been read, and hand the request over."""
        if len(self.url) > MAX_URL_BYTES or self._head_bytes > MAX_HEAD_BYTES:
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if len(self.url) > MAX_URL_BYTES or size > MAX_HEAD_BYTES:
                self._refusal = self._what_is_too_long()
                raise TooMuch
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note that the request is whole."""
        self._partial, self._in_head, self._head_bytes = False, True, 0
        super().on_message_complete()

    def pause_writing(self) -> None:
        """The client does not read as fast as it is answered: give it a while."""
        super().pause_writing()
        if self._stalled is None:
            self._stalled = self.loop.call_later(self.request_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP, or too much of it."""
        self._refuse(*self._refusal)

    def _what_is_too_long(self) -> tuple[int, str]:
        if len(self.url) > MAX_URL_BYTES:
            return 414, f"The URL is longer than the {MAX_URL_BYTES} bytes it may have."
        return 431, f"The headers have more than the {MAX_HEAD_BYTES} bytes they may have."

    def _too_slow(self) -> None:
        self._deadline = None
        if self.cycle is None or self.cycle.response_complete:
            if self._partial:
                self._refuse(408, f"The request did not arrive within {self.request_seconds:g} s.")
            else:
                self.transport.close()
        elif self.cycle.keep_alive:
            # The application waits for the body with the same patience, and is about to say so.
            self.cycle.keep_alive = False
            self._deadline = self.loop.call_later(LAST_SECONDS, self.transport.abort)
        else:
            self.transport.abort()

    def _refuse(self, status: int, message: str) -> None:
        """Answer without the application, and close; what still comes is dropped for a moment first, since closing on
        unread bytes would reset the connection before the client has read the answer."""
        self._cancel_timers()
        self._refused = True
        body = msgspec.json.encode(fault("native", status, message).body)
        head: list[Any] = [
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
            "content-type: application/json",
            f"content-length: {len(body)}",
            "connection: close",
        ]
        self.transport.write("\r\n".join([*head, "", ""]).encode() + body)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._deadline = self.loop.call_later(LAST_SECONDS, self.transport.abort)

    def _cancel_timers(self) -> None:
        for timer in (self._deadline, self._stalled):
            if timer is not None:
                timer.cancel()
        self._deadline = self._stalled = None
