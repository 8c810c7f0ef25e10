"""What is nobody's: volumes and snapshots that were let go, and files that an administrator has put into the pool.

    released volume     its manifest moves to another folder; its layers stay pinned
    released snapshot   moves within the manifest of its volume, from `snapshots` to `released_snapshots`
    incoming file       a raw or qcow2 file; it is copied into a layer when it is adopted, and then removed

Each commits by one write of one manifest. Between that and the removal of what was there before there may be both; then
a manifest of `released` counts before one of `volumes`, unless one of `volumes` says that it was adopted from it. Ids
are never used again, so nothing else can have the same one.
"""

import asyncio
import json
import os
import re
import stat
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import structlog

from openevs import durable
from openevs.domain.ids import SnapshotId, VolumeId
from openevs.engine.errors import Busy, Mismatch, Transient
from openevs.engine.layers import qcow2, tool
from openevs.engine.layers.core import Core, Volume
from openevs.engine.layers.facts import snapshot_facts, volume_facts
from openevs.engine.layers.graph import LayerId
from openevs.engine.layers.manifest import Manifest
from openevs.engine.layers.merge import Merger
from openevs.engine.layers.pool import new_layer_id
from openevs.engine.layers.reads import Readers
from openevs.engine.layers.snapshots import Snapshots
from openevs.engine.port import SnapshotFacts, SnapshotSpec, Stray, VolumeFacts, VolumeSpec

_log = structlog.get_logger()
INCOMING: Final = "incoming/"
"""What the names of incoming files begin with."""
_FILE_NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]{0,200}", re.ASCII)
_TAKEN: Final = ".taken-"
"""What the name of a file begins with whose adoption has begun; the id of its volume follows."""
_QCOW2: Final = b"QFI\xfb"
_HEAD: Final = struct.Struct(">4xIQI4xQ")
"""Of a qcow2 file: version, where the name of its backing file is, (its length), size."""
_FEATURES: Final = struct.Struct(">Q")
_FEATURES_AT: Final = 72
_EXTERNAL_DATA: Final = 1 << 2
_SECTOR: Final = 512


@dataclass(frozen=True, slots=True)
class Incoming:
    """An incoming file, as it says it is."""

    format: str
    size_bytes: int
    unsafe: str | None = None


class Strays:
    """The methods of the power `Adopts`."""

    def __init__(self, merger: Merger, readers: Readers, snapshots: Snapshots) -> None:
        self._core = merger.core
        self._merger = merger
        self._readers = readers
        self._snapshots = snapshots

    async def listed(self) -> Sequence[Stray]:
        """Return everything that can be adopted."""
        core = self._core
        found = [
            Stray(str(volume.manifest.released), "volume", volume.manifest.size_bytes)
            for volume in core.released.values()
        ]
        for volume_id, volume in core.volumes.items():
            for name, snapshot in volume.manifest.released_snapshots.items():
                found.append(Stray(name, "snapshot", snapshot.size_bytes, volume_id))
        for name, file in (await asyncio.to_thread(_read_incoming, core)).items():
            found.append(Stray(INCOMING + name, "volume", file.size_bytes, unsafe=file.unsafe))
        return sorted(found, key=lambda stray: stray.name)

    async def release(self, volume_id: VolumeId, name: str) -> None:
        """Let a volume go; or, if one was being made of an incoming file, let the file be what it was."""
        core = self._core
        async with core.lock_of(volume_id):
            if (volume := core.volumes.get(volume_id)) is None:
                if volume_id in core.released:  # an earlier call may not have got as far as removing it
                    await asyncio.to_thread(core.pool.remove_manifest, volume_id)
                await asyncio.to_thread(_put_back, core, volume_id, name)
                return
            if volume.manifest.snapshots:
                raise Busy(f"volume {volume_id} has snapshots", by=tuple(sorted(volume.manifest.snapshots)))
            if volume.manifest.export is not None or volume.daemon is not None:
                raise Busy(f"volume {volume_id} is exported", by=(volume_id,))
            if self._released(name) is not None:
                raise Mismatch(f"there is another stray called {name}")
            await self._readers.drop(volume.manifest.head)
            await self._merger.release(volume)
            async with core.graph.shared():
                old = volume.manifest
                made = msgspec.structs.replace(old, released=name, generation=old.generation + 1)

                def note() -> None:
                    del core.volumes[volume_id]
                    core.keep(made)

                await core.replace(old, made, note)
            _log.info("volume_released", volume_id=volume_id, name=name)

    async def adopt(self, spec: VolumeSpec, name: str) -> VolumeFacts:
        """Make a volume of a stray."""
        core = self._core
        core.pool.check_name(spec.volume_id)
        async with core.lock_of(spec.volume_id):
            if (present := core.volumes.get(spec.volume_id)) is not None:
                _check_size(name, spec, present.manifest.size_bytes)
                await asyncio.to_thread(_forget_source, core, present.manifest)
                return volume_facts(present.manifest)
            found = self._released(name)  # under a file's name too: if it was taken over, and that was taken back
            if name.startswith(INCOMING) and (found is None or _taken_path(core, spec.volume_id).exists()):
                return await self._adopt_file(spec, name.removeprefix(INCOMING))
            if found is None:
                raise Mismatch(f"there is no stray volume {name}", expected=name)
            async with core.lock_of(found.manifest.volume_id):
                if core.released.get(found.manifest.volume_id) is not found:
                    raise Mismatch(f"there is no stray volume {name}", expected=name)
                return await self._adopt_released(spec, found)

    async def release_snapshot(self, snapshot_id: SnapshotId, name: str) -> None:
        """Let a snapshot go."""
        core = self._core
        if (owner := core.owners.get(snapshot_id)) is None:
            return
        await self._snapshots.inspect(snapshot_id)  # its cut is made, if it was not known to be
        async with core.lock_of(owner), core.graph.shared():
            volume = core.volumes.get(owner)
            taken = volume.manifest.snapshots.get(snapshot_id) if volume else None
            if volume is None or taken is None:
                return
            if any(name in each.manifest.released_snapshots for each in core.volumes.values()):
                raise Mismatch(f"there is another stray called {name}")
            left = {key: value for key, value in volume.manifest.snapshots.items() if key != snapshot_id}
            kept = {**volume.manifest.released_snapshots, name: taken}
            await core.commit(volume, snapshots=left, released_snapshots=kept)
        _log.info("snapshot_released", snapshot_id=snapshot_id, name=name)

    async def adopt_snapshot(self, spec: SnapshotSpec, name: str) -> SnapshotFacts:
        """Make a snapshot of a stray."""
        core = self._core
        self._snapshots.check_owner(spec)
        async with core.lock_of(spec.volume_id), core.graph.shared():
            volume = core.volume(spec.volume_id)
            if spec.snapshot_id not in volume.manifest.snapshots:
                taken = volume.manifest.released_snapshots.get(name)
                if taken is None:
                    raise Mismatch(f"volume {spec.volume_id} has no stray snapshot {name}", expected=name)
                left = {key: value for key, value in volume.manifest.released_snapshots.items() if key != name}
                made = msgspec.structs.replace(taken, labels=dict(spec.labels))
                every = {**volume.manifest.snapshots, spec.snapshot_id: made}
                await core.commit(volume, snapshots=every, released_snapshots=left)
            return snapshot_facts(volume.manifest, spec.snapshot_id)

    # Parts of the above; they want the locks held

    def _released(self, name: str) -> Volume | None:
        return next((one for one in self._core.released.values() if one.manifest.released == name), None)

    async def _adopt_released(self, spec: VolumeSpec, found: Volume) -> VolumeFacts:
        core = self._core
        _check_size(str(found.manifest.released), spec, found.manifest.size_bytes)
        await self._merger.release(found)
        async with core.graph.shared():
            old = found.manifest
            made = msgspec.structs.replace(
                old,
                volume_id=spec.volume_id,
                labels=dict(spec.labels),
                applied_token=0,
                released=None,
                adopted_from=old.volume_id,
                generation=old.generation + 1,
            )

            def note() -> None:
                del core.released[old.volume_id]
                core.add(made)

            await core.replace(old, made, note)
        _log.info("volume_adopted", volume_id=spec.volume_id, name=old.released)
        return volume_facts(made)

    async def _adopt_file(self, spec: VolumeSpec, name: str) -> VolumeFacts:
        core = self._core
        taken = await asyncio.to_thread(_take, core, spec.volume_id, name)
        layer = new_layer_id()
        made = Manifest(spec.volume_id, spec.size_bytes, layer, dict(spec.labels))
        try:
            file = await asyncio.to_thread(_read_file, taken, core.settings.max_volume_bytes)
            _check_file(name, spec, file)
            await self._copy(taken, file.format, layer, spec.size_bytes)
            async with core.graph.shared():
                core.parents[layer] = None
                await core.create(made)
        except BaseException:
            if spec.volume_id not in core.volumes:  # else it is whole, and whoever calls again is told so
                core.parents.pop(layer, None)
                await asyncio.to_thread(core.pool.remove_layer, layer)
                await asyncio.to_thread(_put_back, core, spec.volume_id, INCOMING + name)
            raise
        await asyncio.to_thread(taken.unlink, missing_ok=True)
        _log.info("file_adopted", volume_id=spec.volume_id, name=name)
        return volume_facts(made)

    async def _copy(self, file: Path, file_format: str, layer: LayerId, size_bytes: int) -> None:
        """Make a layer of the file's bytes, on stable storage; nothing points at it yet."""
        core = self._core
        unfinished = core.pool.unfinished_path(layer)
        options = f"extended_l2=on,cluster_size={1 << core.settings.cluster_bits}"
        source: dict[str, object] = {"driver": file_format, "file": {"driver": "file", "filename": str(file)}}
        if file_format == "qcow2":
            source["backing"] = None  # whatever the file says by now
        name = f"json:{json.dumps(source)}"
        # What is cut short would be zeros from there on, and the file be gone afterwards.
        if file_format == "qcow2" and (complaint := await tool.check_image(name)) is not None:
            raise Mismatch(f"the file cannot be adopted, for it is damaged: {complaint}")
        words = ("-O", "qcow2", "-o", options, name, str(unfinished))
        try:
            try:
                await tool.run_tool("qemu-img", "convert", "-q", *words)
            except Transient as error:  # what QEMU does not take now it will not take later
                raise Mismatch(f"the file cannot be adopted: {error.reason}") from error
            await tool.run_tool("qemu-img", "resize", "-q", "-f", "qcow2", str(unfinished), str(size_bytes))
            await asyncio.to_thread(core.pool.finish_layer, layer)
        finally:
            await asyncio.to_thread(unfinished.unlink, missing_ok=True)


def load_released(core: Core, volumes: dict[VolumeId, Manifest]) -> None:
    """Read what was released into the books, and finish what was interrupted: of two manifests of one volume, the one
    that does not count goes. Changes `volumes`. Blocking."""
    adopted = {made.adopted_from for made in volumes.values()}
    for volume_id, made in core.pool.read_released().items():
        if volume_id in adopted:
            core.pool.manifest_path(made).unlink(missing_ok=True)
            durable.sync_folder(core.pool.released)
            continue
        if volume_id in volumes:
            del volumes[volume_id]
            core.pool.remove_manifest(volume_id)
        core.keep(made)


def forget_taken(core: Core) -> None:
    """Remove the files that are volumes already: whoever took them over was interrupted at the very end. Blocking."""
    for volume_id, path in taken_files(core):
        if volume_id in core.volumes or volume_id in core.released:
            path.unlink(missing_ok=True)


def taken_files(core: Core) -> list[tuple[VolumeId, Path]]:
    """Return the files whose adoption has begun, and for which volume. Blocking."""
    return [(VolumeId(path.name.removeprefix(_TAKEN)), path) for path in core.pool.incoming.glob(f"{_TAKEN}*")]


def _forget_source(core: Core, made: Manifest) -> None:
    """Remove what a volume was made of, if an earlier call did not get as far as that. Blocking."""
    _taken_path(core, made.volume_id).unlink(missing_ok=True)
    source = core.pool.released / f"{made.adopted_from}.json"
    if made.adopted_from is not None and source.exists():
        source.unlink(missing_ok=True)
        durable.sync_folder(core.pool.released)


def _check_size(name: str, spec: VolumeSpec, found: int) -> None:
    if found != spec.size_bytes:
        raise Mismatch(f"{name} has {found} bytes, not {spec.size_bytes}", expected=spec.size_bytes, found=found)


def _check_file(name: str, spec: VolumeSpec, file: Incoming) -> None:
    if file.unsafe is not None:
        raise Mismatch(f"{INCOMING}{name} cannot be adopted: {file.unsafe}")
    if file.size_bytes > spec.size_bytes:
        raise Mismatch(f"{INCOMING}{name} is larger than asked for", expected=spec.size_bytes, found=file.size_bytes)


def _taken_path(core: Core, volume_id: VolumeId) -> Path:
    return core.pool.incoming / f"{_TAKEN}{volume_id}"


def _take(core: Core, volume_id: VolumeId, name: str) -> Path:
    """Give an incoming file to one volume, and return where it is then. Raises Mismatch. Blocking."""
    taken, source = _taken_path(core, volume_id), core.pool.incoming / name
    if taken.exists():
        return taken
    if not _FILE_NAME.fullmatch(name) or not _is_file(source):
        raise Mismatch(f"there is no stray volume {INCOMING}{name}", expected=name)
    source.rename(taken)
    durable.sync_folder(core.pool.incoming)
    return taken


def _put_back(core: Core, volume_id: VolumeId, name: str) -> None:
    """Give an incoming file its name back, unless another has that by now. Blocking."""
    taken, own = _taken_path(core, volume_id), name.removeprefix(INCOMING)
    source = core.pool.incoming / own
    if name.startswith(INCOMING) and _FILE_NAME.fullmatch(own) and taken.exists() and not os.path.lexists(source):
        taken.rename(source)
        durable.sync_folder(core.pool.incoming)


def _is_file(path: Path) -> bool:
    """Say whether it is a file itself: a link could lead to anything on this machine."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def _read_incoming(core: Core) -> Mapping[str, Incoming]:
    found = {}
    for path in core.pool.incoming.iterdir():
        if _FILE_NAME.fullmatch(path.name) and _is_file(path):
            try:
                found[path.name] = _read_file(path, core.settings.max_volume_bytes)
            except FileNotFoundError:
                continue  # just taken away
            except OSError as error:  # the others can be adopted all the same
                found[path.name] = Incoming("raw", 0, f"it cannot be read ({error.strerror})")
    return found


def _read_file(path: Path, most: int) -> Incoming:
    """Return what a file says it is; a volume may have `most` bytes. Blocking."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        head = file.read(_FEATURES_AT + _FEATURES.size)
        length = os.fstat(file.fileno()).st_size
    if not head.startswith(_QCOW2):
        return Incoming("raw", _whole_sectors(length, most), _unsafe_size(length, most))
    if len(head) < _FEATURES_AT + _FEATURES.size:
        return Incoming("qcow2", 0, "its header is cut short")
    version, backing, _, size = _HEAD.unpack_from(head)
    features = _FEATURES.unpack_from(head, _FEATURES_AT)[0] if version > 2 else 0
    unsafe = _unsafe_size(size, most)
    if backing or features & _EXTERNAL_DATA:
        unsafe = "its bytes are partly in another file"
    elif features & qcow2.CORRUPT:
        unsafe = "it is marked as corrupt"
    return Incoming("qcow2", _whole_sectors(size, most), unsafe)


def _unsafe_size(size: int, most: int) -> str | None:
    if size > most:
        return "it is larger than a volume may be"
    return None if size else "it is empty"


def _whole_sectors(size: int, most: int) -> int:
    return min(-(-size // _SECTOR) * _SECTOR, most)
