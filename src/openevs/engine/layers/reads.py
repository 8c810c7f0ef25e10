"""Reading frozen bytes: a reader is a daemon that has a chain of layers open, and one connection of ours to it.

It takes no locks, so the layers of a snapshot may be open in another daemon; and the merges that go on below do not
change what it shows, for they write only what the layers above hide. One that a killed service leaves is ended when the
pool is opened again.
"""

import asyncio
import contextlib
import json
import secrets
from dataclasses import dataclass
from typing import Final

from openevs.domain.ids import SnapshotId, VolumeId
from openevs.engine.errors import Busy, EngineError, Mismatch
from openevs.engine.layers.core import Core, run_key
from openevs.engine.layers.daemon import Daemon, RunFiles
from openevs.engine.layers.exports import node_name, unix_server
from openevs.engine.layers.faults import translated
from openevs.engine.layers.graph import LayerId
from openevs.engine.layers.serving import Serving
from openevs.engine.nbd import NbdClient

_EXPORT: Final = "r"
_READERS_MAX: Final = 8  # each is a process


@dataclass(eq=False, slots=True)
class _Reader:
    chain: tuple[LayerId, ...]
    daemon: Daemon
    client: NbdClient
    last_used: float = 0.0


class Readers:
    """The readers of one core, kept for a moment because whoever reads once reads often."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._open: dict[LayerId, _Reader] = {}
        self._locks: dict[LayerId, asyncio.Lock] = {}
        self._sweeper: asyncio.Task[None] | None = None

    async def read(self, chain: tuple[LayerId, ...], offset: int, length: int) -> bytes:
        """Return what the chain shows, its topmost layer first; zeros beyond its end."""
        top = chain[0]
        async with self._locks.setdefault(top, asyncio.Lock()):
            reader = self._open.get(top)
            if reader is not None and (reader.chain != chain or reader.client.lost):
                await self._close(top)
                reader = None
            if reader is None:
                await self._make_room()
                reader = self._open[top] = await self._start(chain)
            with translated():
                there = max(0, min(length, reader.client.size_bytes - offset))
                data = await reader.client.read(offset, there)
            reader.last_used = asyncio.get_running_loop().time()
        if self._sweeper is None or self._sweeper.done():
            self._sweeper = asyncio.create_task(self._sweep())
        return data + bytes(length - there)

    async def drop(self, top: LayerId) -> None:
        """Close the reader of a layer that is about to be written or removed."""
        if top in self._locks:
            async with self._locks[top]:
                await self._close(top)
            if not self._locks[top].locked():
                del self._locks[top]

    async def close(self) -> None:
        """Close all."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeper
        for top in list(self._open):
            await self.drop(top)

    async def _sweep(self) -> None:
        idle_seconds = self._core.settings.reader_idle_seconds
        while self._open:
            await asyncio.sleep(idle_seconds / 2)
            old = asyncio.get_running_loop().time() - idle_seconds
            for top in [top for top, reader in self._open.items() if reader.last_used < old]:
                await self.drop(top)

    async def _make_room(self) -> None:
        idle = sorted(
            (top for top in self._open if not self._locks[top].locked()), key=lambda t: self._open[t].last_used
        )
        for top in idle[: max(0, len(self._open) - _READERS_MAX + 1)]:
            await self._close(top)

    async def _close(self, top: LayerId) -> None:
        reader = self._open.pop(top, None)
        if reader is not None:
            await reader.client.close()
            await _end(reader.daemon)

    async def _start(self, chain: tuple[LayerId, ...]) -> _Reader:
        key = run_key(self._core.pool.pool_id, VolumeId(f"r{secrets.token_hex(6)}"))
        daemon = Daemon(RunFiles(self._core.run_folder, key), self._core.settings)
        words = self._core.chain_words(chain, locks=False)
        export = {"type": "nbd", "id": "e", "node-name": node_name(chain[0]), "name": _EXPORT}
        try:
            await daemon.spawn(
                [*words, "--nbd-server", unix_server(daemon.files), "--export", json.dumps(export)],
                self._core.pool.layers,
            )
            with translated():
                client = await NbdClient.connect(f"nbd+unix:///{_EXPORT}?socket={daemon.files.nbd}")
        except BaseException:
            await _end(daemon)
            raise
        return _Reader(chain, daemon, client)


class Reading:
    """The method of the contract that reads."""

    def __init__(self, core: Core, serving: Serving, readers: Readers) -> None:
        self._core = core
        self._serving = serving
        self._readers = readers

    async def read(self, object_id: VolumeId | SnapshotId, offset_bytes: int, length_bytes: int) -> bytes:
        """Return that range of a snapshot, or of a volume that is not exported."""
        core = self._core
        volume_id = core.owners.get(SnapshotId(object_id), VolumeId(object_id))
        async with core.lock_of(volume_id):
            volume = core.volume(volume_id)
            snapshot = volume.manifest.snapshots.get(SnapshotId(object_id))
            if snapshot is None and volume.manifest.export is not None:
                raise Busy(f"volume {volume_id} is exported: read it as a client", by=(volume_id,))
            if snapshot is not None and snapshot.cut_pending:
                await self._serving.ensure_running(volume)
            size = snapshot.size_bytes if snapshot else volume.manifest.size_bytes
            if offset_bytes < 0 or length_bytes < 0 or offset_bytes + length_bytes > size:
                raise Mismatch(f"{object_id} has {size} bytes", expected=offset_bytes + length_bytes, found=size)
            while True:
                chain = core.chain(volume.manifest.layer_of(object_id))
                try:
                    return await self._readers.read(chain, offset_bytes, length_bytes)
                except EngineError:
                    if chain == core.chain(volume.manifest.layer_of(object_id)):
                        raise  # else a layer was merged away while the reader was being opened


async def _end(daemon: Daemon) -> None:
    await daemon.kill()
    await asyncio.to_thread(daemon.files.remove)
    await asyncio.to_thread(daemon.files.log.unlink, missing_ok=True)
