"""Connections to a volume at whatever address it is served: a unix socket, or TCP with TLS-PSK.

This Python's `ssl` has no PSK, so TLS is spoken by a process of QEMU's, one for each connection: when its connection is
lost, the request that is under way fails, and nothing that was acknowledged through it can be mistaken for flushed.
"""

import asyncio
import contextlib
import os
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from openevs.engine.nbd import NbdClient

REQUEST_SECONDS: Final = 20.0
_LOOK_SECONDS: Final = 0.005


@asynccontextmanager
async def reached(address: str) -> AsyncIterator[NbdClient]:
    """Connect; the address of a volume that wants a key has it behind `#`. Raises OSError, TimeoutError."""
    async with AsyncExitStack() as stack:
        async with asyncio.timeout(REQUEST_SECONDS):
            if address.startswith("nbds:"):
                address = await stack.enter_async_context(_through_tls(address))
            client = await stack.enter_async_context(await NbdClient.connect(address))
        yield client


@asynccontextmanager
async def _through_tls(address: str) -> AsyncIterator[str]:
    """Yield the URI of a socket behind which the volume is."""
    at = urlsplit(address)
    with tempfile.TemporaryDirectory(prefix="kt-") as folder:
        listens = Path(folder) / "s"
        await asyncio.to_thread(Path(folder, "keys.psk").write_text, f"{at.username}:{at.fragment}\n")
        key = f"tls-creds-psk,id=tls0,endpoint=client,dir={folder},username={at.username}"
        image = f"driver=nbd,host={at.hostname},port={at.port},export={at.path[1:]},tls-creds=tls0"
        process = await asyncio.create_subprocess_exec(
            *("qemu-nbd", "--object", key, "--socket", str(listens), "--image-opts", image),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            while not listens.exists():
                if process.returncode is not None:
                    raise ConnectionError(f"nobody serves {at.hostname}:{at.port}, or not with this key")
                await asyncio.sleep(_LOOK_SECONDS)
            yield f"nbd+unix:///?socket={listens}"
        finally:
            with contextlib.suppress(ProcessLookupError):  # `process.kill` would take its end from asyncio
                os.kill(process.pid, signal.SIGKILL)
            await process.wait()
