"""Keeping volumes served: starting, finding and restarting daemons, and bringing them to what the manifests say.

A daemon is started with nothing open. Each volume is opened in it by itself, under its own lock, so what befalls one
volume does not concern another that is served by the same daemon; but when the daemon dies, each has to be opened anew.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog
from msgspec.structs import replace

from openevs.engine.errors import Broken, EngineError, OutcomeUnknown, Transient
from openevs.engine.layers import slices
from openevs.engine.layers.core import Core, Volume
from openevs.engine.layers.daemon import Daemon
from openevs.engine.layers.exports import node_name, server_words, write_key
from openevs.engine.layers.faults import PortTaken, is_locked, says_taken, translated
from openevs.engine.layers.graph import LayerId
from openevs.engine.layers.heads import Heads
from openevs.engine.layers.host import Host
from openevs.engine.layers.inside import Inside
from openevs.engine.layers.seals import seal, seal_for

_log = structlog.get_logger()
_JOB_POLL_SECONDS: Final = 0.002
_LOCK_SECONDS: Final = 1.0  # for which a layer may be another process's that is about to let go of it
_LOCK_POLL_SECONDS: Final = 0.005
_LEAVING_SECONDS: Final = 0.5  # for which the daemon may still hold a client that has gone
_TIDY_SECONDS: Final = 0.05  # for which the disk is left to those who wait for a snapshot, or were held up by it
_RETRY_SECONDS: Final = 0.05  # before a volume that has lost its export is given it again
_OUTGROWN_SECONDS: Final = 1.0  # between two looks whether the clients that see an old size have gone


def job_of(upper: LayerId, volume_id: str) -> str:
    """Return the name of the job that merges a layer of the volume."""
    return f"merge-{upper}.{volume_id}"


class Serving:
    """Serves the volumes of one core. Methods want `volume.lock` held and `volume.manifest.export` set."""

    def __init__(self, core: Core, release: Callable[[Volume], Awaitable[None]]) -> None:
        self._core = core
        self._settings = core.settings
        self._release = release
        """Ends the merges that touch a volume's layers; from `merge`, which in turn needs us."""
        self.inside = Inside(core)
        self.heads = Heads(core, self.inside, release)

    async def ensure_running(self, volume: Volume) -> Daemon:
        """Return the volume's daemon: running, connected, and with what the manifest says open."""
        host = self._core.host_of(volume)
        if volume.watcher is None or volume.watcher.done():
            volume.watcher = asyncio.create_task(self._watch(volume, host))
        if volume.unsure or not self._is_open(volume, host.daemon):
            volume.unsure = True
            await self._ensure_process(volume, host)
            await self._converge(volume, host)
            volume.unsure, volume.process = False, host.daemon.pid
            if volume.manifest.pending():
                self.heads.cut_is_made(volume)
            self.tidy(volume)
        return host.daemon

    async def with_daemon(self, volume: Volume, action: Callable[[Daemon], Awaitable[None]]) -> None:
        """Do something with the volume's daemon; once more if it dies meanwhile, so it must bear a repeat."""
        for last in (False, True):
            process = None
            try:
                daemon = await self.ensure_running(volume)
                process = daemon.pid
                await action(daemon)
            except (Transient, OutcomeUnknown):
                if last or volume.daemon is None or not await volume.daemon.has_ended(process):
                    raise
            else:
                return

    async def see_cut(self, volume: Volume) -> None:
        """See that no cut of the volume is pending, served or not: one of a group may wait for another volume's."""
        if not volume.manifest.pending():
            return
        if volume.manifest.export is not None:
            await self.ensure_running(volume)
            return
        groups, at = volume.manifest.pending_groups(), None
        for other in self._core.volumes.values():
            if other.manifest.export is not None and groups & other.manifest.pending_groups():
                host = self._core.host_of(other)
                await self._ensure_process(other, host)
                async with host.lock:
                    at = await self.heads.make_up(other, host)
        self.heads.cut_is_made(volume, at)

    async def leave(self, volume: Volume) -> None:
        """Close the volume in a daemon that serves others too; from one of its own it is taken by `stop`."""
        host = volume.host
        if host is not None and len(self._core.guests(host)) > 1 and host.daemon.alive():
            await self._ensure_process(volume, host)
            await self._settle_jobs(volume, host.daemon)
            await self.heads.close_probe(volume)
            volume.unsure, volume.process = True, None
            async with host.lock:
                await self.inside.close(volume, host)
            await self.heads.drop_spare_file(volume)

    async def stop(self, volume: Volume) -> None:
        """Let go of the volume's daemon, and end it unless it serves others; wants no export in the manifest."""
        await self.let_go(volume)
        host = volume.host
        if host is not None:
            async with host.lock:
                if self._core.guests(host) == [volume]:
                    await host.daemon.stop()
                    if host.daemon.files != self._core.files_of(volume.manifest):
                        await asyncio.to_thread(host.daemon.files.log.unlink, missing_ok=True)
                volume.host = volume.process = None
                if not self._core.guests(host):
                    self._core.hosts.pop(host.daemon.files.key, None)
        if volume.manifest.pending():
            self.heads.cut_is_made(volume)  # the head is what will be opened
        await self.heads.drop_spare_file(volume)

    async def make_reachable(self, volume: Volume) -> bool:
        """Say whether clients can connect. If the socket has gone from the run folder, and nobody is connected who
        could be cut off, the daemon is started again, at the same address."""
        daemon = await self.ensure_running(volume)
        if volume.manifest.export is None or volume.manifest.export.transport != "unix":
            return True
        host = self._core.host_of(volume)
        async with host.lock:
            if await asyncio.to_thread(daemon.is_reachable):
                return True
            probes = sum(1 for each in self._core.guests(host) if each.probe is not None and not each.probe.lost)
            if await asyncio.to_thread(daemon.clients) != probes:
                return False
            _log.warning("daemon_unreachable", volume_id=volume.manifest.volume_id, pid=daemon.pid)
            await daemon.stop()
        await self.ensure_running(volume)
        return True

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
        await self.heads.close_probe(volume)

    async def grow(self, volume: Volume, daemon: Daemon, size_bytes: int) -> None:
        """Make the served volume larger, by a larger head: QEMU resizes nothing that is exported."""
        await self.heads.drop_spare(volume, daemon)
        await self.heads.push(volume, daemon, lambda made: replace(made, size_bytes=size_bytes))
        volume.outgrown = True
        await self.heads.show_size(volume, daemon, _LEAVING_SECONDS)
        self.tidy(volume)

    def tidy(self, volume: Volume) -> None:
        """See in the background that facts are written, what was frozen is read-only, and next head and probe ready."""
        if volume.tidier is None or volume.tidier.done():
            volume.tidier = asyncio.create_task(self._tidy(volume))

    async def write_facts(self, volume: Volume) -> None:
        """Write facts that waited for a write."""
        if volume.dirty:
            async with self._core.graph.shared():
                await self._core.commit(volume)

    async def seal(self, volume: Volume) -> None:
        """Make what was frozen in the volume's daemon read-only."""
        host = self._core.host_of(volume)
        async with host.lock:
            await seal(self._core, host)

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

    def _is_open(self, volume: Volume, daemon: Daemon) -> bool:
        return volume.process == daemon.pid and daemon.connected and daemon.alive()

    async def _ensure_process(self, volume: Volume, host: Host) -> None:
        """See that the daemon runs and answers; a new one has nothing open."""
        async with host.lock:
            daemon = host.daemon
            if daemon.connected and not daemon.alive():
                await daemon.disconnect()
            if not daemon.alive():
                await self._spawn(volume, host)
            elif not daemon.connected:
                try:
                    await daemon.connect()
                except Transient:  # it may be on its way out
                    if not await daemon.wait_gone():
                        raise
                    await self._spawn(volume, host)

    async def _spawn(self, volume: Volume, host: Host) -> None:
        daemon, start, export = host.daemon, time.perf_counter(), volume.manifest.export
        if export is None:
            raise Broken(f"volume {volume.manifest.volume_id} is not to be served")
        with translated():
            await asyncio.to_thread(write_key, export, daemon.files)
            try:
                await daemon.spawn(server_words(export, daemon.files), self._core.pool.layers)
            except Transient as error:
                if export.port is not None and says_taken(error):
                    raise PortTaken(str(export.host), export.port, volume.manifest.volume_id) from error
                raise
            host.unsealed.clear()
            if daemon.pid is not None:
                slices.ask(daemon.pid)
            if export.transport == "unix":
                daemon.files.nbd.chmod(self._settings.socket_mode)
        took_ms = round((time.perf_counter() - start) * 1e3, 1)
        _log.info("daemon_started", volume_id=volume.manifest.volume_id, pid=daemon.pid, took_ms=took_ms)

    async def _converge(self, volume: Volume, host: Host) -> None:
        """Bring a running daemon to what the manifest says of this volume."""
        daemon = host.daemon
        if volume.process not in (None, daemon.pid):  # what was prepared was open in another process
            await self.heads.close_probe(volume)
            await self.heads.drop_spare_file(volume)
        if await self._settle_jobs(volume, daemon):
            await asyncio.to_thread(self._core.reread_parents, self._core.chain(volume.manifest.head))
        if not await self.inside.is_exported(volume, daemon):
            await self._open(volume, host)
            return
        active = await self.inside.active(volume, daemon)
        if active not in [node_name(layer) for layer in self._core.chain(volume.manifest.head)]:
            _log.warning("daemon_has_something_else_open", volume_id=volume.manifest.volume_id, node=active)
            async with host.lock:
                await self.inside.close(volume, host)
            await self._open(volume, host)
            return
        async with host.lock:
            made_up = await self.heads.make_up(volume, host)
        if made_up:
            self.heads.cut_is_made(volume, at=made_up)
        if volume.manifest.export is not None:
            await self.inside.limit(volume, daemon, volume.manifest.export.limits)
        # Whether an earlier process got as far as showing a grown size is seen by a client only.
        probe = await self.heads.probe(volume)
        if probe is None or probe.size_bytes != volume.manifest.size_bytes:
            volume.outgrown = True
            await self.heads.show_size(volume, daemon)
        async with host.lock:
            await self.inside.trim(host)

    async def _open(self, volume: Volume, host: Host) -> None:
        give_up = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                await self._open_once(volume, host)
            except Transient as error:
                if not is_locked(error) or time.monotonic() > give_up:
                    raise
                # By a daemon that was killed, for as long as the system waits for its requests; or by a merge that
                # began meanwhile, and is broken off as we try again.
                await asyncio.sleep(_LOCK_POLL_SECONDS)
            else:
                return

    async def _open_once(self, volume: Volume, host: Host) -> None:
        start = time.perf_counter()
        with translated():
            async with host.lock:
                await self.inside.close(volume, host)  # what somebody got half-way with
            with self._core.reserving(self._core.chain(volume.manifest.head)):
                # The daemon may run already, but has nothing of this volume: a merge that is whole must be moved before
                # it is opened. Else clients would write to a layer whose place another one has taken.
                volume.shut = True
                await self._release(volume)
                chain = self._core.chain(volume.manifest.head)
                with self._core.reserving(chain):
                    volume.shut = False
                    await seal_for(self._core, chain, opener=host)
                    async with host.lock:
                        await self.inside.open(volume, host, chain)
            await self.heads.drop_spare_file(volume)
            volume.outgrown = False
        took_ms = round((time.perf_counter() - start) * 1e3, 1)
        _log.info("volume_opened", volume_id=volume.manifest.volume_id, layers=len(chain), took_ms=took_ms)

    async def _settle_jobs(self, volume: Volume, daemon: Daemon) -> bool:
        """End what an earlier process had begun: a merge whose copy is noted as whole goes forward, any other back.

        Say whether a job was found: the daemon may then have written headers."""
        ours = f".{volume.manifest.volume_id}"
        jobs = [job for job in await daemon.execute("query-jobs") if job["id"].endswith(ours)]
        for job in jobs:
            upper = job["id"].removeprefix("merge-").partition(".")[0]
            if job["status"] == "pending" and (self._core.pool.layers / f"{upper}.merged").exists():
                await daemon.execute("job-finalize", {"id": job["id"]})
            elif job["status"] != "concluded":
                await daemon.execute("job-cancel", {"id": job["id"]})
            await self.wait_job(daemon, job["id"], "concluded")
            await daemon.execute("job-dismiss", {"id": job["id"]})
        return bool(jobs)

    async def _tidy(self, volume: Volume) -> None:
        await asyncio.sleep(_TIDY_SECONDS)
        async with volume.lock:
            export, daemon = volume.manifest.export, volume.daemon
            if export is None or daemon is None:
                return
            try:
                with translated():
                    if volume.outgrown and volume.unsure:  # it may have no export: what was begun has failed
                        await self.ensure_running(volume)
                    await self.write_facts(volume)
                    if not volume.unsure and self._is_open(volume, daemon):
                        await self.seal(volume)
                        if self._settings.spare and not export.read_only:
                            await self.heads.next_head(volume, daemon, volume.manifest.size_bytes)
                        if volume.outgrown:
                            await self.heads.show_size(volume, daemon)
                        await self.heads.probe(volume)
                    self._core.bell.set()  # not at the cut: looking at every layer takes a while
                    if volume.outgrown:
                        volume.later = asyncio.get_running_loop().call_later(_OUTGROWN_SECONDS, self.tidy, volume)
            except EngineError as error:  # each of these is done inline if it is missing
                _log.warning("tidying_failed", volume_id=volume.manifest.volume_id, reason=error.reason)
                if volume.outgrown and volume.unsure:
                    volume.later = asyncio.get_running_loop().call_later(_RETRY_SECONDS, self.tidy, volume)

    async def _watch(self, volume: Volume, host: Host) -> None:
        """Start the daemon again when it dies, for as long as the volume is to be served."""
        daemon = host.daemon
        while True:
            if volume.process is not None and volume.process == daemon.pid and not await self._is_unreachable(daemon):
                continue
            async with volume.lock:
                if volume.manifest.export is None or volume.host is not host:
                    return
                try:
                    if volume.process == daemon.pid and daemon.connected:
                        await self.make_reachable(volume)
                        continue
                except EngineError as error:
                    _log.warning("daemon_unreachable", volume_id=volume.manifest.volume_id, reason=error.reason)
                _log.warning("daemon_lost", volume_id=volume.manifest.volume_id, pid=daemon.pid)
                try:
                    await self.ensure_running(volume)
                    continue
                except EngineError as error:
                    _log.error("daemon_not_restored", volume_id=volume.manifest.volume_id, reason=error.reason)
            await asyncio.sleep(self._settings.restart_pause_seconds)

    async def _is_unreachable(self, daemon: Daemon) -> bool:
        """Wait until we, or clients, cannot reach the daemon, and say so; or that neither has come for a while."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.look_seconds):
                await daemon.wait_lost()
        return not daemon.connected or not await asyncio.to_thread(daemon.is_reachable)
