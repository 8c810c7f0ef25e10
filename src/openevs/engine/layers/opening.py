"""What an engine has while it is open, and how it gets there: believe the pool, then find who still serves from it."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import msgspec
import structlog

from openevs.engine.errors import EngineError
from openevs.engine.layers.attaching import Attaching
from openevs.engine.layers.changes import Changes
from openevs.engine.layers.core import Core, Volume, run_key, run_prefix
from openevs.engine.layers.daemon import Daemon, RunFiles, find_running
from openevs.engine.layers.faults import translated
from openevs.engine.layers.graph import MissingLayerError
from openevs.engine.layers.groups import Groups
from openevs.engine.layers.merge import Merger
from openevs.engine.layers.places import take_places
from openevs.engine.layers.pool import Pool, parent_of
from openevs.engine.layers.reads import Readers, Reading
from openevs.engine.layers.settings import LayersSettings
from openevs.engine.layers.snapshots import Snapshots
from openevs.engine.layers.strays import Strays, forget_taken, load_released
from openevs.engine.layers.volumes import Volumes
from openevs.engine.layers.writes import Writing

_log = structlog.get_logger()


@dataclass(eq=False, slots=True)
class Opened:
    """The parts of an open engine."""

    core: Core
    merger: Merger
    readers: Readers
    volumes: Volumes
    snapshots: Snapshots
    groups: Groups
    attaching: Attaching
    reads: Reading
    writes: Writing
    changes: Changes
    strays: Strays

    @classmethod
    async def make(cls, pool_folder: Path, run_folder: Path, settings: LayersSettings) -> Self:
        """Lock and read the pool, take over its daemons, finish what was begun, and start the background work."""
        pool = Pool(pool_folder, settings.cluster_bits)
        await asyncio.to_thread(pool.open)
        try:
            await asyncio.to_thread(run_folder.mkdir, mode=0o700, parents=True, exist_ok=True)
            core = Core(settings, pool, run_folder)
            await asyncio.to_thread(take_places, core)
            await asyncio.to_thread(_load, core)
            readers = Readers(core)
            merger = Merger(core, readers.drop)
            snapshots = Snapshots(merger)
            reading = Reading(core, merger.serving, readers)
            opened = cls(
                core, merger, readers, Volumes(merger, readers), snapshots, Groups(merger, snapshots),
                Attaching(merger, readers), reading, Writing(merger, readers), Changes(core, reading, readers),
                Strays(merger, readers, snapshots),
            )  # fmt: skip
            await opened._take_over()
        except BaseException:
            pool.close()
            raise
        opened.merger.start()
        return opened

    async def close(self) -> None:
        """Let go; served volumes go on being served."""
        await self.merger.stop()
        await self.groups.settle()
        for volume in self.core.volumes.values():
            async with volume.lock:
                try:
                    with translated():
                        await self.merger.serving.write_facts(volume)
                except EngineError as error:
                    _log.warning("facts_not_written", volume_id=volume.manifest.volume_id, reason=error.reason)
                await self.merger.serving.let_go(volume)
                if volume.daemon is not None:
                    await volume.daemon.disconnect()
        await self.readers.close()
        self.core.pool.close()

    async def _take_over(self) -> None:
        core = self.core
        running: dict[Path, int] = {}
        lost = []
        for path, pid in await asyncio.to_thread(find_running, core.run_folder):
            if running.setdefault(path, pid) != pid:
                lost.append((path, pid))
        for volume in core.volumes.values():
            if volume.manifest.export is not None or core.files_of(volume.manifest).qmp in running:
                core.host_of(volume)
        for host in core.hosts.values():
            host.daemon.pid = running.pop(host.daemon.files.qmp, None)
        prefix = run_prefix(core.pool.pool_id)
        strays = [(path, pid) for path, pid in (*lost, *running.items()) if path.name.startswith(prefix)]
        for path, pid in strays:  # of a process that was killed: its readers and merges, and what it was just starting
            _log.info("stray_daemon_killed", pid=pid)
            await Daemon(RunFiles(path.parent, path.stem), core.settings, pid).kill()
        await asyncio.to_thread(_remove_strays, core, prefix)
        found = [volume for volume in core.volumes.values() if volume.daemon and volume.daemon.pid]
        # In this order: a merge that is whole must be known to the daemons that live, and be finished before the
        # others are started, for a daemon writes the headers that it has open as it read them.
        await self._serve(volume for volume in found)
        await self.merger.finish_noted()
        await self._serve(volume for volume in core.volumes.values() if volume not in found)
        await self.merger.remove_orphans()

    async def _serve(self, volumes: Iterable[Volume]) -> None:
        await asyncio.gather(*(self._serve_one(volume) for volume in volumes))

    async def _serve_one(self, volume: Volume) -> None:
        serving = self.merger.serving
        async with volume.lock:
            try:
                if volume.manifest.export is not None:
                    await serving.ensure_running(volume)
                elif volume.daemon is not None:
                    await serving.stop(volume)
                else:
                    await serving.see_cut(volume)
            except EngineError as error:  # the others are served; this one is tried again for as long as we are open
                _log.error("volume_not_served", volume_id=volume.manifest.volume_id, reason=error.reason)


def _remove_strays(core: Core, prefix: str) -> None:
    """Remove what daemons that belong to no volume have left. Blocking."""
    keys = {run_key(core.pool.pool_id, volume_id) for volume_id in core.volumes} | core.hosts.keys()
    for key in {path.stem for path in core.run_folder.glob(f"{prefix}*")} - keys:
        files = RunFiles(core.run_folder, key)
        files.remove()
        files.log.unlink(missing_ok=True)


def _load(core: Core) -> None:
    """Read manifests and layers. Blocking."""
    core.direct = core.settings.direct_io and core.pool.supports_direct_io()
    headers, core.damaged = core.pool.read_layers()
    core.parents = {layer: parent_of(header) for layer, header in headers.items()}
    manifests = core.pool.read_manifests()
    core.pool.place_records(manifests)
    load_released(core, manifests)
    for made in manifests.values():
        volume = core.add(made)
        head = headers.get(made.head)
        if head is not None and head.size_bytes > made.size_bytes:  # growing had got half-way
            volume.manifest = msgspec.structs.replace(made, size_bytes=head.size_bytes)
            volume.dirty = True
    forget_taken(core)
    for reason in core.damaged:
        _log.error("layer_damaged", reason=reason)
    for layer in core.pinned():
        try:
            core.chain(layer)
        except MissingLayerError as error:
            core.keep_orphans = True
            _log.error("layer_missing", layer=error.layer, needed_by=layer)
