"""What a storage daemon has open of a volume, and how it gets in and out, while others are served by the same daemon:

    layers ◄── head ◄── throttle filter ◄── NBD export

A layer is open once, however many volumes hang on it. The filter is there without limits too, since none can be put in
under a client. The names of filter, limits and export are made from the volume's id; that of a layer from the layer's.
"""

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Final

from openevs.engine.errors import Broken, EngineError, OutcomeUnknown, Transient
from openevs.engine.layers import aio
from openevs.engine.layers.core import Core, Volume
from openevs.engine.layers.daemon import Daemon
from openevs.engine.layers.exports import (
    export_id,
    export_options,
    file_name,
    filter_name,
    filter_options,
    limits_id,
    node_name,
    qemu_limits,
)
from openevs.engine.layers.graph import LayerId, MissingLayerError
from openevs.engine.layers.host import Host
from openevs.engine.port import Limits

_POLL_SECONDS: Final = 0.002


class Inside:
    """Looks into daemons, and opens and closes. What changes layers wants `host.lock` held."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def is_exported(self, volume: Volume, daemon: Daemon) -> bool:
        """Say whether clients can see the volume."""
        wanted = export_id(volume.manifest.volume_id)
        return any(export["id"] == wanted for export in await daemon.execute("query-block-exports"))

    async def active(self, volume: Volume, daemon: Daemon) -> str | None:
        """Return the name of the node that the volume's clients write to; None if none is open."""
        graph = await daemon.execute("x-debug-query-block-graph")
        names = {node["id"]: str(node["name"]) for node in graph["nodes"]}
        wanted = filter_name(volume.manifest.volume_id)
        for edge in graph["edges"]:
            if edge["name"] == "file" and names.get(edge["parent"]) == wanted:
                return names[edge["child"]]
        return None

    async def open(self, volume: Volume, host: Host, chain: tuple[LayerId, ...]) -> None:
        """Open the chain and serve it; what is open already stays. Raises Broken naming the layer."""
        daemon, made = host.daemon, volume.manifest
        there = await self._nodes(daemon)
        if filter_name(made.volume_id) in there:  # somebody got half-way
            await daemon.execute("blockdev-del", {"node-name": filter_name(made.volume_id)})
        writable = made.export is not None and not made.export.read_only
        for layer, below in reversed(list(zip(chain, (*chain[1:], None), strict=True))):
            if node_name(layer) not in there:
                await self.add_node(daemon, layer, writable=writable and layer == chain[0], backing=below)
        limits = {"qom-type": "throttle-group", "id": limits_id(made.volume_id)}
        if limits["id"] not in await self._objects(daemon):
            await daemon.execute("object-add", limits)
        await self.limit(volume, daemon, made.export.limits if made.export else Limits())
        await daemon.execute("blockdev-add", filter_options(made, made.head))
        await daemon.execute("block-export-add", export_options(made))

    async def close(self, volume: Volume, host: Host) -> None:
        """Serve the volume no more, and close what no other needs. Raises Transient if its head cannot be closed."""
        daemon, volume_id = host.daemon, volume.manifest.volume_id
        if await self.is_exported(volume, daemon):
            await daemon.execute("block-export-del", {"id": export_id(volume_id), "mode": "hard"})
            await self._wait_unexported(volume, daemon)
        if filter_name(volume_id) in await self._nodes(daemon):
            await daemon.execute("blockdev-del", {"node-name": filter_name(volume_id)})
        if limits_id(volume_id) in await self._objects(daemon):
            await daemon.execute("object-del", {"id": limits_id(volume_id)})
        await self.trim(host, leaving=volume)
        if node_name(volume.manifest.head) in await self._nodes(daemon):
            raise Transient(f"the storage daemon has not let go of volume {volume_id} yet")

    async def unexport_if_idle(self, volume: Volume, daemon: Daemon) -> bool:
        """Take the volume out of clients' sight if none is connected, and say whether that was so."""
        try:
            await daemon.execute("block-export-del", {"id": export_id(volume.manifest.volume_id), "mode": "safe"})
        except OutcomeUnknown:
            volume.unsure = True
            raise
        except EngineError:  # somebody is connected
            return False
        volume.unsure = True
        await self._wait_unexported(volume, daemon)
        return True

    async def export_anew(self, volume: Volume, daemon: Daemon) -> None:
        """Bring the volume back into sight, with the size it has: a filter knows only that of when it was made."""
        made = volume.manifest
        await daemon.execute("blockdev-del", {"node-name": filter_name(made.volume_id)})
        await daemon.execute("blockdev-add", filter_options(made, made.head))
        await daemon.execute("block-export-add", export_options(made))
        volume.unsure = False

    async def limit(self, volume: Volume, daemon: Daemon, limits: Limits) -> None:
        """Let the volume's clients do so much from now on."""
        path = f"/objects/{limits_id(volume.manifest.volume_id)}"
        await daemon.execute("qom-set", {"path": path, "property": "limits", "value": qemu_limits(limits)})

    async def add_node(self, daemon: Daemon, layer: LayerId, *, writable: bool, backing: LayerId | None = None) -> None:
        """Open one layer."""
        try:
            await self._add_file(daemon, layer)
            try:
                await daemon.execute("blockdev-add", self._core.node(layer, writable=writable, backing=backing))
            except EngineError:
                await self._drop(daemon, file_name(node_name(layer)))
                raise
        except Broken as error:
            raise Broken(f"layer {self._core.pool.layer_path(layer).name}: {error.reason}") from error

    async def _add_file(self, daemon: Daemon, layer: LayerId) -> None:
        options = self._core.file_node(layer)
        if daemon.native_io is None:
            daemon.native_io = self._core.direct and self._core.settings.native_io and aio.has_room()
        if daemon.native_io:
            try:
                await daemon.execute("blockdev-add", {**options, "aio": "native"})
            except EngineError as error:
                if not aio.was_refused(error):
                    raise
                daemon.native_io = False
            else:
                return
        await daemon.execute("blockdev-add", options)

    async def drop_node(self, daemon: Daemon, node: str) -> None:
        """Close one layer, or what is left of it. Raises Transient if something uses it."""
        await daemon.execute("blockdev-del", {"node-name": node})
        await self._drop(daemon, file_name(node))

    async def open_heads(self, daemon: Daemon, layers: Iterable[LayerId]) -> None:
        """Open those of the layers that are not, each on its parent, which is open."""
        there = await self._nodes(daemon)
        for layer in layers:
            if node_name(layer) not in there:
                await self.add_node(daemon, layer, writable=True, backing=self._core.parents[layer])

    async def trim(self, host: Host, leaving: Volume | None = None) -> None:
        """Close the layers that are in no chain: what an earlier process had prepared or merged, or what is left; and
        note which of the others were frozen and are not sealed."""
        wanted: set[str] = set()
        frozen: dict[str, LayerId] = {}
        for volume in self._core.guests(host):
            if volume is leaving:
                continue
            with contextlib.suppress(MissingLayerError):
                chain = self._core.chain(volume.manifest.head)
                wanted |= {node_name(layer) for layer in chain}
                frozen |= {node_name(layer): layer for layer in chain[1:]}
            if volume.spare:
                wanted.add(node_name(volume.spare))
        there = await self._nodes(host.daemon)
        host.unsealed = {frozen[name] for name, writable in there.items() if writable and name in frozen}
        left = [name for name in there if name.startswith("l") and name not in wanted]
        while left:
            before = len(left)
            for name in reversed(left):  # opened from the lowest up
                with contextlib.suppress(EngineError):
                    await self.drop_node(host.daemon, name)
                    left.remove(name)
            if len(left) == before:
                return
        for name in there:  # of a layer that was not opened, or was closed, to the end
            if name.startswith("f") and "l" + name[1:] not in there:
                await self._drop(host.daemon, name)

    async def _wait_unexported(self, volume: Volume, daemon: Daemon) -> None:
        """An export is gone when its last request is."""
        try:
            async with asyncio.timeout(self._core.settings.qmp_timeout_seconds):
                while await self.is_exported(volume, daemon):  # noqa: ASYNC110  # another process gives us no event
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise Transient("the storage daemon has not ended a volume's last request yet") from None

    async def _drop(self, daemon: Daemon, file: str) -> None:
        with contextlib.suppress(Transient):  # it is not there
            await daemon.execute("blockdev-del", {"node-name": file})

    async def _nodes(self, daemon: Daemon) -> dict[str, bool]:
        """Return the names of what is open, in the order of opening, and whether each may be written."""
        found = await daemon.execute("query-named-block-nodes", {"flat": True})
        return {str(node["node-name"]): not node["ro"] for node in found}

    async def _objects(self, daemon: Daemon) -> set[str]:
        there = {str(item["name"]) for item in await daemon.execute("qom-list", {"path": "/"})}
        if "objects" not in there:  # until the first is made
            return set()
        return {str(item["name"]) for item in await daemon.execute("qom-list", {"path": "/objects"})}
