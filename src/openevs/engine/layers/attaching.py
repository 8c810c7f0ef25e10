"""Exports: a volume served to its clients, from the moment its manifest says so until it does not any more."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Set
from contextlib import asynccontextmanager

import structlog
from msgspec.structs import replace

from openevs.domain.ids import VolumeId
from openevs.engine.errors import Broken, EngineError, Mismatch
from openevs.engine.layers import exports, manifest
from openevs.engine.layers.core import Volume
from openevs.engine.layers.daemon import Daemon
from openevs.engine.layers.faults import PortTaken
from openevs.engine.layers.merge import Merger
from openevs.engine.layers.reads import Readers
from openevs.engine.limits import check_limits
from openevs.engine.port import ExportFacts, ExportSpec, Limits

_log = structlog.get_logger()


class Attaching:
    """The methods of the contract that are about exports."""

    def __init__(self, merger: Merger, readers: Readers) -> None:
        self._core = merger.core
        self._merger = merger
        self._serving = merger.serving
        self._readers = readers
        self._planning = asyncio.Lock()
        self._promised: set[int] = set()
        """Ports of volumes that are just about to be served."""

    async def ensure(self, spec: ExportSpec) -> ExportFacts:
        """Serve the volume."""
        core = self._core
        check_limits(spec.limits)
        async with core.lock_of(spec.volume_id):
            volume = core.volume(spec.volume_id)
            export = volume.manifest.export
            if export is None:
                export = await self._begin(volume, spec)
            elif (export.transport, export.read_only) != (spec.transport, spec.read_only):
                raise Mismatch(
                    f"volume {spec.volume_id} is exported in another way",
                    expected=(spec.transport, spec.read_only), found=(export.transport, export.read_only),
                )  # fmt: skip
            else:
                if not await self._serving.make_reachable(volume):
                    raise Broken(
                        f"the socket of volume {spec.volume_id} has gone from the run folder: who is connected goes "
                        "on, but nobody else can connect before they have left. To have it made anew at once, end the "
                        f"storage daemon (pid {core.host_of(volume).daemon.pid}), which is then started again; its "
                        "clients have to reconnect"
                    )
            return exports.facts(spec.volume_id, export, core.files_of(volume.manifest))

    async def ensure_none(self, volume_id: VolumeId) -> None:
        """Serve the volume no more."""
        core = self._core
        async with core.lock_of(volume_id):
            volume = core.volumes.get(volume_id)
            if volume is None or (volume.manifest.export is None and volume.daemon is None):
                return
            await self._end(volume)

    async def ensure_limits(self, volume_id: VolumeId, limits: Limits) -> None:
        """Let the volume's clients do so much from now on, also after a restart."""
        core = self._core
        check_limits(limits)
        async with core.lock_of(volume_id):
            volume = core.volumes.get(volume_id)
            if volume is None or (export := volume.manifest.export) is None:
                return
            if export.limits != limits:
                async with core.graph.shared():
                    await core.commit(volume, export=replace(export, limits=limits))

            async def limit(daemon: Daemon) -> None:
                volume.unsure = True  # until it has answered
                await self._serving.inside.limit(volume, daemon, limits)
                volume.unsure = False

            await self._serving.with_daemon(volume, limit)

    def listed(self) -> Mapping[VolumeId, ExportFacts]:
        """Return what is being served."""
        return {
            volume_id: exports.facts(volume_id, volume.manifest.export, self._core.files_of(volume.manifest))
            for volume_id, volume in self._core.volumes.items()
            if volume.manifest.export is not None
        }

    async def _begin(self, volume: Volume, spec: ExportSpec) -> manifest.Export:
        core = self._core
        await self._serving.see_cut(volume)
        refused: set[int] = set()
        while True:
            async with self._port_for(spec, refused) as export:
                core.files_of(replace(volume.manifest, export=export)).check()
                await self._readers.drop(volume.manifest.head)
                async with core.graph.shared():
                    await core.commit(volume, export=export)
            try:
                await self._serving.ensure_running(volume)
            except PortTaken as error:  # between our look and the daemon's
                await self._end(volume)
                _log.warning("port_taken", volume_id=spec.volume_id, host=export.host, port=error.port)
                refused.add(error.port)
            except EngineError:
                await self._end(volume)
                raise
            else:
                return export

    @asynccontextmanager
    async def _port_for(self, spec: ExportSpec, refused: Set[int]) -> AsyncIterator[manifest.Export]:
        """Plan an export, and keep its port from others until the block has written it down."""
        core = self._core
        async with self._planning:
            exported = [v.manifest.export for v in core.volumes.values() if v.manifest.export]
            ours = {one.port for one in exported if one.port is not None}
            export = await asyncio.to_thread(exports.planned, spec, core.settings, ours | self._promised | refused)
            if export.port is not None:
                self._promised.add(export.port)
        try:
            yield export
        finally:
            self._promised -= {export.port}

    async def _end(self, volume: Volume) -> None:
        await self._merger.release(volume)
        if volume.manifest.pending_groups():
            await self._serving.see_cut(volume)
        await self._serving.leave(volume)
        async with self._core.graph.shared():
            await self._core.commit(volume, export=None)
        await self._merger.release(volume)
        await self._serving.stop(volume)
        await self._serving.write_facts(volume)
        self._core.bell.set()
