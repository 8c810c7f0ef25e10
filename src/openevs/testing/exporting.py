"""The memory engine with the power to export, for tests of attaching that are to run without QEMU.

    storage = ExportingMemoryStorage(run_folder)          # a folder for the sockets, with a short path
    engine = ExportingMemoryEngine(storage)
    ...
    await storage.stop_serving()                          # at the end of the test, in the same event loop

The bytes are truly served, by `nbd_server`, in this process: any NBD client may connect. The servers belong to the
storage and not to the engine, as a daemon outlives the service: a second engine on the same storage finds them.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from openevs.domain.ids import SnapshotId, VolumeId
from openevs.engine.errors import Busy, Mismatch, Transient
from openevs.engine.limits import check_limits
from openevs.engine.memory import MemoryEngine, MemoryStorage
from openevs.engine.port import (
    Capacity,
    EngineFacts,
    ExportFacts,
    ExportSpec,
    Extent,
    Limits,
    Objects,
    Power,
    SnapshotFacts,
    SnapshotSpec,
    Stray,
    VolumeFacts,
    VolumeSpec,
)
from openevs.testing.nbd_server import NbdServer
from openevs.testing.pace import Pace

_HOST = "127.0.0.1"
_POWERS: Final[frozenset[Power]] = frozenset(
    {"reads", "writes", "changed_blocks", "exports", "throttles", "group_snapshots", "adopts"}
)


@dataclass(slots=True)
class _Export:
    facts: ExportFacts
    server: NbdServer | None
    """None after `stop_serving`, until an engine is opened."""
    pace: Pace
    together: str | None


@dataclass(slots=True)
class ExportingMemoryStorage:
    """What outlives an `ExportingMemoryEngine`: the pool, and what is being served from it."""

    run_folder: Path
    memory: MemoryStorage = field(default_factory=MemoryStorage)
    exports: dict[VolumeId, _Export] = field(default_factory=dict)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def stop_serving(self) -> None:
        """Stop the servers as a reboot would: the next `open` starts them again, at the same addresses."""
        for export in self.exports.values():
            if export.server is not None:
                await export.server.stop()
                export.server = None


class ExportingMemoryEngine:
    """An engine with the powers in `_POWERS`, over an `ExportingMemoryStorage`; `now` dates the snapshots.

    Transport `tcp` is plain NBD on the loopback interface: there is no TLS here."""

    def __init__(
        self, storage: ExportingMemoryStorage, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._storage = storage
        self._memory = MemoryEngine(storage.memory, now)

    async def open(self) -> None:
        await self._memory.open()
        async with self._storage.lock:
            for export in self._storage.exports.values():
                if export.server is None:
                    export.server, export.facts = await self._serve(export.facts, export.pace)

    async def close(self) -> None:
        await self._memory.close()

    def describe(self) -> EngineFacts:
        return replace(self._memory.describe(), powers=_POWERS)

    async def ensure_export(self, spec: ExportSpec) -> ExportFacts:
        async with self._storage.lock:
            if await self._memory.inspect_volume(spec.volume_id) is None:
                raise Mismatch(f"there is no volume {spec.volume_id}")
            present = self._storage.exports.get(spec.volume_id)
            if present is not None:
                found = (present.facts.transport, present.facts.read_only)
                if found != (spec.transport, spec.read_only):
                    raise Mismatch(
                        f"volume {spec.volume_id} is served in another way already", expected=spec, found=found
                    )
                return present.facts
            check_limits(spec.limits)
            asked = ExportFacts(spec.volume_id, "", spec.transport, spec.read_only, export_name=spec.volume_id)
            pace = Pace(spec.limits)
            server, facts = await self._serve(asked, pace)
            self._storage.exports[spec.volume_id] = _Export(facts, server, pace, spec.together)
            return facts

    async def ensure_no_export(self, volume_id: VolumeId) -> None:
        async with self._storage.lock:
            export = self._storage.exports.pop(volume_id, None)
            if export is None:
                return
            if export.server is not None:
                await export.server.stop()
            if export.facts.socket_path is not None:
                self._socket_path(volume_id).unlink(missing_ok=True)

    async def list_exports(self) -> Mapping[VolumeId, ExportFacts]:
        return {volume_id: export.facts for volume_id, export in self._storage.exports.items()}

    async def ensure_limits(self, volume_id: VolumeId, limits: Limits) -> None:
        check_limits(limits)
        if (export := self._storage.exports.get(volume_id)) is not None:
            export.pace.limits = limits

    async def ensure_group_snapshot(self, specs: Sequence[SnapshotSpec]) -> Sequence[SnapshotFacts]:
        there = (await self._memory.list_objects()).snapshots
        served = [spec.volume_id for spec in specs if spec.volume_id in self._storage.exports]
        servers = {self._server_of(volume_id) for volume_id in served}
        if len(servers) > 1 and not all(spec.snapshot_id in there for spec in specs):
            raise Mismatch(f"volumes are in use that are not served together: {', '.join(served)}", found=tuple(served))
        return await self._memory.ensure_group_snapshot(specs)

    async def ensure_no_volume(self, volume_id: VolumeId) -> None:
        self._refuse_exported(volume_id)
        await self._memory.ensure_no_volume(volume_id)

    async def ensure_reverted(self, volume_id: VolumeId, snapshot_id: SnapshotId, token: int) -> VolumeFacts:
        self._refuse_exported(volume_id)
        return await self._memory.ensure_reverted(volume_id, snapshot_id, token)

    async def capacity(self) -> Capacity:
        return await self._memory.capacity()

    async def ensure_volume(self, spec: VolumeSpec) -> VolumeFacts:
        return await self._memory.ensure_volume(spec)

    async def ensure_volume_from_snapshot(self, spec: VolumeSpec, snapshot_id: SnapshotId) -> VolumeFacts:
        return await self._memory.ensure_volume_from_snapshot(spec, snapshot_id)

    async def ensure_volume_size(self, volume_id: VolumeId, size_bytes: int) -> VolumeFacts:
        return await self._memory.ensure_volume_size(volume_id, size_bytes)

    async def ensure_snapshot(self, spec: SnapshotSpec) -> SnapshotFacts:
        return await self._memory.ensure_snapshot(spec)

    async def ensure_no_snapshot(self, snapshot_id: SnapshotId) -> None:
        await self._memory.ensure_no_snapshot(snapshot_id)

    async def ensure_labels(self, object_id: VolumeId | SnapshotId, labels: Mapping[str, str]) -> None:
        await self._memory.ensure_labels(object_id, labels)

    async def ensure_reached(self, number: int) -> None:
        await self._memory.ensure_reached(number)

    async def inspect_volume(self, volume_id: VolumeId) -> VolumeFacts | None:
        return await self._memory.inspect_volume(volume_id)

    async def inspect_snapshot(self, snapshot_id: SnapshotId) -> SnapshotFacts | None:
        return await self._memory.inspect_snapshot(snapshot_id)

    async def list_objects(self) -> Objects:
        return await self._memory.list_objects()

    async def settle(self) -> None:
        await self._memory.settle()

    async def read(self, object_id: VolumeId | SnapshotId, offset_bytes: int, length_bytes: int) -> bytes:
        return await self._memory.read(object_id, offset_bytes, length_bytes)

    async def write(self, volume_id: VolumeId, offset_bytes: int, data: bytes) -> None:
        self._refuse_exported(volume_id)
        await self._memory.write(volume_id, offset_bytes, data)

    async def write_zeros(self, volume_id: VolumeId, offset_bytes: int, length_bytes: int) -> None:
        self._refuse_exported(volume_id)
        await self._memory.write_zeros(volume_id, offset_bytes, length_bytes)

    async def flush(self, volume_id: VolumeId) -> None:
        await self._memory.flush(volume_id)

    async def changed_blocks(self, snapshot_id: SnapshotId, since: SnapshotId | None) -> Sequence[Extent]:
        return await self._memory.changed_blocks(snapshot_id, since)

    async def list_strays(self) -> Sequence[Stray]:
        return await self._memory.list_strays()

    async def ensure_released(self, volume_id: VolumeId, name: str) -> None:
        self._refuse_exported(volume_id)
        await self._memory.ensure_released(volume_id, name)

    async def ensure_adopted(self, spec: VolumeSpec, name: str) -> VolumeFacts:
        return await self._memory.ensure_adopted(spec, name)

    async def ensure_snapshot_released(self, snapshot_id: SnapshotId, name: str) -> None:
        await self._memory.ensure_snapshot_released(snapshot_id, name)

    async def ensure_snapshot_adopted(self, spec: SnapshotSpec, name: str) -> SnapshotFacts:
        return await self._memory.ensure_snapshot_adopted(spec, name)

    def _refuse_exported(self, volume_id: VolumeId) -> None:
        if volume_id in self._storage.exports:
            raise Busy(f"volume {volume_id} is exported", (volume_id,))

    def _server_of(self, volume_id: VolumeId) -> tuple[str, str]:
        export = self._storage.exports[volume_id]
        apart = export.together is None or export.facts.transport == "tcp"
        return ("apart", volume_id) if apart else ("together", str(export.together))

    def _socket_path(self, volume_id: VolumeId) -> Path:
        return self._storage.run_folder / f"{volume_id}.sock"

    async def _serve(self, asked: ExportFacts, pace: Pace) -> tuple[NbdServer, ExportFacts]:
        """Start a server as `asked`, at the address of before if there was one, and return it with its facts."""
        # The server reads through an engine of its own, since it must go on when this one is dropped.
        memory = MemoryEngine(self._storage.memory)
        await memory.open()
        name = asked.export_name
        server = NbdServer(_VolumeDisk(memory, asked.volume_id), name, read_only=asked.read_only, pace=pace)
        try:
            if asked.transport == "unix":
                path = self._socket_path(asked.volume_id)
                path.unlink(missing_ok=True)  # left by `stop_serving`; a socket that nobody listens on cannot be reused
                await server.start_unix(path)
                return server, replace(asked, uri=f"nbd+unix:///{name}?socket={path}", socket_path=str(path))
            port = await server.start_tcp(_HOST, asked.port or 0)
        except OSError as error:
            raise Transient(f"cannot listen for clients of volume {asked.volume_id}: {error.strerror}") from error
        return server, replace(asked, uri=f"nbd://{_HOST}:{port}/{name}", host=_HOST, port=port)


@dataclass(frozen=True, slots=True)
class _VolumeDisk:
    engine: MemoryEngine
    volume_id: VolumeId

    async def size(self) -> int:
        facts = await self.engine.inspect_volume(self.volume_id)
        return 0 if facts is None else facts.size_bytes

    async def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        return await self.engine.read(self.volume_id, offset_bytes, length_bytes)

    async def write(self, offset_bytes: int, data: bytes) -> None:
        await self.engine.write(self.volume_id, offset_bytes, data)

    async def write_zeroes(self, offset_bytes: int, length_bytes: int) -> None:
        await self.engine.write_zeros(self.volume_id, offset_bytes, length_bytes)
