"""The peer of the throughput row: the service's own server around an application that always says the same.

python -m bench.constant BYTES      prints its URL; serves until it is killed
"""

import asyncio
import sys
from typing import cast

import uvloop
from starlette.types import Receive, Scope, Send

from openevs.api.endpoint import Endpoint
from openevs.server import listen, serve, url_of
from openevs.settings import Server


class Constant:
    """Answers every request with the same JSON of a given size."""

    def __init__(self, size: int) -> None:
        self.limits = Server()
        self._body = b'{"constant":"' + b"x" * (size - 15) + b'"}'
        length = str(len(self._body)).encode()
        self._headers = [(b"content-type", b"application/json"), (b"content-length", length)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        await send({"type": "http.response.start", "status": 200, "headers": self._headers})
        await send({"type": "http.response.body", "body": self._body})


async def _main(size: int) -> None:
    with listen(Server(port=0)) as listener:
        print(url_of(listener), flush=True)
        await serve(cast(Endpoint, Constant(size)), listener, asyncio.Event())


if __name__ == "__main__":
    uvloop.run(_main(int(sys.argv[1])))
