"""Giving space back: merging layers that nothing needs any more, and removing those that nothing reaches.

A merge of `upper` down into `lower` (on which only `upper` hangs, and at which nothing points) goes:

1. copy upper's content into lower, by a job of the daemon that has both open, or of one of its own if none has.
   What it changes in lower is hidden by upper: until it is whole the pool is as it was, and it may be broken off;
2. flush lower and note `upper.merged`: lower now holds all that upper shows. From here it only goes forward;
3. let everything that pointed at upper point at lower: headers of the layers above, manifests;
4. remove upper and the note.

A live head is never copied down while it is written: the switch from it to the layer below cannot be made at one
instant with the manifest. It is frozen by an empty head first, and merged as any other layer.
Layers open in several daemons are not written. Callers never wait for a copy: `release` breaks it off. Nor does
removing wait for one, which takes minutes in a large volume; and a copy that nobody needs any more is broken off.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

import structlog

from openevs.engine.errors import EngineError
from openevs.engine.layers import graph
from openevs.engine.layers.core import Core, Volume, run_key
from openevs.engine.layers.daemon import Daemon, RunFiles
from openevs.engine.layers.exports import filter_name, node_name
from openevs.engine.layers.faults import from_qemu, translated
from openevs.engine.layers.graph import LayerId, Merge
from openevs.engine.layers.pool import new_layer_id
from openevs.engine.layers.serving import Serving, job_of

_log = structlog.get_logger()


class Merger:
    """Does the background work of one core, one merge at a time."""

    def __init__(self, core: Core, forget: Callable[[LayerId], Awaitable[None]]) -> None:
        self.core = core
        self._forget = forget
        """Ends the reading of a layer that is about to be written or removed."""
        self.serving = Serving(core, self.release)
        self._noted: dict[LayerId, LayerId] = {}
        """Merges whose copy is whole: upper → lower. They are finished before anything is merged anew."""
        self._failed: dict[Merge, float] = {}
        """When a merge that could not be done may be tried again."""
        self._copy: asyncio.Task[object] | None = None
        self._copying: Merge | None = None
        self._removing: asyncio.Task[None] | None = None
        """Orphans being removed while a copy goes on."""
        self._ended = asyncio.Event()
        self._idle = asyncio.Event()
        self._stopping = False
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to work in the background."""
        self._loop = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Break off what is being done; it is begun anew by the next process."""
        self._stopping = True
        while self._loop is not None and not self._loop.done():
            self.core.bell.set()
            await self._break_off()
            await asyncio.wait({self._loop}, timeout=0.02)
        if self._removing is not None:
            await asyncio.wait({self._removing})

    async def release(self, volume: Volume) -> None:
        """Return when no merge touches the layers of this volume, and we have not its head open ourselves (wants its
        lock held, or its layers reserved)."""
        await self._forget(volume.manifest.head)
        with contextlib.suppress(graph.MissingLayerError):
            await self.release_layers(self.core.chain(volume.manifest.head))
        await self._move_noted()

    async def release_layers(self, layers: Iterable[LayerId]) -> None:
        """Return when no merge touches these layers."""
        merge = self._copying
        if merge is not None and not {merge.lower, merge.upper}.isdisjoint(layers):
            _log.info("merge_broken_off", upper=merge.upper, lower=merge.lower)
            await self._break_off()

    async def settle(self) -> None:
        """Return when a look at everything has found nothing to do."""
        self._idle.clear()
        self.core.bell.set()
        await self._idle.wait()

    async def finish_noted(self) -> None:
        """Go on with the merges whose copy was whole when an earlier process ended."""
        self._noted |= await asyncio.to_thread(self.core.pool.read_merged)
        await self._move_noted()

    async def remove_orphans(self) -> None:
        """Remove the layers that nothing reaches."""
        if self.core.keep_orphans:
            return
        async with self.core.graph.alone():
            found = graph.orphans(self.core.parents, self.core.pinned()) - set(self.core.reserved)
            if self._copying is not None:  # its daemon has all of them open
                found.difference_update(self.core.chain(self._copying.upper))
            for layer in found:
                del self.core.parents[layer]
        for layer in sorted(found):
            _log.info("layer_removed", layer=layer)
            await self._forget(layer)
            await asyncio.to_thread(self.core.pool.remove_layer, layer)

    async def _run(self) -> None:
        while not self._stopping:
            self.core.bell.clear()
            try:
                with translated():
                    while not self._stopping and await self._pass():
                        pass
            except EngineError as error:
                _log.warning("background_work_failed", reason=error.reason)
            if not self.core.bell.is_set():
                self._idle.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.core.settings.merge_retry_seconds):
                    await self.core.bell.wait()

    async def _pass(self) -> bool:
        """Do one thing; say whether there may be more."""
        if self._removing is not None:
            removing, self._removing = self._removing, None
            await removing
        await self.remove_orphans()
        await self._move_noted()
        if not self.core.settings.merge or self.core.keep_orphans:
            return False
        now, tried = time.monotonic(), graph.merges(self.core.parents, self.core.pinned())
        for merge in tried:
            if self._failed.get(merge, 0) <= now and await self._may_begin(merge):
                try:
                    return await self._merge(merge)
                except EngineError as error:
                    self._failed[merge] = now + self.core.settings.merge_retry_seconds
                    _log.warning("merge_failed", upper=merge.upper, lower=merge.lower, reason=error.reason)
                    return True
        self._failed = {merge: at for merge, at in self._failed.items() if merge in tried}
        return False

    def _open_in(self, merge: Merge) -> list[Volume]:
        """Return the served volumes whose chains hold the lower layer (then they hold the upper one too)."""
        return [
            volume
            for volume in self.core.volumes.values()
            if (volume.manifest.export or volume.daemon) and merge.lower in self.core.chain(volume.manifest.head)
        ]

    async def _may_begin(self, merge: Merge) -> bool:
        core, served = self.core, self._open_in(merge)
        if not self._is_free(merge) or len(served) > 1:
            return False
        upper_bytes = await asyncio.to_thread(core.pool.allocated_bytes, merge.upper)
        if served and merge.upper == served[0].manifest.head and upper_bytes < core.settings.merge_head_bytes:
            return False
        _, free_bytes = await asyncio.to_thread(core.pool.room)
        return free_bytes >= upper_bytes + core.settings.merge_reserve_bytes

    def _is_free(self, merge: Merge) -> bool:
        layers = {merge.lower, merge.upper}
        return layers.isdisjoint(self.core.reserved) and layers.isdisjoint({*self._noted, *self._noted.values()})

    async def _merge(self, merge: Merge) -> bool:
        start = time.perf_counter()
        await self._forget(merge.lower)
        if not self._still_due(merge) or not self._is_free(merge):
            return True
        if served := self._open_in(merge):
            done = await self._merge_live(merge, served[0])
        else:
            done = await self._merge_detached(merge)
        if done:
            took_ms = round((time.perf_counter() - start) * 1e3, 1)
            _log.info("layers_merged", upper=merge.upper, lower=merge.lower, live=bool(served), took_ms=took_ms)
        return True

    async def _merge_live(self, merge: Merge, volume: Volume) -> bool:
        async with volume.lock:
            if volume.manifest.export is None or not self._still_due(merge):
                return False
            daemon = await self.serving.ensure_running(volume)
            if merge.upper == volume.manifest.head:
                await self.serving.heads.push(volume, daemon)
                self.serving.tidy(volume)
                return False
            await self.serving.seal(volume)
            job_id = job_of(merge.upper, volume.manifest.volume_id)
            await self._begin_job(merge, daemon, filter_name(volume.manifest.volume_id), job_id)
            copy = self._begin(merge, self._wait_and_lock(volume, daemon, job_id))
        try:
            copied = False
            try:
                copied = await self._copied(copy)
            finally:
                if not copied:
                    await self._cancel_job(daemon, job_id)
            if copied:
                try:  # `_wait_and_lock` has left us the volume's lock
                    await self._finish_live(merge, volume, daemon, job_id)
                finally:
                    volume.lock.release()
        finally:
            self._end()
        return copied

    async def _wait_and_lock(self, volume: Volume, daemon: Daemon, job_id: str) -> None:
        await self.serving.wait_job(daemon, job_id, "pending", "concluded")
        await volume.lock.acquire()

    async def _finish_live(self, merge: Merge, volume: Volume, daemon: Daemon, job_id: str) -> None:
        core, lower = self.core, merge.lower
        job = await self.serving.wait_job(daemon, job_id, "pending", "concluded")
        if job["status"] == "pending":
            await self._flush(daemon, lower)  # finalizing lets the layer above rely on it
            await asyncio.to_thread(core.pool.note_merged, merge.upper, lower)
            self._noted[merge.upper] = lower
            volume.unsure = True
            await daemon.execute("job-finalize", {"id": job_id})
            job = await self.serving.wait_job(daemon, job_id, "concluded")
        await daemon.execute("job-dismiss", {"id": job_id})
        volume.unsure = False
        if "error" in job:
            await asyncio.to_thread(core.pool.forget_merged, merge.upper)
            self._noted.pop(merge.upper, None)
            raise from_qemu(job["error"])
        await asyncio.to_thread(core.reread_parents, core.chain(volume.manifest.head))
        await self.serving.inside.drop_node(daemon, node_name(merge.upper))
        await self._move_noted()

    async def _cancel_job(self, daemon: Daemon, job_id: str) -> None:
        with contextlib.suppress(EngineError):
            await daemon.execute("job-cancel", {"id": job_id})
            await self.serving.wait_job(daemon, job_id, "concluded")
            await daemon.execute("job-dismiss", {"id": job_id})

    async def _merge_detached(self, merge: Merge) -> bool:
        copy = self._begin(merge, self._copy_apart(merge))
        try:
            if not await self._copied(copy):
                return False
            await asyncio.to_thread(self.core.pool.note_merged, merge.upper, merge.lower)
            self._noted[merge.upper] = merge.lower
            await self._move_noted()
        finally:
            self._end()
        return True

    async def _copy_apart(self, merge: Merge) -> None:
        """Copy by a daemon of its own, which is killed when lower is whole and flushed: it changes no header.

        Not `qemu-img commit`: that copies whole clusters, which takes up to 32 times the room, and lets a reader that
        opened lower before see parts of them that upper does not hide."""
        core, top = self.core, new_layer_id()
        key = run_key(core.pool.pool_id, f"m{secrets.token_hex(6)}")
        daemon = Daemon(RunFiles(core.run_folder, key), core.settings)
        # A thread goes on when its caller is cancelled: what it makes can be removed only when it has ended.
        making = asyncio.create_task(asyncio.to_thread(core.pool.create_on, top, merge.upper))
        try:
            await asyncio.shield(making)
            await daemon.spawn(core.chain_words((top, merge.upper, *core.chain(merge.lower))), core.pool.layers)
            await self._begin_job(merge, daemon, node_name(top), "copy")
            job = await self.serving.wait_job(daemon, "copy", "pending", "concluded")
            if "error" in job:
                raise from_qemu(job["error"])
            await self._flush(daemon, merge.lower)
        finally:
            # Being broken off may come now, too; a daemon that is left would keep its lock on lower for ever.
            cleaning = asyncio.create_task(self._clean_up(daemon, top, making))
            try:
                await asyncio.shield(cleaning)
            except asyncio.CancelledError:
                await asyncio.wait({cleaning})
                raise

    async def _clean_up(self, daemon: Daemon, top: LayerId, making: asyncio.Task[None]) -> None:
        await asyncio.wait({making})
        await daemon.discard()
        await asyncio.to_thread(self.core.pool.remove_layer, top)

    async def _begin_job(self, merge: Merge, daemon: Daemon, device: str, job_id: str) -> None:
        await daemon.execute("block-commit", {
            "job-id": job_id, "device": device, "auto-finalize": False, "auto-dismiss": False,
            "top-node": node_name(merge.upper), "base-node": node_name(merge.lower),
            "backing-file": self.core.pool.layer_path(merge.lower).name,
        })  # fmt: skip

    async def _flush(self, daemon: Daemon, lower: LayerId) -> None:
        """Put what the job wrote to `lower` on stable storage, before anything relies on it.

        QMP has no flush. Opening a node anew, with the options it has, does flush it."""
        options = self.core.node(lower, writable=True, backing=self.core.parents[lower])
        await daemon.execute("blockdev-reopen", {"options": [options]})

    async def _move_noted(self) -> None:
        """Let everything that points at a merged layer point at the one that took its place."""
        for upper, lower in list(self._noted.items()):
            async with self.core.graph.alone():
                if upper in self._noted and not self._is_open(upper):
                    await self._move(upper, lower)

    async def _move(self, upper: LayerId, lower: LayerId) -> None:
        core = self.core
        if upper in core.parents:
            for layer in [layer for layer, parent in core.parents.items() if parent == upper]:
                await asyncio.to_thread(core.pool.replace_parent, layer, lower)
                core.parents[layer] = lower
            for volume in (*core.volumes.values(), *core.released.values()):
                if upper in volume.manifest.layers():
                    moved = volume.manifest.moved(upper, lower)
                    await core.commit(
                        volume,
                        head=moved.head,
                        snapshots=moved.snapshots,
                        released_snapshots=moved.released_snapshots,
                    )
            del core.parents[upper]
        await self._forget(upper)
        await asyncio.to_thread(core.pool.remove_layer, upper)
        del self._noted[upper]

    def _is_open(self, layer: LayerId) -> bool:
        """Say whether a daemon has the layer in its chain: it would write its own idea of the header above it."""
        return any(
            layer in self.core.chain(volume.manifest.head)
            for volume in self.core.volumes.values()
            if volume.daemon and volume.daemon.alive() and not volume.shut
        )

    def _still_due(self, merge: Merge) -> bool:
        return merge in graph.merges(self.core.parents, self.core.pinned())

    def _begin(self, merge: Merge, copy: Coroutine[Any, Any, object]) -> asyncio.Task[object]:
        self._copying, self._copy = merge, asyncio.create_task(copy)
        self._copy.add_done_callback(lambda _: self.core.bell.set())
        self._removing = asyncio.create_task(self._remove_meanwhile(merge, self._copy))
        self._ended.clear()
        return self._copy

    async def _remove_meanwhile(self, merge: Merge, copy: asyncio.Task[object]) -> None:
        """Until the copy ends, remove what nothing reaches; break it off if that is true of what is copied.

        Whoever breaks the copy off does not wait for this."""
        while not copy.done():  # its end rings, but who looks at everything may have turned that off
            await self.core.bell.wait()
            if copy.done():
                return
            self.core.bell.clear()  # the pass after this merge looks at everything again
            if self._still_due(merge):
                await self.remove_orphans()
            elif not copy.cancelling():
                _log.info("merge_broken_off", upper=merge.upper, lower=merge.lower)
                copy.cancel()

    async def _copied(self, copy: asyncio.Task[object]) -> bool:
        """Wait for the copy; say whether it is whole (not: broken off). Raises what the copy raised."""
        await asyncio.wait({copy})
        if copy.cancelled():
            return False
        copy.result()
        return True

    def _end(self) -> None:
        self._copying = self._copy = None
        self._ended.set()

    async def _break_off(self) -> None:
        if self._copy is not None:
            if not self._copy.cancelling():  # a second time would cut its cleaning up short
                self._copy.cancel()
            await self._ended.wait()
