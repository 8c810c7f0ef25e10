"""What the parts of the engine share: the volumes and the graph of layers as they are, and the one way to change them.

Rules that keep it right:

* A volume's manifest is replaced only by `commit`, made from `volume.manifest` under the same hold of `graph`.
* Who points at layers shares `graph`; who moves or removes layers holds it alone. It is held for milliseconds.
* `volume.lock` is taken before `graph`, and nobody waits for a merge while holding `graph`.
"""

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import msgspec
import structlog

from openevs.domain.ids import SnapshotId, VolumeId
from openevs.engine.errors import Mismatch, OutcomeUnknown, Transient
from openevs.engine.layers import graph, manifest
from openevs.engine.layers.daemon import Daemon, RunFiles
from openevs.engine.layers.exports import file_options, node_options
from openevs.engine.layers.graph import LayerId
from openevs.engine.layers.host import Host
from openevs.engine.layers.locks import SharedLock
from openevs.engine.layers.manifest import Manifest
from openevs.engine.layers.pool import Pool, new_layer_id
from openevs.engine.layers.settings import LayersSettings
from openevs.engine.nbd import NbdClient

_log = structlog.get_logger()


@dataclass(eq=False, slots=True)
class Volume:
    """A volume and, if it is served, what serves it. Changed only under its lock (but see `Core.commit`)."""

    manifest: Manifest
    lock: asyncio.Lock
    dirty: bool = False
    """The manifest holds facts that are worth a write, but not a wait: the next write takes them along."""
    host: Host | None = None
    """Who serves it, or did and has not let go of it."""
    process: int | None = None
    """The host's process in which it was last found open: another one has yet to open it."""
    shut: bool = False
    """Nothing of it is open anywhere, though its daemon may run: it is just about to be opened."""
    unsure: bool = True
    """What the daemon has open may differ from the manifest: a command's outcome is unknown, or it is newly found."""
    spare: LayerId | None = None
    """An empty layer on top of the head, open in the daemon and in no chain: the next head."""
    outgrown: bool = False
    """Clients may be shown a size that the volume had before it grew."""
    probe: NbdClient | None = None
    watcher: asyncio.Task[None] | None = None
    tidier: asyncio.Task[None] | None = None
    later: asyncio.TimerHandle | None = None
    """Tidies again, if something could not be done yet."""
    writes_lost: bool = False
    """What was written without a client could not be made durable; whoever flushes is to be told."""

    @property
    def daemon(self) -> Daemon | None:
        """The daemon that serves it."""
        return self.host.daemon if self.host else None


@dataclass(eq=False, slots=True)
class Core:
    """The state of one open engine."""

    settings: LayersSettings
    pool: Pool
    run_folder: Path
    graph: SharedLock = field(default_factory=SharedLock)
    volumes: dict[VolumeId, Volume] = field(default_factory=dict)
    released: dict[VolumeId, Volume] = field(default_factory=dict)
    """Volumes that are nobody's (`strays.py`): only their layers count."""
    hosts: dict[str, Host] = field(default_factory=dict)
    """By the key of their files."""
    owners: dict[SnapshotId, VolumeId] = field(default_factory=dict)
    parents: dict[LayerId, LayerId | None] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)
    """What is wrong with the layers that could not be read when the pool was opened. They are in no other book."""
    reserved: Counter[LayerId] = field(default_factory=Counter)
    """Layers that some call is about to open or write: no merge may begin on them."""
    direct: bool = False
    """Whether the pool's file system has O_DIRECT."""
    keep_orphans: bool = False
    """A needed layer cannot be read, so which layers it needs in turn is unknown."""
    unsynced: int = 0
    """How often something was written of which it is not known that it lasts; 0 again as soon as all of it does."""
    bell: asyncio.Event = field(default_factory=asyncio.Event)
    """Rung when there may be layers to merge or to remove."""
    _locks: WeakValueDictionary[VolumeId, asyncio.Lock] = field(default_factory=WeakValueDictionary)

    def lock_of(self, volume_id: VolumeId) -> asyncio.Lock:
        """Return the lock of a volume that may not exist yet."""
        if (lock := self._locks.get(volume_id)) is None:
            lock = self._locks[volume_id] = asyncio.Lock()
        return lock

    def add(self, made: Manifest) -> Volume:
        """Take a volume into the books."""
        volume = Volume(made, self.lock_of(made.volume_id))
        self.volumes[made.volume_id] = volume
        self.owners.update(dict.fromkeys(made.snapshots, made.volume_id))
        return volume

    def keep(self, made: Manifest) -> None:
        """Take a volume that is nobody's into the books."""
        self.released[made.volume_id] = Volume(made, self.lock_of(made.volume_id))

    def files_of(self, made: Manifest) -> RunFiles:
        """Return where the volume's daemon has its files, which several volumes may share."""
        word = made.export.together if made.export else None
        # A colon is in no volume's id.
        return RunFiles(self.run_folder, run_key(self.pool.pool_id, f"together:{word}" if word else made.volume_id))

    def host_of(self, volume: Volume) -> Host:
        """Return the one who is to serve the volume."""
        if volume.host is None:
            files = self.files_of(volume.manifest)
            volume.host = self.hosts.setdefault(files.key, Host(Daemon(files, self.settings)))
        return volume.host

    def guests(self, host: Host) -> list[Volume]:
        """Return the volumes that this one serves."""
        return [volume for volume in self.volumes.values() if volume.host is host]

    def volume(self, volume_id: VolumeId) -> Volume:
        """Return a volume that must exist. Raises Mismatch."""
        if (found := self.volumes.get(volume_id)) is None:
            raise Mismatch(f"there is no volume {volume_id} in this pool", expected=volume_id)
        return found

    def chain(self, top: LayerId) -> tuple[LayerId, ...]:
        """Return the layers from `top` down. Raises MissingLayerError."""
        return graph.chain(self.parents, top)

    def file_node(self, layer: LayerId, **options: object) -> dict[str, Any]:
        """Return how the layer's file is opened in a daemon."""
        path = self.pool.layer_path(layer)
        return file_options(layer, path, direct=self.direct, options=options)

    def node(self, layer: LayerId, *, writable: bool, backing: LayerId | None) -> dict[str, Any]:
        """Return how the layer is opened in a daemon that has its file open."""
        return node_options(layer, self.settings, writable=writable, backing=backing)

    def chain_words(self, chain: Sequence[LayerId], *, writable: bool = False, locks: bool = True) -> list[str]:
        """Return a daemon's arguments that open a whole chain from the lowest layer up, the topmost to be written;
        without `locks` also while another process writes it: `force-share` is not enough, a merge keeps even those out.
        """
        words = []
        options = {} if locks else {"locking": "off"}
        for layer, below in reversed(list(zip(chain, (*chain[1:], None), strict=True))):
            node = self.node(layer, writable=writable and layer == chain[0], backing=below)
            words += ["--blockdev", json.dumps(node | {"file": self.file_node(layer, **options)})]
        return words

    def reread_parents(self, layers: Iterable[LayerId]) -> None:
        """Believe the headers of these layers: a daemon may have changed them. Blocking."""
        for layer in layers:
            self.parents[layer] = self.pool.read_parent(layer)

    def pinned(self) -> set[LayerId]:
        """Return the layers that some manifest points at."""
        found: set[LayerId] = set()
        for volume in (*self.volumes.values(), *self.released.values()):
            found |= volume.manifest.layers()
        return found

    async def commit(self, volume: Volume, **changes: Any) -> None:
        """Write the volume's manifest with these changes. Raises OSError (nothing changed) or OutcomeUnknown."""
        made = msgspec.structs.replace(volume.manifest, generation=volume.manifest.generation + 1, **changes)
        await self._write(made, lambda: self.pool.write_manifest(made), lambda: self.adopt(volume, made))

    async def create(self, made: Manifest) -> None:
        """Write a new volume's manifest, and take the volume into the books. Raises as `commit`."""
        await self._write(made, lambda: self.pool.write_manifest(made), lambda: self.add(made))

    async def replace(self, old: Manifest, made: Manifest, note: Callable[[], object]) -> None:
        """Write a manifest that takes the place of one elsewhere; `note` takes it into the books. Raises as `commit`:
        with OutcomeUnknown, the old one may be there still."""
        await self._write(made, lambda: self.pool.replace_manifest(old, made), note)

    async def _write(self, made: Manifest, write: Callable[[], None], note: Callable[[], object]) -> None:
        await self._see_written_synced()
        try:
            await asyncio.to_thread(write)
        except OSError as error:
            if not await asyncio.to_thread(self._is_written, made):
                raise
            note()
            self.unsynced += 1
            raise OutcomeUnknown(f"the manifest is written, but may not be on stable storage: {error}") from error
        note()

    async def write_record(self, record: manifest.Record) -> OutcomeUnknown | None:
        """Commit several manifests at once; what is returned is to be raised when they have been taken over. Raises
        OSError: none is committed. What may be back after a power failure cannot be undone."""
        await self._see_written_synced()
        try:
            await asyncio.to_thread(self.pool.write_record, record)
        except OSError as error:
            if not await asyncio.to_thread(self.pool.has_record, record.group):
                raise
            self.unsynced += 1
            return OutcomeUnknown(f"a group's record is written, but may not be on stable storage: {error}")
        return None

    async def see_synced(self) -> None:
        """See that all that was written lasts: until then nothing is built on it, nor told. Raises OutcomeUnknown."""
        if (seen := self.unsynced) == 0:
            return
        try:
            await asyncio.to_thread(self.pool.sync)
        except OSError as error:
            raise OutcomeUnknown(f"what the pool's disk was given may not be on stable storage: {error}") from error
        if self.unsynced == seen:
            self.unsynced = 0

    async def _see_written_synced(self) -> None:
        """The same before more is written: what takes effect together might else last in part."""
        try:
            await self.see_synced()
        except OutcomeUnknown as error:
            raise Transient(error.reason) from error

    def adopt(self, volume: Volume, made: Manifest) -> None:
        """Take over a manifest that is on storage: in its place, or in a record."""
        for snapshot_id in volume.manifest.snapshots.keys() - made.snapshots.keys():
            self.owners.pop(snapshot_id, None)
        self.owners.update(dict.fromkeys(made.snapshots, made.volume_id))
        volume.manifest = made
        volume.dirty = False

    @asynccontextmanager
    async def fresh_layer(self, size_bytes: int, parent: LayerId | None) -> AsyncIterator[LayerId]:
        """Make an empty layer on `parent` for the block to commit; forget it if the block fails."""
        layer = new_layer_id()
        await asyncio.to_thread(self.pool.create_layer, layer, size_bytes, parent)
        self.parents[layer] = parent
        try:
            yield layer
        except BaseException:
            if layer not in self.pinned():
                del self.parents[layer]
                await asyncio.to_thread(self.pool.remove_layer, layer)
            raise

    @contextmanager
    def reserving(self, layers: Iterable[LayerId]) -> Iterator[None]:
        """Keep merges from beginning on these layers."""
        kept = tuple(layers)
        self.reserved.update(kept)
        try:
            yield
        finally:
            self.unreserve(kept)

    def unreserve(self, layers: Iterable[LayerId]) -> None:
        """Let merges begin on these layers again, unless somebody else has reserved them too."""
        self.reserved.subtract(layers)
        self.reserved += Counter()  # drops the zeros

    def _is_written(self, made: Manifest) -> bool:
        try:
            found = manifest.read(self.pool.manifest_path(made))
        except (OSError, manifest.ManifestError):
            return False
        return found.generation == made.generation


def run_key(pool_id: str, name: str) -> str:
    """Return the name of a daemon's files: short, different for each name, and beginning alike for one pool."""
    return run_prefix(pool_id) + hashlib.sha256(name.encode()).hexdigest()[:14]


def run_prefix(pool_id: str) -> str:
    """Return what the names of all daemons' files of a pool begin with."""
    return pool_id[:6]
