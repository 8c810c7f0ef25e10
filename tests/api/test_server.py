"""A real server on a free port, talked to over raw sockets: what it bears, and what it answers to nonsense."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import httpx
import pytest

from openevs import server
from openevs.api.protocol import MAX_HEAD_BYTES, MAX_URL_BYTES
from openevs.testing.application import Running, running


@asynccontextmanager
async def served(folder: Path, connections: int, seconds: str) -> AsyncIterator[tuple[Running, int]]:
    """Serve an application on a free port; yields it and the port. A request has so many seconds to arrive."""
    settings = {("server", "port"): "0", ("server", "request_timeout_seconds"): seconds}
    async with running(folder, overrides=settings) as run:
        listener = server.listen(run.app.settings.server)
        stop = asyncio.Event()
        serving = asyncio.create_task(server.serve(run.app.asgi, listener, stop, connections))
        try:
            yield run, listener.getsockname()[1]
        finally:
            stop.set()
            await asyncio.wait_for(serving, 20)


class Heard(asyncio.Protocol):
    """Everything that a server says until it closes."""

    def __init__(self) -> None:
        self.raw = b""
        self.closed = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.raw += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set_result(None)


async def answer(port: int, *pieces: bytes, then: bytes = b"", pause: float = 0.0) -> tuple[int, dict[str, Any]]:
    """Send bytes piece by piece, `then` again and again, listen until the server closes, and return status and body."""
    transport, heard = await asyncio.get_running_loop().create_connection(Heard, "127.0.0.1", port)
    for piece in chain(pieces, repeat(then) if then else ()):
        if transport.is_closing():
            break
        transport.write(piece)
        await asyncio.sleep(pause)
    try:
        await asyncio.wait_for(heard.closed, 60)
    finally:
        transport.close()
    head, _, body = heard.raw.partition(b"\r\n\r\n")
    return int(head.split()[1]) if head else 0, json.loads(body) if body else {}


def at_work(
    folder: Path, work: Callable[[Running, int], Awaitable[None]], connections: int = 50, seconds: str = "60"
) -> None:
    async def main() -> None:
        async with served(folder, connections, seconds) as (run, port):
            await work(run, port)

    asyncio.run(main())


NONSENSE = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64,
    b"hello\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
    b"GET / HTTP/1.1\r\nContent-Length: ten\r\n\r\n",
    b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"GET /\xff\xfe HTTP/1.1\r\n\r\n",
    b"CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n",
]


def test_nonsense_is_400(tmp_path: Path) -> None:
    async def work(run: Running, port: int) -> None:
        for raw in NONSENSE:
            status, body = await answer(port, raw)
            assert (status, *body) == (400, "badRequest"), (raw, status)

    at_work(tmp_path, work)


def test_what_is_too_long_is_refused(tmp_path: Path) -> None:
    async def work(run: Running, port: int) -> None:
        def get(url: int = 1, header: int = 1) -> bytes:
            path = b"/" + b"x" * (url - 1)
            return b"GET %s HTTP/1.1\r\nConnection: close\r\nX-Long: %s\r\n\r\n" % (path, b"y" * header)

        assert (await answer(port, get(MAX_URL_BYTES)))[0] == 404
        assert (await answer(port, get(MAX_URL_BYTES + 1)))[0] == 414
        assert (await answer(port, get(header=MAX_HEAD_BYTES - 100)))[0] == 300
        assert (await answer(port, get(header=MAX_HEAD_BYTES)))[0] == 431
        # Without an end, in one header, in many, and in the URL.
        assert (await answer(port, b"GET / HTTP/1.1\r\nX-Long: ", *[b"y" * 8192] * 8))[0] == 431
        assert (await answer(port, b"GET / HTTP/1.1\r\n", *[b"a: b\r\n" * 1000] * 8))[0] == 431
        assert (await answer(port, b"GET /", *[b"y" * 8192] * 3))[0] == 414
        # A body may arrive in one piece with its header.
        head = b"POST /v3/x/snapshots HTTP/1.1\r\nConnection: close\r\nContent-Length: 100000\r\n\r\n"
        assert (await answer(port, head + b"z" * 100_000))[0] == 401

    at_work(tmp_path, work)


def test_a_body_that_is_too_large_is_413(tmp_path: Path) -> None:
    async def work(run: Running, port: int) -> None:
        most = run.app.settings.server.max_body_bytes
        head = b"POST /v3/x/snapshots HTTP/1.1\r\nConnection: close\r\n"
        status, body = await answer(port, head + b"Content-Length: %d\r\n\r\n" % (most + 1))
        assert (status, *body) == (413, "overLimit")
        chunk = b"10000\r\n" + b"z" * 65536 + b"\r\n"
        chunks = [chunk] * (most // 65536 + 1)
        status, body = await answer(port, head + b"Transfer-Encoding: chunked\r\n\r\n", *chunks)
        assert (status, *body) == (413, "overLimit")

    at_work(tmp_path, work)


@pytest.mark.parametrize(
    ("first", "then", "status"),
    [
        ([], b"", 0),
        ([], b"\r\n", 0),
        ([b"G", b"E", b"T", b" "], b"/", 408),
        ([b"GET / HTTP/1.1\r\n"], b"a: b\r\n", 408),
        ([b"POST /v3/x/snapshots HTTP/1.1\r\nContent-Length: 1000\r\n\r\n"], b"{", 408),
        ([b"POST /v3/x/snapshots HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"], b"1\r\n{\r\n", 408),
    ],
    ids=["silence", "empty lines", "a method", "headers", "a body", "chunks"],
)
def test_who_dribbles_is_cut_off(tmp_path: Path, first: list[bytes], then: bytes, status: int) -> None:
    """However long that goes on."""

    async def work(run: Running, port: int) -> None:
        async with asyncio.timeout(60):
            assert (await answer(port, *first, then=then, pause=0.15))[0] == status

    at_work(tmp_path, work, seconds="1")


def test_a_kept_connection_outlives_the_time_for_a_request(tmp_path: Path) -> None:
    async def work(run: Running, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for pause in (0.0, 1.3, 1.3):
            await asyncio.sleep(pause)
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await reader.readuntil(b"ok\n")).startswith(b"HTTP/1.1 200 OK\r\n")
        # Two at once are answered in order.
        writer.write(b"GET /healthz HTTP/1.1\r\n\r\nGET /readyz HTTP/1.1\r\n\r\n")
        await reader.readuntil(b"ok\n")
        await reader.readuntil(b"ready\n")
        writer.close()

    at_work(tmp_path, work, seconds="1")


def test_connections_are_bounded(tmp_path: Path) -> None:
    async def work(run: Running, port: int) -> None:
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(5)]
        await asyncio.sleep(0.1)
        status, body = await answer(port)
        assert (status, *body) == (503, "serviceUnavailable")
        for _, writer in idle:
            writer.close()
        await asyncio.sleep(0.1)
        assert (await answer(port, b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", pause=0.1))[0] == 300

    at_work(tmp_path, work, connections=5)


def test_health_readiness_and_metrics_need_no_token(tmp_path: Path) -> None:
    async def work(run: Running, port: int) -> None:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
            assert ((await http.get("/healthz")).text, (await http.get("/readyz")).text) == ("ok\n", "ready\n")
            metrics = await http.get("/metrics")
            assert metrics.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            assert 'openevs_http_request_seconds_count{method="GET",route="/healthz",status="200"} 1.0' in metrics.text
            assert (await http.head("/healthz")).content == b""
            assert (await http.post("/healthz")).status_code == 405

            run.app._open = False
            refused = await http.get("/readyz")
            assert (refused.status_code, refused.text) == (503, "not ready: the engine is not open\n")
            assert (await http.get("/healthz")).status_code == 200

    at_work(tmp_path, work)


def test_links_follow_the_host_that_was_asked(tmp_path: Path) -> None:
    async def work(run: Running, port: int) -> None:
        raw = b"GET /v3 HTTP/1.1\r\nHost: evs.example\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n\r\n"
        _, body = await answer(port, raw)
        assert body["versions"][0]["links"][1]["href"] == "http://evs.example/v3/"

    at_work(tmp_path, work)


def test_a_taken_address_is_an_error(tmp_path: Path) -> None:
    async def work(run: Running, port: int) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            settings = run.app.settings.server
            with pytest.raises(OSError, match="in use"):
                server.listen(type(settings)(port=taken.getsockname()[1]))

    at_work(tmp_path, work)
