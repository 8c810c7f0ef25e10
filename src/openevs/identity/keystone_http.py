"""The wire to an external Keystone: a few connections that are kept open, each used by one thread at a time.

The standard library's client in threads: answers are cached (`keystone.py`), so that requests are few, and an
asynchronous HTTP client would be a dependency for nothing else.
"""

import asyncio
import contextlib
import http.client
import json
import ssl
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from openevs.domain.errors import Unavailable

THREADS: Final = 8
"""Validations at a time: Keystone's own workers are rarely more."""
MOST_BYTES: Final = 1 << 20
"""A token's description without its catalog has a few kB."""


class KeystoneReply(NamedTuple):
    """What Keystone answered."""

    status: int
    headers: Mapping[str, str]
    """By their names in small letters."""
    body: Any
    """None if it was not JSON."""


class KeystoneHttp:
    """Sends requests to one Keystone."""

    def __init__(self, url: str, timeout_seconds: float, ca_file: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port
        self._path = parts.path.rstrip("/")
        self._timeout_seconds = timeout_seconds
        self._tls = ssl.create_default_context(cafile=ca_file or None) if parts.scheme == "https" else None
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="keystone")
        self._idle: list[http.client.HTTPConnection] = []
        """Taken and given back by the threads: a list's append and pop are one step each."""
        self._closed = False

    async def send(self, method: str, path: str, headers: Mapping[str, str], body: object = None) -> KeystoneReply:
        """Send a request that may be sent twice, and return the answer. Raises Unavailable if there is none in time."""
        run = asyncio.get_running_loop().run_in_executor
        try:
            return await run(self._threads, self._send, method, self._path + path, headers, body)
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(
                f"The identity service does not answer ({type(error).__name__}); whether the token is valid cannot be"
                " told. Try again later."
            ) from None

    def close(self) -> None:
        """End the threads and the connections."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        while self._idle:
            self._idle.pop().close()

    def _send(self, method: str, path: str, headers: Mapping[str, str], body: object) -> KeystoneReply:
        with contextlib.suppress(IndexError, OSError, http.client.HTTPException):
            # One that was kept may have been closed at the other end meanwhile: that says nothing about Keystone.
            return self._exchange(self._idle.pop(), method, path, headers, body)
        return self._exchange(self._connect(), method, path, headers, body)

    def _connect(self) -> http.client.HTTPConnection:
        if self._tls is not None:
            return http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout_seconds, context=self._tls)
        return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_seconds)

    def _exchange(
        self, connection: http.client.HTTPConnection, method: str, path: str, headers: Mapping[str, str], body: object
    ) -> KeystoneReply:
        data = None if body is None else json.dumps(body).encode()
        sent = {"Accept": "application/json", **headers, **({"Content-Type": "application/json"} if data else {})}
        try:
            connection.request(method, path, data, sent)
            reply = connection.getresponse()
            text = reply.read(MOST_BYTES + 1)
        except BaseException:
            connection.close()
            raise
        if len(text) > MOST_BYTES or reply.will_close or self._closed:
            connection.close()
        else:
            self._idle.append(connection)
        return KeystoneReply(reply.status, {name.lower(): value for name, value in reply.headers.items()}, _json(text))


def _json(text: bytes) -> Any:
    with contextlib.suppress(ValueError):
        return json.loads(text)
    return None
