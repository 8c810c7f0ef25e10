"""The pool's folder: one lock, manifests, layers. Blocking; the engine calls it in threads.

pool.json                  format and id of the pool, and how far the work on it had come
lock                       held (flock) by the one process that uses the pool
volumes/<volume>.json      manifests
released/<volume>.json     manifests of volumes that are nobody's
incoming/                  files of an administrator's, raw or qcow2, that can be made volumes
groups/<group>.json        manifests that took effect together, until each is in its place
reserve                    room for a manifest when there is none (`reserve.py`)
layers/<layer>.qcow2       layers; immutable unless they are a volume's head
layers/<layer>.merged      this layer's content is wholly in the layer named inside, which is to take its place
"""

import fcntl
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import structlog

from openevs import durable
from openevs.domain.ids import VolumeId
from openevs.engine.errors import Broken, Mismatch
from openevs.engine.layers import manifest as manifests
from openevs.engine.layers import qcow2
from openevs.engine.layers.graph import LayerId
from openevs.engine.layers.manifest import Manifest, Record
from openevs.engine.layers.reserve import Reserve

_log = structlog.get_logger()
_UNFINISHED: Final = ".new"
"""Ending of a layer that is still being written: what has the other one is whole."""
_SAFE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_LAYER_FILE: Final = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.qcow2")


class _PoolFile(msgspec.Struct, frozen=True):
    pool_id: str
    format: int = 1
    reached: int = 0


def new_layer_id() -> LayerId:
    """Return the id of a layer that does not exist yet."""
    return LayerId(str(uuid.uuid4()))


def parent_of(header: qcow2.Header) -> LayerId | None:
    """Return the layer that a header names as its parent. Raises Qcow2Error for a name that is not a layer's."""
    if header.parent is None:
        return None
    if not (match := _LAYER_FILE.fullmatch(header.parent)):
        raise qcow2.Qcow2Error(f"a layer names {header.parent!r} as its parent, which is no layer's name")
    return LayerId(match[1])


class Pool:
    """One pool. Methods raise OSError, ManifestError, Qcow2Error, Broken."""

    def __init__(self, folder: Path, cluster_bits: int) -> None:
        self.folder = folder
        self.pool_id = ""
        self.reached = 0
        self.layers = folder / "layers"
        self.volumes = folder / "volumes"
        self.released = folder / "released"
        self.incoming = folder / "incoming"
        self.groups = folder / "groups"
        self._reserve = Reserve(folder / "reserve")
        self._cluster_bits = cluster_bits
        self._locks: list[int] = []

    def open(self) -> None:
        """Take the lock; make an empty folder a pool."""
        if not self.folder.is_dir():
            raise Broken(f"there is no pool at {self.folder}: create the folder, or mount the disk that holds it")
        self.take(self.folder / "lock", f"another process uses the pool at {self.folder}: stop it first")
        try:
            self._identify()
        except BaseException:
            self.close()
            raise

    def take(self, path: Path, complaint: str) -> None:
        """Take a lock, and keep it until the pool is closed. Raises Broken, with the complaint, if another has it."""
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise Broken(complaint) from None
        self._locks.append(lock)

    def close(self) -> None:
        """Let go of the locks; may be called twice."""
        while self._locks:
            os.close(self._locks.pop())

    def layer_path(self, layer: LayerId) -> Path:
        """Return where the layer is or would be."""
        return self.layers / f"{layer}.qcow2"

    def check_name(self, name: str) -> None:
        """Refuse an id that cannot be a file's name. Raises Mismatch."""
        if not _SAFE_NAME.fullmatch(name):
            raise Mismatch(f"{name!r} cannot be an id: letters, digits, '-' and '_' only, at most 64")

    def read_manifests(self) -> dict[VolumeId, Manifest]:
        """Return every volume; remove what an unfinished write left."""
        return _read_folder(self.volumes)

    def manifest_path(self, made: Manifest) -> Path:
        """Return where the manifest is or would be."""
        return (self.volumes if made.released is None else self.released) / f"{made.volume_id}.json"

    def read_released(self) -> dict[VolumeId, Manifest]:
        """Return every volume that is nobody's; remove what an unfinished write left."""
        return _read_folder(self.released)

    def replace_manifest(self, old: Manifest, new: Manifest) -> None:
        """Commit `new`, after which `old` is none: whoever finds both believes `new`."""
        self.write_manifest(new)
        self.manifest_path(old).unlink(missing_ok=True)
        durable.sync_folder(self.manifest_path(old).parent)

    def place_records(self, found: dict[VolumeId, Manifest]) -> None:
        """Put the manifests of records in their places, on storage and in what was found, where there are no newer
        ones; a volume that is gone stays gone."""
        for path in sorted(self.groups.iterdir()):
            if path.suffix == ".json":
                for manifest in manifests.read_record(path).manifests:
                    present = found.get(manifest.volume_id)
                    if present is not None and present.generation < manifest.generation:
                        self.write_manifest(manifest)
                        found[manifest.volume_id] = manifest
            path.unlink(missing_ok=True)
        durable.sync_folder(self.groups)

    def write_record(self, record: Record) -> None:
        """Commit several manifests at once. Raises OSError: `has_record` tells whether they are, all or none."""
        self._reserve.replace_file(self._record_path(record.group), manifests.encode(record))

    def has_record(self, group: str) -> bool:
        """Say whether the record is there; it may be gone after a power failure, and may not."""
        return self._record_path(group).exists()

    def remove_record(self, group: str) -> None:
        """Forget a record whose manifests are in their places."""
        self._record_path(group).unlink(missing_ok=True)
        durable.sync_folder(self.groups)

    def sync(self) -> None:
        """Make last what was committed, and may not have been made to."""
        for folder in (self.volumes, self.released, self.groups):
            durable.sync_folder(folder)

    def write_manifest(self, manifest: Manifest) -> None:
        """Commit."""
        self._reserve.replace_file(self.manifest_path(manifest), manifests.encode(manifest))

    def remove_manifest(self, volume_id: VolumeId) -> None:
        """Commit that the volume does not exist."""
        (self.volumes / f"{volume_id}.json").unlink(missing_ok=True)
        durable.sync_folder(self.volumes)

    def read_layers(self) -> tuple[dict[LayerId, qcow2.Header], list[str]]:
        """Return the headers of all layers, and a sentence about each that cannot be read; remove what an unfinished
        write left."""
        for path in self.layers.glob(f"*{_UNFINISHED}"):
            path.unlink(missing_ok=True)
        found, damaged = {}, []
        for path, layer in self._layer_files():
            try:
                found[layer] = qcow2.read_header(path)
                parent_of(found[layer])
            except (qcow2.Qcow2Error, OSError) as error:
                found.pop(layer, None)
                damaged.append(str(error))
        return found, damaged

    def read_parent(self, layer: LayerId) -> LayerId | None:
        """Return the layer that this one hangs on."""
        return parent_of(qcow2.read_header(self.layer_path(layer)))

    def create_layer(self, layer: LayerId, size_bytes: int, parent: LayerId | None) -> None:
        """Make an empty layer, on stable storage. Raises Qcow2Error if the parent cannot be read: nothing is to be
        promised on top of what is damaged."""
        name = None
        if parent is not None:
            qcow2.read_header(self.layer_path(parent))
            name = self.layer_path(parent).name
        unfinished = self.unfinished_path(layer)
        qcow2.write_empty(unfinished, size_bytes, self._cluster_bits, name)
        unfinished.rename(self.layer_path(layer))
        durable.sync_folder(self.layers)

    def unfinished_path(self, layer: LayerId) -> Path:
        """Return where a layer is while it is being written; what is left there is removed at the next start."""
        return self.layers / f"{layer}{_UNFINISHED}"

    def finish_layer(self, layer: LayerId) -> None:
        """Let what was written at `unfinished_path` be a layer, on stable storage."""
        qcow2.read_header(self.unfinished_path(layer))
        durable.sync_file(self.unfinished_path(layer))
        self.unfinished_path(layer).rename(self.layer_path(layer))
        durable.sync_folder(self.layers)

    def create_on(self, layer: LayerId, parent: LayerId) -> None:
        """Make an empty layer as large as its parent."""
        self.create_layer(layer, qcow2.read_header(self.layer_path(parent)).size_bytes, parent)

    def remove_layer(self, layer: LayerId) -> None:
        """Unlink a layer, and the note that it was merged."""
        self.layer_path(layer).unlink(missing_ok=True)
        self._note_path(layer).unlink(missing_ok=True)

    def replace_parent(self, layer: LayerId, parent: LayerId) -> None:
        """Let the layer hang on another; does nothing if it does already."""
        path, name = self.layer_path(layer), self.layer_path(parent).name
        if qcow2.read_header(path).parent != name:
            qcow2.replace_parent(path, name)

    def note_merged(self, upper: LayerId, lower: LayerId) -> None:
        """Write down that `lower` now holds all of `upper`: from here on, merging goes forward only."""
        durable.replace_file(self._note_path(upper), lower.encode())

    def forget_merged(self, upper: LayerId) -> None:
        """Take the note back; nothing was moved yet."""
        self._note_path(upper).unlink(missing_ok=True)

    def read_merged(self) -> dict[LayerId, LayerId]:
        """Return the merges whose copying was done and whose moving may not be: upper → lower."""
        for path in self.layers.glob(".*.tmp"):
            path.unlink(missing_ok=True)
        return {LayerId(path.stem): LayerId(path.read_text()) for path in self.layers.glob("*.merged")}

    def reach(self, number: int) -> None:
        """Keep a number, unless a higher one is kept."""
        if number > self.reached:
            self._write_facts(_PoolFile(self.pool_id, reached=number))
            self.reached = number

    def allocated_bytes(self, layer: LayerId) -> int:
        """Return how much room the layer takes."""
        return self.layer_path(layer).stat().st_blocks * 512

    def room(self) -> tuple[int, int]:
        """Return how many bytes the pool's file system has, and how many are free for us."""
        found = os.statvfs(self.folder)
        return found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize

    def supports_direct_io(self) -> bool:
        """Say whether files in the pool can be opened with O_DIRECT."""
        try:
            os.close(os.open(self.folder / "pool.json", os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC))
        except OSError:
            return False
        return True

    def _write_facts(self, facts: _PoolFile) -> None:
        durable.replace_file(self.folder / "pool.json", msgspec.json.encode(facts) + b"\n")

    def _record_path(self, group: str) -> Path:
        return self.groups / f"{group}.json"

    def _note_path(self, layer: LayerId) -> Path:
        return self.layers / f"{layer}.merged"

    def _layer_files(self) -> Iterator[tuple[Path, LayerId]]:
        for path in self.layers.iterdir():
            if match := _LAYER_FILE.fullmatch(path.name):
                yield path, LayerId(match[1])

    def _identify(self) -> None:
        path = self.folder / "pool.json"
        if not path.exists():
            strangers = sorted(
                {path.name for path in self.folder.iterdir()}
                - {"lock", "lost+found", "layers", "volumes", "released", "incoming", "groups", ".pool.json.tmp"}
            )
            if strangers:
                raise Broken(
                    f"{self.folder} is neither empty nor a pool (it holds {strangers[0]!r}): give an empty folder"
                )
            for folder in (self.layers, self.volumes):
                durable.make_folder(folder)
            self._write_facts(_PoolFile(uuid.uuid4().hex))
            _log.info("pool_created", folder=str(self.folder))
        try:
            pool = msgspec.json.decode(path.read_bytes(), type=_PoolFile)
        except msgspec.DecodeError as error:
            raise Broken(f"{path} cannot be read: {error}") from None
        if pool.format != 1:
            raise Broken(f"{path} has format {pool.format}; this version knows format 1")
        if not self.layers.is_dir() or not self.volumes.is_dir():
            raise Broken(f"the pool at {self.folder} lacks its folder 'layers' or 'volumes': restore it")
        for folder in (self.released, self.incoming, self.groups):
            durable.make_folder(folder)
        self._reserve.open()
        self.pool_id, self.reached = pool.pool_id, pool.reached


def _read_folder(folder: Path) -> dict[VolumeId, Manifest]:
    found = {}
    for path in folder.iterdir():
        if path.name.endswith(".tmp"):
            path.unlink(missing_ok=True)
        elif path.suffix == ".json":
            manifest = manifests.read(path)
            found[manifest.volume_id] = manifest
    return found
