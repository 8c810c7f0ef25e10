"""Reading frozen bytes: a reader is a `qemu-nbd` on a chain of layers, and one connection of ours to it.

`qemu-nbd` ends by itself when its client leaves, so a killed service leaves no reader behind. It takes no locks: the
layers of a snapshot may be open in a daemon, and the merges that go on below it do not change what it shows.
"""

import asyncio
import contextlib
import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from openevs.engine.errors import Broken, Transient
from openevs.engine.layers.faults import from_qemu, translated
from openevs.engine.layers.graph import LayerId
from openevs.engine.nbd import NbdClient

_START_SECONDS: Final = 20.0


@dataclass(eq=False, slots=True)
class _Reader:
    chain: tuple[LayerId, ...]
    process: asyncio.subprocess.Process
    client: NbdClient
    socket: Path
    last_used: float = 0.0

    async def close(self) -> None:
        await self.client.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                await self.process.communicate()
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
        self.socket.unlink(missing_ok=True)


class Readers:
    """The readers of one engine, kept for a moment because whoever reads once reads often."""

    def __init__(self, run_folder: Path, idle_seconds: float) -> None:
        self._folder = run_folder
        self._idle_seconds = idle_seconds
        self._open: dict[LayerId, _Reader] = {}
        self._locks: dict[LayerId, asyncio.Lock] = {}
        self._sweeper: asyncio.Task[None] | None = None

    async def read(self, path: Path, chain: tuple[LayerId, ...], offset: int, length: int) -> bytes:
        """Return bytes of the layer at `path`, the top of `chain`; zeros beyond its end."""
        top = chain[0]
        async with self._locks.setdefault(top, asyncio.Lock()):
            reader = self._open.get(top)
            if reader is not None and (reader.chain != chain or reader.client.lost):
                await self._close(top)
                reader = None
            if reader is None:
                reader = self._open[top] = await self._start(path, chain)
            with translated():
                there = max(0, min(length, reader.client.size_bytes - offset))
                data = await reader.client.read(offset, there)
            reader.last_used = asyncio.get_running_loop().time()
        if self._sweeper is None or self._sweeper.done():
            self._sweeper = asyncio.create_task(self._sweep())
        return data + bytes(length - there)

    async def drop(self, top: LayerId) -> None:
        """Close the reader of a layer that is about to be written."""
        async with self._locks.setdefault(top, asyncio.Lock()):
            await self._close(top)

    async def close(self) -> None:
        """Close all."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeper
        for top in list(self._open):
            await self.drop(top)

    async def _sweep(self) -> None:
        while self._open:
            await asyncio.sleep(self._idle_seconds / 2)
            old = asyncio.get_running_loop().time() - self._idle_seconds
            for top in [top for top, reader in self._open.items() if reader.last_used < old]:
                await self.drop(top)

    async def _close(self, top: LayerId) -> None:
        reader = self._open.pop(top, None)
        if reader is not None:
            await reader.close()

    async def _start(self, path: Path, chain: tuple[LayerId, ...]) -> _Reader:
        socket = self._folder / f"r{secrets.token_hex(6)}"
        node = {
            "driver": "qcow2", "read-only": True, "force-share": True,
            "file": {"driver": "file", "filename": str(path)},
        }  # fmt: skip
        with translated():
            process = await asyncio.create_subprocess_exec(
                "qemu-nbd", "--read-only", "--socket", str(socket), "--export-name", "r", f"json:{json.dumps(node)}",
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
        client: NbdClient | None = None
        try:
            async with asyncio.timeout(_START_SECONDS):
                while client is None and process.returncode is None:
                    with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
                        client = await NbdClient.connect(f"nbd+unix:///r?socket={socket}")
                        return _Reader(chain, process, client, socket)
                    await asyncio.sleep(0.002)
        except TimeoutError:
            raise Transient(f"{path} could not be opened for reading within {_START_SECONDS:g} s") from None
        except OSError as error:
            raise Broken(f"{path} cannot be read: {error}") from error
        finally:
            if client is None and process.returncode is None:
                process.kill()
                await process.communicate()
        _, complaint = await process.communicate()
        raise from_qemu(complaint.decode(errors="replace").strip().removeprefix("qemu-nbd: "))
