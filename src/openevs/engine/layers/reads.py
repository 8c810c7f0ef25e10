"""Reading, and writing, without a client: a reader is a daemon that has a chain of layers open, and a connection to it.

It takes no locks, so the layers of a snapshot may be open in another daemon; and the merges that go on below do not
change what it shows, for they write only what the layers above hide. One that a killed service leaves is ended when the
pool is opened again.

One that may write has its head locked, and its layers reserved: no merge may touch them. Whoever is about to do
something else with the head has it dropped first, and that flushes it.
"""

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final
from weakref import WeakValueDictionary

import structlog

from openevs.domain.ids import SnapshotId, VolumeId
from openevs.engine.errors import Busy, EngineError, Mismatch
from openevs.engine.layers.core import Core, Volume, run_key
from openevs.engine.layers.daemon import Daemon, RunFiles
from openevs.engine.layers.exports import node_name, unix_server
from openevs.engine.layers.faults import translated
from openevs.engine.layers.graph import LayerId
from openevs.engine.layers.seals import seal_for
from openevs.engine.layers.serving import Serving
from openevs.engine.nbd import NbdClient

_log = structlog.get_logger()
_EXPORT: Final = "r"
_READERS_MAX: Final = 8  # each is a process


@dataclass(eq=False, slots=True)
class Reader:
    """A daemon that has a chain open. Used within `Readers.using`."""

    chain: tuple[LayerId, ...]
    volume: Volume | None
    """The volume whose head it writes, if it may."""
    daemon: Daemon
    client: NbdClient
    last_used: float = 0.0
    users: int = 0
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def writable(self) -> bool:
        """Whether it may write."""
        return self.volume is not None

    @property
    def uri(self) -> str:
        """Where it serves what it shows."""
        return _uri(self.daemon)


class Readers:
    """The readers of one core, kept for a moment because whoever reads once reads often."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._open: dict[LayerId, Reader] = {}
        # A lock is there for as long as somebody holds it or waits for it.
        self._locks: WeakValueDictionary[LayerId, asyncio.Lock] = WeakValueDictionary()
        self._sweeper: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def using(self, reader: Reader) -> AsyncIterator[Reader]:
        """Use a reader that `get` has returned; it is not closed while the block runs."""
        try:
            yield reader
        finally:
            reader.users -= 1
            reader.last_used = asyncio.get_running_loop().time()
            if not reader.users:
                reader.idle.set()

    async def get(self, chain: tuple[LayerId, ...], *, writes: Volume | None = None) -> Reader:
        """Return what shows the chain, its topmost layer first, and may write it if it is that of `writes`. It must be
        used (`using`) at once, and once."""
        top = chain[0]
        async with self._lock_of(top):
            reader = self._open.get(top)
            if reader is not None and not _serves(reader, chain, writes):
                await self._close(top)
                reader = None
            if reader is None:
                await self._make_room()
                reader = self._open[top] = await self._start(chain, writes)
            reader.users += 1
            reader.idle.clear()
        if self._sweeper is None or self._sweeper.done():
            self._sweeper = asyncio.create_task(self._sweep())
        return reader

    def writer(self, top: LayerId) -> Reader | None:
        """Return what is open to write this layer, if it is."""
        reader = self._open.get(top)
        return reader if reader is not None and reader.writable else None

    async def drop(self, top: LayerId) -> None:
        """Close the reader of a layer that is about to be written or removed."""
        async with self._lock_of(top):
            await self._close(top)

    def _lock_of(self, top: LayerId) -> asyncio.Lock:
        lock = self._locks.get(top)
        if lock is None:
            lock = self._locks[top] = asyncio.Lock()
        return lock

    async def close(self) -> None:
        """Close all."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeper
        for top in list(self._open):
            await self._let_go(top)

    async def _sweep(self) -> None:
        idle_seconds = self._core.settings.reader_idle_seconds
        while self._open:
            await asyncio.sleep(idle_seconds / 2)
            old = asyncio.get_running_loop().time() - idle_seconds
            for top in [top for top, reader in self._open.items() if not reader.users and reader.last_used < old]:
                await self._let_go(top)

    async def _let_go(self, top: LayerId) -> None:
        try:
            await self.drop(top)
        except EngineError as error:
            _log.error("writes_lost", layer=top, reason=error.reason)

    async def _make_room(self) -> None:
        idle = [top for top, reader in self._open.items() if not reader.users and not self._lock_of(top).locked()]
        idle.sort(key=lambda top: self._open[top].last_used)
        # Each under its lock, so that nobody opens its layers meanwhile. One is waited for only by who began to look
        # before its lock was taken, so no two wait for each other.
        for top in idle[: max(0, len(self._open) - _READERS_MAX + 1)]:
            await self._let_go(top)

    async def _close(self, top: LayerId) -> None:
        reader = self._open.get(top)
        if reader is None:
            return
        await reader.idle.wait()
        del self._open[top]
        try:
            if reader.volume is not None:
                with translated():
                    await reader.client.flush()
        except BaseException:  # being cancelled too
            if reader.volume is not None:
                reader.volume.writes_lost = True
            raise
        finally:
            await reader.client.close()
            await reader.daemon.discard()
            if reader.writable:
                self._core.unreserve(reader.chain)
                self._core.bell.set()

    async def _start(self, chain: tuple[LayerId, ...], writes: Volume | None) -> Reader:
        writable = writes is not None
        key = run_key(self._core.pool.pool_id, f"r{secrets.token_hex(6)}")
        daemon = Daemon(RunFiles(self._core.run_folder, key), self._core.settings)
        words = self._core.chain_words(chain, writable=writable, locks=writable)
        if writable:
            await seal_for(self._core, chain)
        export = {
            "type": "nbd", "id": "e", "node-name": node_name(chain[0]), "name": _EXPORT,
            "writable": writable, "allocation-depth": True,
        }  # fmt: skip
        try:
            await daemon.spawn(
                [*words, "--nbd-server", unix_server(daemon.files), "--export", json.dumps(export)],
                self._core.pool.layers,
            )
            with translated():
                client = await NbdClient.connect(_uri(daemon))
        except BaseException:
            await daemon.discard()
            raise
        if writable:
            self._core.reserved.update(chain)
        return Reader(chain, writes, daemon, client)


class Reading:
    """The method of the contract that reads."""

    def __init__(self, core: Core, serving: Serving, readers: Readers) -> None:
        self._core = core
        self._serving = serving
        self._readers = readers

    async def read(self, object_id: VolumeId | SnapshotId, offset_bytes: int, length_bytes: int) -> bytes | bytearray:
        """Return that range of a snapshot, or of a volume that is not exported."""
        while True:
            reader, now = await self.reader(object_id, offset_bytes, length_bytes)
            try:
                async with self._readers.using(reader):
                    return await _read(reader, offset_bytes, length_bytes)
            except EngineError:
                if reader.chain == now():
                    raise  # else a layer was merged away while the reader was being opened

    async def reader(
        self, object_id: VolumeId | SnapshotId, offset_bytes: int, length_bytes: int
    ) -> tuple[Reader, Callable[[], tuple[LayerId, ...]]]:
        """Return what shows a snapshot, or a volume that is not exported, and what tells its chain as it is later."""
        core = self._core
        volume_id = core.owners.get(SnapshotId(object_id), VolumeId(object_id))
        async with core.lock_of(volume_id):
            volume = core.volume(volume_id)
            snapshot = volume.manifest.snapshots.get(SnapshotId(object_id))
            if snapshot is None and volume.manifest.export is not None:
                raise Busy(f"volume {volume_id} is exported: read it as a client", by=(volume_id,))
            if snapshot is not None and snapshot.cut_pending:
                await self._serving.see_cut(volume)
            size = snapshot.size_bytes if snapshot else volume.manifest.size_bytes
            if offset_bytes < 0 or length_bytes < 0 or offset_bytes + length_bytes > size:
                raise Mismatch(f"{object_id} has {size} bytes", expected=offset_bytes + length_bytes, found=size)

            def chain() -> tuple[LayerId, ...]:
                return core.chain(volume.manifest.layer_of(object_id))

            while True:
                found = chain()
                try:
                    return await self._readers.get(found), chain
                except EngineError:
                    if found == chain():
                        raise


async def _read(reader: Reader, offset: int, length: int) -> bytearray:
    """Return that range of what the reader shows; zeros beyond its end."""
    there = max(0, min(length, reader.client.size_bytes - offset))
    with translated():
        data = await reader.client.receive(offset, there)
    return data if there == length else data + bytes(length - there)


def _serves(reader: Reader, chain: tuple[LayerId, ...], writes: Volume | None) -> bool:
    return reader.chain == chain and not reader.client.lost and (writes is None or reader.volume is writes)


def _uri(daemon: Daemon) -> str:
    return f"nbd+unix:///{_EXPORT}?socket={daemon.files.nbd}"
