"""Exports: a volume served to its clients, from the moment its manifest says so until it does not any more."""

import asyncio
from collections.abc import Mapping

from msgspec.structs import replace

from openevs.domain.ids import VolumeId
from openevs.engine.errors import EngineError, Mismatch
from openevs.engine.layers import exports, manifest
from openevs.engine.layers.core import Volume
from openevs.engine.layers.daemon import Daemon
from openevs.engine.layers.merge import Merger
from openevs.engine.layers.reads import Readers
from openevs.engine.limits import check_limits
from openevs.engine.port import ExportFacts, ExportSpec, Limits


class Attaching:
    """The methods of the contract that are about exports."""

    def __init__(self, merger: Merger, readers: Readers) -> None:
        self._core = merger.core
        self._merger = merger
        self._serving = merger.serving
        self._readers = readers

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
                await self._serving.ensure_running(volume)
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
        taken = {v.manifest.export.port for v in core.volumes.values() if v.manifest.export and v.manifest.export.port}
        export = await asyncio.to_thread(exports.planned, spec, core.settings, taken)
        core.files_of(replace(volume.manifest, export=export)).check()
        await self._readers.drop(volume.manifest.head)
        async with core.graph.shared():
            await core.commit(volume, export=export)
        try:
            await self._serving.ensure_running(volume)
        except EngineError:
            await self._end(volume)
            raise
        return export

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
