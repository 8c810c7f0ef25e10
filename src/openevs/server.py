"""Listens, serves, and stops on a signal."""

import asyncio
import resource
import socket
from typing import Final

import uvicorn

from openevs.api.endpoint import Endpoint
from openevs.api.protocol import BoundedProtocol
from openevs.settings import Server as ServerSettings

MAX_CONNECTIONS: Final = 4096
"""A bound against running out of memory; an idle connection holds some 20 kB."""


def listen(settings: ServerSettings) -> socket.socket:
    """Return a listening socket; raises OSError when the address is taken."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(2048)
    except OSError:
        listener.close()
        raise
    return listener


def url_of(listener: socket.socket) -> str:
    """Return the base URL of a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Server(uvicorn.Server):
    """Serves until it is told to stop; signals are the caller's to handle."""

    def install_signal_handlers(self) -> None:
        """Leave signals alone."""


def most_connections() -> int:
    """Return how many connections are taken: half of the file descriptors, the other half is for storage."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_CONNECTIONS if soft == resource.RLIM_INFINITY else max(16, min(MAX_CONNECTIONS, soft // 2))


def protocol_for(settings: ServerSettings, connections: int) -> type[BoundedProtocol]:
    """Return the protocol of one server; uvicorn makes an object of it per connection and passes nothing of ours."""
    bounds = {"request_seconds": settings.request_timeout_seconds, "max_connections": connections}
    return type("BoundedProtocol", (BoundedProtocol,), bounds)


async def serve(app: Endpoint, listener: socket.socket, stop: asyncio.Event, connections: int | None = None) -> None:
    """Serve on the listener until `stop` is set, then finish the requests that are under way."""
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=protocol_for(app.limits, connections or most_connections()),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        # It would believe any client's X-Forwarded-Proto; `server.public_url` says what stands in front of us.
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=10,
    )
    server = Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    stopping.cancel()
    await serving
