"""Keeping volumes served: starting, finding and restarting daemons, and bringing them to what the manifest says.

The manifest is written before the daemon is told, so the daemon may be behind: its active layer is then below the
manifest's head, with empty layers between, and the missing cuts are made. A daemon that died opens the head at once.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import structlog

from openevs.engine.errors import Broken, EngineError, OutcomeUnknown, Transient
from openevs.engine.layers.core import Core, Volume
from openevs.engine.layers.cut import Cost, cut
from openevs.engine.layers.daemon import Daemon
from openevs.engine.layers.exports import (
    EXPORT_ID,
    export_options,
    facts,
    node_name,
    server_words,
    write_key,
)
from openevs.engine.layers.faults import translated
from openevs.engine.layers.graph import LayerId
from openevs.engine.layers.manifest import Manifest
from openevs.engine.layers.pool import new_layer_id
from openevs.engine.nbd import NbdClient

_log = structlog.get_logger()
_JOB_POLL_SECONDS: Final = 0.002
_LEAVING_SECONDS: Final = 0.5  # for which the daemon may still hold a client that has gone
_OUTGROWN_SECONDS: Final = 1.0  # between two looks whether the clients that see an old size have gone


class Serving:
    """Serves the volumes of one core. Methods want `volume.lock` held and `volume.manifest.export` set."""

    def __init__(self, core: Core, release: Callable[[Volume], Awaitable[None]]) -> None:
        self._core = core
        self._settings = core.settings
        self._release = release
        """Ends the merges that touch a volume's layers; from `merge`, which in turn needs us."""

    async def ensure_running(self, volume: Volume) -> Daemon:
        """Return the volume's daemon: running, connected, and with what the manifest says open."""
        daemon = volume.daemon = volume.daemon or Daemon(volume.files, self._settings)
        if daemon.connected and not daemon.alive():
            await daemon.disconnect()
        if volume.watcher is None or volume.watcher.done():
            volume.watcher = asyncio.create_task(self._watch(volume, daemon))
        if volume.unsure or not daemon.connected or not daemon.alive():
            volume.unsure = True
            if not daemon.alive():
                await self._start(volume, daemon)
            else:
                if not daemon.connected:
                    await daemon.connect()
                await self._converge(volume, daemon)
            volume.unsure = False
            if volume.manifest.pending():
                self.cut_is_made(volume)
        self.tidy(volume)
        return daemon

    async def with_daemon(self, volume: Volume, action: Callable[[Daemon], Awaitable[None]]) -> None:
        """Do something with the volume's daemon; once more if it dies meanwhile, so it must bear a repeat."""
        for last in (False, True):
            try:
                await action(await self.ensure_running(volume))
            except (Transient, OutcomeUnknown):
                daemon = volume.daemon
                if last or daemon is None or daemon.connected or not await daemon.wait_gone():
                    raise
            else:
                return

    async def stop(self, volume: Volume) -> None:
        """End the volume's daemon and all that belongs to it; wants no export in the manifest."""
        await self.let_go(volume)
        if volume.daemon is not None:
            await volume.daemon.stop()
        volume.daemon = None
        if volume.manifest.pending():
            self.cut_is_made(volume)  # the head is what will be opened
        await self._drop_spare_file(volume)

    async def let_go(self, volume: Volume) -> None:
        """Drop what we hold of a volume's daemon; the daemon goes on."""
        for task in (volume.watcher, volume.tidier):
            if task is not None and task is not asyncio.current_task():
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        if volume.later is not None:
            volume.later.cancel()
        volume.watcher = volume.tidier = volume.later = None
        volume.unsure = True
        await self._close_probe(volume)

    async def next_head(self, volume: Volume, daemon: Daemon, size_bytes: int) -> LayerId:
        """Return an empty layer on top of the volume's head, open in the daemon and in no chain; made unless there."""
        if volume.spare is None:
            layer, head = new_layer_id(), volume.manifest.head
            await asyncio.to_thread(self._core.pool.create_layer, layer, size_bytes, head)
            try:
                await self._add_node(daemon, layer, writable=True)
            except BaseException:
                await asyncio.to_thread(self._core.pool.remove_layer, layer)
                raise
            volume.spare = layer
        return volume.spare

    async def drop_spare(self, volume: Volume, daemon: Daemon) -> None:
        """Forget the prepared head: the volume's size has changed."""
        if volume.spare is not None:
            await daemon.execute("blockdev-del", {"node-name": node_name(volume.spare)})
            await self._drop_spare_file(volume)

    async def push_head(
        self, volume: Volume, daemon: Daemon, change: Callable[[Manifest], Manifest] = lambda made: made
    ) -> Cost:
        """Freeze the head: commit the next head and `change`, then cut.

        If the daemon refuses, all is as before; if its answer is unknown, the cut is made when it is next reached."""
        was = volume.manifest
        new, old = await self.next_head(volume, daemon, change(was).size_bytes), was.head
        probe = await self._probe(volume)
        async with self._core.graph.shared():
            self._core.parents[new] = old
            made = change(volume.manifest)
            try:
                await self._core.commit(volume, head=new, snapshots=made.snapshots, size_bytes=made.size_bytes)
            finally:
                if volume.manifest.head == new:
                    volume.spare, volume.unsure = None, True
                else:
                    del self._core.parents[new]
        try:
            cost = await cut(daemon, old, new, probe)
        except EngineError as error:
            if not daemon.connected or await self._active(daemon) != node_name(old):
                raise
            async with self._core.graph.shared():
                left = {key: value for key, value in volume.manifest.snapshots.items() if key in was.snapshots}
                await self._core.commit(volume, head=old, snapshots=left, size_bytes=was.size_bytes)
                del self._core.parents[new]
            volume.spare, volume.unsure = new, False
            _log.warning("cut_refused", volume_id=volume.manifest.volume_id, reason=error.reason)
            raise
        volume.unsure = False
        return cost

    async def grow(self, volume: Volume, daemon: Daemon, size_bytes: int) -> None:
        """Make the served volume larger, by a larger head: QEMU resizes nothing that is exported."""
        await self.drop_spare(volume, daemon)
        await self.push_head(volume, daemon, lambda made: msgspec.structs.replace(made, size_bytes=size_bytes))
        volume.outgrown = True
        await self._show_size(volume, daemon, _LEAVING_SECONDS)
        self.tidy(volume)

    async def _show_size(self, volume: Volume, daemon: Daemon, patience_seconds: float = 0.0) -> None:
        """Export the volume anew, so that clients that connect from now on see its size.

        An export's size is fixed when it is made, and NBD cannot tell a client of another: as long as one is connected,
        all see the old size. Nobody is cut off for it."""
        await self._close_probe(volume)
        give_up = time.monotonic() + patience_seconds
        while volume.outgrown:
            try:
                await daemon.execute("block-export-del", {"id": EXPORT_ID, "mode": "safe"})
            except OutcomeUnknown:
                volume.unsure = True
                raise
            except EngineError:  # somebody is connected
                if time.monotonic() > give_up:
                    return
                await asyncio.sleep(_JOB_POLL_SECONDS * 5)
                continue
            volume.unsure = True
            while await self._active(daemon) is not None:  # noqa: ASYNC110  # gone when its last request is
                await asyncio.sleep(_JOB_POLL_SECONDS)
            await daemon.execute("block-export-add", export_options(volume.manifest))
            volume.unsure = volume.outgrown = False

    def tidy(self, volume: Volume) -> None:
        """See in the background that facts are written, and that the next head and the probe are ready."""
        if volume.tidier is None or volume.tidier.done():
            volume.tidier = asyncio.create_task(self._tidy(volume))

    async def write_facts(self, volume: Volume) -> None:
        """Write facts that waited for a write."""
        if volume.dirty:
            async with self._core.graph.shared():
                await self._core.commit(volume)

    async def trim_nodes(self, volume: Volume, daemon: Daemon) -> None:
        """Close the layers in the daemon that are in no chain: what an earlier process had prepared or merged."""
        wanted = {node_name(layer) for layer in self._core.chain(volume.manifest.head)}
        if volume.spare:
            wanted.add(node_name(volume.spare))
        for node in await daemon.execute("query-named-block-nodes", {"flat": True}):
            name = node["node-name"]
            if name.startswith("l") and name not in wanted:
                with contextlib.suppress(EngineError):
                    await daemon.execute("blockdev-del", {"node-name": name})

    async def wait_job(self, daemon: Daemon, job_id: str, *states: str) -> dict[str, Any]:
        """Return the job once it is in one of these states. Raises Transient if it is gone."""
        pause = _JOB_POLL_SECONDS
        while True:
            jobs = {job["id"]: job for job in await daemon.execute("query-jobs")}
            if job_id not in jobs:
                raise Transient(f"the storage daemon has lost its job {job_id}")
            if jobs[job_id]["status"] in states:
                return dict(jobs[job_id])
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.1)

    async def _start(self, volume: Volume, daemon: Daemon) -> None:
        await self._close_probe(volume)
        with translated():
            with self._core.reserving(self._core.chain(volume.manifest.head)):
                await self._release(volume)
                chain = self._core.chain(volume.manifest.head)
                with self._core.reserving(chain):
                    await self._spawn(volume, daemon, chain)
            await self._drop_spare_file(volume)
            volume.outgrown = False

    async def _spawn(self, volume: Volume, daemon: Daemon, chain: tuple[LayerId, ...]) -> None:
        manifest, start = volume.manifest, time.perf_counter()
        if (export := manifest.export) is None:
            raise Broken(f"volume {manifest.volume_id} is not to be served")
        await asyncio.to_thread(write_key, export, volume.files)
        words = self._core.chain_words(chain, writable=not export.read_only)
        await daemon.spawn([*words, *server_words(manifest, export, volume.files)], self._core.pool.layers)
        if export.transport == "unix":
            volume.files.nbd.chmod(self._settings.socket_mode)
        took_ms = round((time.perf_counter() - start) * 1e3, 1)
        _log.info("daemon_started", volume_id=manifest.volume_id, pid=daemon.pid, layers=len(chain), took_ms=took_ms)

    async def _converge(self, volume: Volume, daemon: Daemon) -> None:
        """Bring a running daemon to what the manifest says."""
        if await self._settle_jobs(daemon):
            await asyncio.to_thread(self._core.reread_parents, self._core.chain(volume.manifest.head))
        chain = self._core.chain(volume.manifest.head)
        names = [node_name(layer) for layer in chain]
        active = await self._active(daemon)
        if active is None:
            await daemon.execute("block-export-add", export_options(volume.manifest))
            active = await self._active(daemon)
        if active not in names:
            _log.warning("daemon_has_something_else_open", volume_id=volume.manifest.volume_id, node=active)
            await daemon.kill()
            await self._start(volume, daemon)
            return
        missing = chain[: names.index(active)]
        open_nodes = {n["node-name"] for n in await daemon.execute("query-named-block-nodes", {"flat": True})}
        for layer in reversed(missing):
            if node_name(layer) not in open_nodes:
                await self._add_node(daemon, layer, writable=True)
            await daemon.execute("blockdev-snapshot", {"node": active, "overlay": node_name(layer)})
            active = node_name(layer)
        # Whether an earlier process got as far as showing a grown size is seen by a client only.
        probe = await self._probe(volume)
        if probe is None or probe.size_bytes != volume.manifest.size_bytes:
            volume.outgrown = True
            await self._show_size(volume, daemon)
        if missing:
            self.cut_is_made(volume, at=datetime.now(UTC))
        await self.trim_nodes(volume, daemon)

    async def _settle_jobs(self, daemon: Daemon) -> bool:
        """End what an earlier process had begun: a merge whose copy is noted as whole goes forward, any other back.

        Say whether a job was found: the daemon may then have written headers."""
        jobs = await daemon.execute("query-jobs")
        for job in jobs:
            noted = self._core.pool.layers / f"{job['id'].removeprefix('merge-')}.merged"
            if job["status"] == "pending" and noted.exists():
                await daemon.execute("job-finalize", {"id": job["id"]})
            elif job["status"] != "concluded":
                await daemon.execute("job-cancel", {"id": job["id"]})
            await self.wait_job(daemon, job["id"], "concluded")
            await daemon.execute("job-dismiss", {"id": job["id"]})
        return bool(jobs)

    async def _active(self, daemon: Daemon) -> str | None:
        for export in await daemon.execute("query-block-exports"):
            if export["id"] == EXPORT_ID:
                return str(export["node-name"])
        return None

    def cut_is_made(self, volume: Volume, at: datetime | None = None) -> None:
        """Note that no cut is pending any more; `at` is when, if it is known to be later than was written."""
        volume.manifest = msgspec.structs.replace(
            volume.manifest,
            snapshots={
                key: msgspec.structs.replace(value, cut_pending=False, taken_at=at or value.taken_at)
                if value.cut_pending
                else value
                for key, value in volume.manifest.snapshots.items()
            },
        )
        volume.dirty = True

    async def _add_node(self, daemon: Daemon, layer: LayerId, *, writable: bool) -> None:
        await daemon.execute("blockdev-add", self._core.node(layer, writable=writable, backing=None))

    async def _drop_spare_file(self, volume: Volume) -> None:
        spare, volume.spare = volume.spare, None
        if spare is not None:
            await asyncio.to_thread(self._core.pool.remove_layer, spare)

    async def _tidy(self, volume: Volume) -> None:
        async with volume.lock:
            if volume.manifest.export is None or volume.daemon is None:
                return
            try:
                with translated():
                    await self.write_facts(volume)
                    if volume.daemon.connected and not volume.unsure:
                        if self._settings.spare and not volume.manifest.export.read_only:
                            await self.next_head(volume, volume.daemon, volume.manifest.size_bytes)
                        if volume.outgrown:
                            await self._show_size(volume, volume.daemon)
                        await self._probe(volume)
                    if volume.outgrown:
                        volume.later = asyncio.get_running_loop().call_later(_OUTGROWN_SECONDS, self.tidy, volume)
            except EngineError as error:  # each of these is done inline if it is missing
                _log.warning("tidying_failed", volume_id=volume.manifest.volume_id, reason=error.reason)

    async def _probe(self, volume: Volume) -> NbdClient | None:
        export = volume.manifest.export
        if not self._settings.probe or volume.outgrown or export is None or export.transport != "unix":
            return None
        if volume.probe is None or volume.probe.lost:
            await self._close_probe(volume)
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(1):
                    volume.probe = await NbdClient.connect(facts(volume.manifest.volume_id, export, volume.files).uri)
        return volume.probe

    async def _close_probe(self, volume: Volume) -> None:
        probe, volume.probe = volume.probe, None
        if probe is not None:
            await probe.close()

    async def _watch(self, volume: Volume, daemon: Daemon) -> None:
        """Start the daemon again when it dies, for as long as the volume is to be served."""
        while True:
            await daemon.wait_lost()
            async with volume.lock:
                if volume.manifest.export is None or volume.daemon is not daemon:
                    return
                if daemon.connected:
                    continue
                _log.warning("daemon_lost", volume_id=volume.manifest.volume_id, pid=daemon.pid)
                try:
                    await self.ensure_running(volume)
                    continue
                except EngineError as error:
                    _log.error("daemon_not_restored", volume_id=volume.manifest.volume_id, reason=error.reason)
            await asyncio.sleep(self._settings.restart_pause_seconds)
