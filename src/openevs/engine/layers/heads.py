"""Heads of served volumes: the next one kept ready, put on top of the present one, and missing ones made up for.

The manifest is written before the daemon is told, so the daemon may be behind: its active layer is then below the
manifest's head, with empty layers between, and the cut is made up for. Those of a group are made by one command.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

import msgspec
import structlog

from openevs.engine.errors import EngineError, OutcomeUnknown
from openevs.engine.layers.core import Core, Volume
from openevs.engine.layers.cut import Cost, Cut, aimed, cut, flushing
from openevs.engine.layers.daemon import Daemon
from openevs.engine.layers.exports import facts, node_name
from openevs.engine.layers.graph import LayerId
from openevs.engine.layers.host import Host
from openevs.engine.layers.inside import Inside
from openevs.engine.layers.manifest import Manifest
from openevs.engine.layers.pool import new_layer_id
from openevs.engine.nbd import NbdClient

_log = structlog.get_logger()
_LOOK_SECONDS: Final = 0.01


class Heads:
    """Methods want `volume.lock` held."""

    def __init__(self, core: Core, inside: Inside, release: Callable[[Volume], Awaitable[None]]) -> None:
        self._core = core
        self._inside = inside
        self._release = release
        self._cut_at: dict[str, datetime] = {}
        """When a group's cut was made up for."""

    async def next_head(self, volume: Volume, daemon: Daemon, size_bytes: int) -> LayerId:
        """Return an empty layer on top of the volume's head, open in the daemon, with no client; made unless there."""
        if volume.spare is None:
            layer, head = new_layer_id(), volume.manifest.head
            await asyncio.to_thread(self._core.pool.create_layer, layer, size_bytes, head)
            volume.spare = layer  # before it is open, or whoever closes what nobody wants may close it
            try:
                await self._inside.add_node(daemon, layer, writable=True, backing=head)
            except BaseException:
                await self.drop_spare_file(volume)
                raise
        return volume.spare

    async def drop_spare(self, volume: Volume, daemon: Daemon) -> None:
        """Forget the prepared head: the volume's size has changed."""
        if volume.spare is not None:
            await self._inside.drop_node(daemon, node_name(volume.spare))
            await self.drop_spare_file(volume)

    async def drop_spare_file(self, volume: Volume) -> None:
        """Forget the prepared head, which no daemon has open any more."""
        spare, volume.spare = volume.spare, None
        if spare is not None:
            await asyncio.to_thread(self._core.pool.remove_layer, spare)

    async def push(
        self, volume: Volume, daemon: Daemon, change: Callable[[Manifest], Manifest] = lambda made: made
    ) -> Cost:
        """Freeze the head: commit the next head and `change`, then cut.

        If the daemon refuses, all is as before; if its answer is unknown, the cut is made when it is next reached."""
        was = volume.manifest
        new, old = await self.next_head(volume, daemon, change(was).size_bytes), was.head
        probe = await self.probe(volume)
        async with aimed(daemon, [Cut(was, new)]) as order:
            async with flushing([probe]), self._core.graph.shared():  # the volume and the manifest at the same time
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
                cost = await cut(order, probe)
            except OutcomeUnknown:
                raise
            except EngineError as error:
                if await self.has_kept(volume, was):
                    await self.take_back(volume, was)
                    _log.warning("cut_refused", volume_id=was.volume_id, reason=error.reason)
                raise
        volume.unsure = False
        self._core.host_of(volume).unsealed.add(old)
        return cost

    async def has_kept(self, volume: Volume, was: Manifest) -> bool:
        """Say whether the daemon has refused a cut: it answers, and writes to the head that there was. Else the cut is
        made when it is reached, or by its death."""
        daemon = volume.daemon
        if daemon is None or not daemon.connected:
            return False
        return await self._inside.active(volume, daemon) == node_name(was.head)

    async def take_back(self, volume: Volume, was: Manifest) -> None:
        """Let all be as before a cut that was refused; the new head is the spare one of a volume that is served."""
        core, new = self._core, volume.manifest.head
        async with core.graph.shared():
            # Where a merge may have put what was frozen meanwhile.
            head = core.parents[new] or was.head
            left = {key: value for key, value in volume.manifest.snapshots.items() if key in was.snapshots}
            if was.export is not None:
                volume.spare = new
            await core.commit(volume, head=head, snapshots=left, size_bytes=was.size_bytes)
            del core.parents[new]
            if was.export is None:
                await asyncio.to_thread(core.pool.remove_layer, new)
        volume.unsure = False

    async def make_up(self, volume: Volume, host: Host) -> datetime | None:
        """Make the cuts that the manifest says were made and the daemon has not made, with those of all volumes that
        are to be cut at the same instant; return that instant, or None if none was missing.

        Wants `host.lock` held; that each volume concerned is `unsure` keeps its own calls from cutting meanwhile."""
        groups = volume.manifest.pending_groups()
        cuts: list[Cut] = []
        frozen: set[LayerId] = set()
        for each in self._core.guests(host):
            if each is volume or groups & each.manifest.pending_groups():
                missing = await self._missing(each, host.daemon)
                await self._inside.open_heads(host.daemon, missing)
                cuts += [Cut(each.manifest, head) for head in missing[-1:]]
                frozen |= {below for head in missing if (below := self._core.parents[head]) is not None}
        if cuts:
            async with aimed(host.daemon, cuts) as order:
                await cut(order, None)
            host.unsealed |= frozen
            self._cut_at |= dict.fromkeys(groups, datetime.now(UTC))
        made_up = [self._cut_at[group] for group in groups if group in self._cut_at]
        return max(made_up) if made_up else datetime.now(UTC) if cuts else None

    async def _missing(self, volume: Volume, daemon: Daemon) -> list[LayerId]:
        """Return the layers, from the lowest up, that are to be above what the volume's clients write to."""
        chain = self._core.chain(volume.manifest.head)
        names = [node_name(layer) for layer in chain]
        active = await self._inside.active(volume, daemon)
        if active not in names:  # not open: it will be opened with its head
            return []
        return list(chain[: names.index(active)][::-1])

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

    async def show_size(self, volume: Volume, daemon: Daemon, patience_seconds: float = 0.0) -> None:
        """Export the volume anew, so that clients that connect from now on see its size.

        An export's size is fixed when it is made, and NBD cannot tell a client of another: as long as one is connected,
        all see the old size. Nobody is cut off for it."""
        await self.close_probe(volume)
        give_up = time.monotonic() + patience_seconds
        while volume.outgrown:
            if await self._inside.unexport_if_idle(volume, daemon):
                # Only now: whoever is connected for long would else keep merges from ever being done.
                await self._release(volume)
                await self._inside.export_anew(volume, daemon)
                volume.outgrown = False
            elif time.monotonic() > give_up:
                return
            else:
                await asyncio.sleep(_LOOK_SECONDS)

    async def probe(self, volume: Volume) -> NbdClient | None:
        """Return a connection to measure stalls with, if the volume has one."""
        export = volume.manifest.export
        if not self._core.settings.probe or volume.outgrown or export is None or export.transport != "unix":
            return None
        if volume.probe is None or volume.probe.lost:
            await self.close_probe(volume)
            uri = facts(volume.manifest.volume_id, export, self._core.files_of(volume.manifest)).uri
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(1):
                    volume.probe = await NbdClient.connect(uri)
        return volume.probe

    async def close_probe(self, volume: Volume) -> None:
        """Close that connection."""
        probe, volume.probe = volume.probe, None
        if probe is not None:
            await probe.close()
