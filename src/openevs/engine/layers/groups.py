"""Group snapshots: several volumes frozen at one instant, all or none.

The commit point is one file, the record: the manifests that all the volumes are to have. It is written before the cut,
as a manifest is before the cut of one; then the volumes that are served are cut by one command of the daemon that they
share, while the locks of all of them are held. From the record on, memory has the new manifests. Each is written to its
own place later, in the background; then the record goes. Who opens the pool puts the manifests of a record in place,
unless there are newer ones, and makes up for a cut that was not made: of all volumes of the group, by one command.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

import structlog
from msgspec.structs import replace

from openevs.engine.errors import EngineError, Mismatch, OutcomeUnknown, Transient
from openevs.engine.layers.core import Volume
from openevs.engine.layers.cut import Cost, Cut, aimed, cut, flushing
from openevs.engine.layers.daemon import Daemon
from openevs.engine.layers.facts import snapshot_facts
from openevs.engine.layers.faults import translated
from openevs.engine.layers.graph import LayerId
from openevs.engine.layers.manifest import Manifest, Record, Snapshot
from openevs.engine.layers.merge import Merger
from openevs.engine.layers.snapshots import Snapshots
from openevs.engine.port import SnapshotFacts, SnapshotSpec

_log = structlog.get_logger()


class Groups:
    """The method of the contract that freezes groups."""

    def __init__(self, merger: Merger, snapshots: Snapshots) -> None:
        self._core = merger.core
        self._merger = merger
        self._serving = merger.serving
        self._heads = merger.serving.heads
        self._snapshots = snapshots
        self._placing: set[asyncio.Task[None]] = set()

    async def ensure(self, specs: Sequence[SnapshotSpec]) -> list[SnapshotFacts]:
        """Freeze the volumes, unless they are frozen already."""
        core = self._core
        for spec in specs:
            self._snapshots.check_owner(spec)
        if len({spec.snapshot_id for spec in specs}) < len(specs) or len({s.volume_id for s in specs}) < len(specs):
            raise Mismatch("a group snapshot takes each volume, and each id, once")
        async with AsyncExitStack() as locks:
            for volume_id in sorted(spec.volume_id for spec in specs):  # one order for all who take several
                await locks.enter_async_context(core.lock_of(volume_id))
            volumes = [core.volume(spec.volume_id) for spec in specs]
            group = _name(specs)
            if specs and not self._is_there(specs, volumes, group):
                await self._take(specs, volumes, group)
            for volume in volumes:
                if group in volume.manifest.pending_groups():
                    await self._serving.see_cut(volume)
            return [
                snapshot_facts(volume.manifest, spec.snapshot_id) for spec, volume in zip(specs, volumes, strict=True)
            ]

    async def settle(self) -> None:
        """Return when the manifests of all records are in their places, or could not be put there."""
        while self._placing:
            await asyncio.wait(set(self._placing))

    def _is_there(self, specs: Sequence[SnapshotSpec], volumes: Sequence[Volume], group: str) -> bool:
        found = [volume.manifest.snapshots.get(spec.snapshot_id) for spec, volume in zip(specs, volumes, strict=True)]
        there = [snapshot for snapshot in found if snapshot is not None]
        if any(snapshot.group != group for snapshot in there) or 0 < len(there) < len(specs):
            raise Mismatch("some of the snapshots are there already, and not of one moment with the others")
        return bool(there)

    async def _take(self, specs: Sequence[SnapshotSpec], volumes: Sequence[Volume], group: str) -> None:
        served = [volume for volume in volumes if volume.manifest.export is not None]
        self._check_together(served)
        for volume in volumes:
            await self._serving.see_cut(volume)
        for last in (False, True):
            daemon = None
            process = None
            try:
                for volume in served:
                    daemon = await self._serving.ensure_running(volume)
                process = daemon.pid if daemon else None
                for volume in volumes:
                    await self._merger.release(volume)
                if not self._is_there(specs, volumes, group):
                    await self._freeze(specs, volumes, group, daemon)
            except (Transient, OutcomeUnknown):
                if last or daemon is None or not await daemon.has_ended(process):
                    raise
            else:
                return

    def _check_together(self, served: Sequence[Volume]) -> None:
        keys = {self._core.files_of(volume.manifest).key for volume in served}
        if len(keys) > 1:
            names = sorted(volume.manifest.volume_id for volume in served)
            raise Mismatch(f"volumes are in use that are not served together: {', '.join(names)}", found=tuple(names))

    async def _freeze(
        self, specs: Sequence[SnapshotSpec], volumes: Sequence[Volume], group: str, daemon: Daemon | None
    ) -> None:
        core, was, cost = self._core, [volume.manifest for volume in volumes], None
        probes = [await self._heads.probe(volume) for volume in volumes if volume.manifest.export is not None]
        async with AsyncExitStack() as until_cut:
            async with flushing(probes), core.graph.shared(), self._next_heads(volumes, daemon) as heads:
                made = _next_manifests(specs, was, heads, group, cut_pending=daemon is not None)
                cuts = [Cut(old, new.head) for old, new in zip(was, made, strict=True) if old.export is not None]
                order = await until_cut.enter_async_context(aimed(daemon, cuts)) if daemon is not None else None
                unknown = await core.write_record(Record(group, made))
                for volume, manifest in zip(volumes, made, strict=True):
                    core.adopt(volume, manifest)
                    volume.spare, volume.unsure, volume.dirty = None, True, True
            if unknown is not None:
                self._place(group, volumes)
                raise unknown
            if order is not None:
                try:
                    cost = await cut(order, next((probe for probe in probes if probe), None))
                except OutcomeUnknown:
                    raise
                except EngineError as error:
                    await self._take_back(volumes, was, group, error)
                    raise
                for volume, old in zip(volumes, was, strict=True):
                    self._note(volume, old, group, cost)
        self._place(group, volumes)
        _log.info("group_cut", volumes=len(volumes), cut_ms=cost and cost.cut_ms, stall_ms=cost and cost.stall_ms)

    @asynccontextmanager
    async def _next_heads(self, volumes: Sequence[Volume], daemon: Daemon | None) -> AsyncIterator[list[LayerId]]:
        """Make an empty layer on each volume's head, open in the daemon if the volume is served."""
        async with AsyncExitStack() as made:
            yield [await made.enter_async_context(self._next_head(volume, daemon)) for volume in volumes]

    @asynccontextmanager
    async def _next_head(self, volume: Volume, daemon: Daemon | None) -> AsyncIterator[LayerId]:
        core, now = self._core, volume.manifest
        core.chain(now.head)
        if now.export is None or daemon is None:
            async with core.fresh_layer(now.size_bytes, now.head) as head:
                yield head
            return
        head = await self._heads.next_head(volume, daemon, now.size_bytes)
        core.parents[head] = now.head
        try:
            yield head
        finally:
            if volume.manifest.head != head:
                del core.parents[head]

    def _note(self, volume: Volume, was: Manifest, group: str, cost: Cost) -> None:
        """Note what the cut took. The stall is that of one client: the daemon holds all of them up alike."""
        served = volume.manifest.export is not None
        cut_ms, stall_ms = (cost.cut_ms, cost.stall_ms) if served else (None, None)
        if served:
            self._core.host_of(volume).unsealed.add(was.head)
        volume.manifest = replace(
            volume.manifest,
            snapshots={
                key: replace(value, cut_pending=False, cut_ms=cut_ms, stall_ms=stall_ms)
                if value.group == group and value.cut_pending
                else value
                for key, value in volume.manifest.snapshots.items()
            },
        )
        volume.unsure = False

    async def _take_back(
        self, volumes: Sequence[Volume], was: Sequence[Manifest], group: str, error: EngineError
    ) -> None:
        """Let all be as before, if the daemon has refused: it has cut none then."""
        for volume, old in zip(volumes, was, strict=True):
            if old.export is not None and not await self._heads.has_kept(volume, old):
                return
        for volume, old in zip(volumes, was, strict=True):
            await self._heads.take_back(volume, old)
        await asyncio.to_thread(self._core.pool.remove_record, group)
        _log.warning("group_cut_refused", volumes=len(volumes), reason=error.reason)

    def _place(self, group: str, volumes: Sequence[Volume]) -> None:
        task = asyncio.create_task(self._put_in_place(group, volumes))
        self._placing.add(task)
        task.add_done_callback(self._placing.discard)

    async def _put_in_place(self, group: str, volumes: Sequence[Volume]) -> None:
        try:
            with translated():
                for volume in volumes:
                    async with volume.lock:
                        if self._core.volumes.get(volume.manifest.volume_id) is volume:
                            await self._serving.write_facts(volume)
                            if volume.manifest.export is not None:
                                self._serving.tidy(volume)
                await asyncio.to_thread(self._core.pool.remove_record, group)
                self._core.bell.set()  # not at the cut: looking at every layer takes a while
        except EngineError as error:  # the record stays, and says the same
            _log.warning("group_not_put_in_place", group=group, reason=error.reason)


def _next_manifests(
    specs: Sequence[SnapshotSpec], was: Sequence[Manifest], heads: Sequence[LayerId], group: str, *, cut_pending: bool
) -> list[Manifest]:
    """Return what the volumes' manifests are to be, of one moment."""
    moment, made = datetime.now(UTC), []
    for spec, now, head in zip(specs, was, heads, strict=True):
        taken = Snapshot(now.head, now.size_bytes, moment, dict(spec.labels), cut_pending=cut_pending, group=group)
        snapshots = {**now.snapshots, spec.snapshot_id: taken}
        made.append(replace(now, head=head, snapshots=snapshots, generation=now.generation + 1))
    return made


def _name(specs: Sequence[SnapshotSpec]) -> str:
    """Return the group's name: the same for the same snapshots, in whatever order."""
    return hashlib.sha256("\n".join(sorted(spec.snapshot_id for spec in specs)).encode()).hexdigest()[:32]
