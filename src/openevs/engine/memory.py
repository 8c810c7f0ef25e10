"""The reference engine: volumes as sparse tables of pages in this process's memory.

It is the shortest complete reading of the contract in `port`, and what the tests of every other part run on. A volume
has a table of pages; a snapshot shares the table of its volume, and the next write to the volume copies the table
first. Nothing is awaited between the first check and the last change of a method, so that each is atomic by itself.

The state is in a `MemoryStorage`, apart from the engine: handing it to a second `MemoryEngine` is a restart.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from openevs.domain.ids import SnapshotId, VolumeId
from openevs.engine.errors import Broken, Busy, Mismatch, Stale
from openevs.engine.port import (
    Capacity,
    EngineFacts,
    Extent,
    Objects,
    Power,
    SnapshotFacts,
    SnapshotSpec,
    Stray,
    VolumeFacts,
    VolumeSpec,
)

PAGE_BYTES = 4096
SECTOR_BYTES = 512
MAX_VOLUME_BYTES = 1 << 46
"""64 TiB, twice the largest disk of the public cloud: far above what a test asks for, far below any number's limit."""
DEFAULT_TOTAL_BYTES = 1 << 40
"""1 TiB: thin volumes of tests fit into it by the hundred."""

_ZERO_PAGE = bytes(PAGE_BYTES)
_POWERS: frozenset[Power] = frozenset({"reads", "writes", "changed_blocks", "group_snapshots", "adopts"})


class _Pages:
    """A sparse table of pages; shares its entries with its copies until one of them is written to."""

    def __init__(self, table: dict[int, bytes] | None = None) -> None:
        self._table = {} if table is None else table
        self._shared = table is not None

    def fork(self) -> "_Pages":
        """Return a table with the same bytes, in constant time."""
        self._shared = True
        return _Pages(self._table)

    def identities(self) -> set[int]:
        """Return one number for each page held, the same number for a page that is shared."""
        return {id(page) for page in self._table.values()}

    def changed(self, since: "_Pages") -> list[int]:
        """Return the numbers of the pages that are not those of another table, in order."""
        numbers = self._table.keys() | since._table.keys()
        return sorted(number for number in numbers if self._table.get(number) is not since._table.get(number))

    def read(self, offset: int, length: int) -> bytes:
        first, skip = divmod(offset, PAGE_BYTES)
        last = -(-(offset + length) // PAGE_BYTES)
        joined = b"".join(self._table.get(number, _ZERO_PAGE) for number in range(first, last))
        return joined[skip : skip + length]

    def write(self, offset: int, data: bytes) -> None:
        table = self._own()
        done = 0
        while done < len(data):
            number, skip = divmod(offset + done, PAGE_BYTES)
            piece = data[done : done + PAGE_BYTES - skip]
            old = table.get(number, _ZERO_PAGE)
            new = old[:skip] + piece + old[skip + len(piece) :]
            if new == _ZERO_PAGE:
                table.pop(number, None)
            else:
                table[number] = new
            done += len(piece)

    def zero(self, offset: int, length: int) -> None:
        """Make a range read as zeros, in time that does not depend on the range's length."""
        first_whole = -(-offset // PAGE_BYTES)
        end_whole = (offset + length) // PAGE_BYTES
        if first_whole >= end_whole:
            self.write(offset, bytes(length))
            return
        table = self._own()
        for number in [number for number in table if first_whole <= number < end_whole]:
            del table[number]
        self.write(offset, bytes(first_whole * PAGE_BYTES - offset))
        self.write(end_whole * PAGE_BYTES, bytes(offset + length - end_whole * PAGE_BYTES))

    def _own(self) -> dict[int, bytes]:
        if self._shared:
            self._table = dict(self._table)
            self._shared = False
        return self._table


@dataclass(frozen=True, slots=True)
class _Volume:
    facts: VolumeFacts
    pages: _Pages


@dataclass(frozen=True, slots=True)
class _Snapshot:
    facts: SnapshotFacts
    pages: _Pages
    together: frozenset[SnapshotId] = frozenset()
    """The snapshots of the same instant, if it was taken in a group."""


@dataclass(slots=True)
class MemoryStorage:
    """What outlives a `MemoryEngine`: the pool."""

    total_bytes: int = DEFAULT_TOTAL_BYTES
    volumes: dict[VolumeId, _Volume] = field(default_factory=dict)
    snapshots: dict[SnapshotId, _Snapshot] = field(default_factory=dict)
    released: dict[str, _Volume] = field(default_factory=dict)
    """Volumes that are nobody's, by name."""
    released_snapshots: dict[str, _Snapshot] = field(default_factory=dict)


def _utc_now() -> datetime:
    return datetime.now(UTC)


class MemoryEngine:
    """An engine with the powers in `_POWERS`, over a `MemoryStorage` (new unless given); `now` dates the snapshots."""

    def __init__(self, storage: MemoryStorage | None = None, now: Callable[[], datetime] = _utc_now) -> None:
        self._storage = MemoryStorage() if storage is None else storage
        self._now = now
        self._is_open = False

    async def open(self) -> None:
        self._is_open = True

    async def close(self) -> None:
        self._is_open = False

    def describe(self) -> EngineFacts:
        return EngineFacts("memory", "1", "this process", _POWERS, MAX_VOLUME_BYTES)

    async def capacity(self) -> Capacity:
        pool = self._pool()
        tables = [volume.pages for volume in pool.volumes.values()]
        tables += [snapshot.pages for snapshot in pool.snapshots.values()]
        used = PAGE_BYTES * len(set().union(*(table.identities() for table in tables)))
        provisioned = sum(volume.facts.size_bytes for volume in pool.volumes.values())
        return Capacity(pool.total_bytes, max(0, pool.total_bytes - used), provisioned)

    async def ensure_volume(self, spec: VolumeSpec) -> VolumeFacts:
        return self._ensure_volume(spec, _Pages)

    async def ensure_volume_from_snapshot(self, spec: VolumeSpec, snapshot_id: SnapshotId) -> VolumeFacts:
        def pages_of_snapshot() -> _Pages:
            source = self._snapshot(snapshot_id)
            if spec.size_bytes < source.facts.size_bytes:
                raise Mismatch(
                    f"volume {spec.volume_id} would be smaller than snapshot {snapshot_id}",
                    expected=source.facts.size_bytes,
                    found=spec.size_bytes,
                )
            return source.pages.fork()

        return self._ensure_volume(spec, pages_of_snapshot)

    async def ensure_volume_size(self, volume_id: VolumeId, size_bytes: int) -> VolumeFacts:
        volume = self._volume(volume_id)
        _check_size(size_bytes)
        if volume.facts.size_bytes > size_bytes:
            raise Mismatch(
                f"volume {volume_id} is larger than asked for", expected=size_bytes, found=volume.facts.size_bytes
            )
        facts = replace(volume.facts, size_bytes=size_bytes)
        self._pool().volumes[volume_id] = _Volume(facts, volume.pages)
        return facts

    async def ensure_no_volume(self, volume_id: VolumeId) -> None:
        pool = self._pool()
        snapshots = tuple(snapshot.facts for snapshot in pool.snapshots.values())
        by = tuple(facts.snapshot_id for facts in snapshots if facts.volume_id == volume_id)
        if by:
            raise Busy(f"volume {volume_id} has snapshots", by)
        kept = (name for name, one in pool.released_snapshots.items() if one.facts.volume_id == volume_id)
        if volume_id in pool.volumes and (names := tuple(sorted(kept))):
            raise Busy(f"volume {volume_id} has snapshots that are not managed: {', '.join(names)}", names)
        pool.volumes.pop(volume_id, None)

    async def ensure_snapshot(self, spec: SnapshotSpec) -> SnapshotFacts:
        pool = self._pool()
        present = pool.snapshots.get(spec.snapshot_id)
        if present is not None:
            if present.facts.volume_id != spec.volume_id:
                raise Mismatch(
                    f"snapshot {spec.snapshot_id} is of another volume",
                    expected=spec.volume_id,
                    found=present.facts.volume_id,
                )
            return present.facts
        volume = self._volume(spec.volume_id)
        facts = SnapshotFacts(spec.snapshot_id, spec.volume_id, volume.facts.size_bytes, self._now(), dict(spec.labels))
        pool.snapshots[spec.snapshot_id] = _Snapshot(facts, volume.pages.fork())
        return facts

    async def ensure_group_snapshot(self, specs: Sequence[SnapshotSpec]) -> Sequence[SnapshotFacts]:
        pool, wanted = self._pool(), frozenset(spec.snapshot_id for spec in specs)
        if len(wanted) < len(specs) or len({spec.volume_id for spec in specs}) < len(specs):
            raise Mismatch("a group snapshot takes each volume, and each id, once")
        for spec in specs:
            self._volume(spec.volume_id)
            found = pool.snapshots.get(spec.snapshot_id)
            if found is not None and (found.facts.volume_id, found.together) != (spec.volume_id, wanted):
                raise Mismatch(f"snapshot {spec.snapshot_id} is of another volume or moment", found=found.facts)
        if not wanted <= pool.snapshots.keys():
            if there := wanted & pool.snapshots.keys():
                raise Mismatch(f"some of the snapshots are there already: {', '.join(sorted(there))}", found=there)
            moment = self._now()
            for spec in specs:
                volume = self._volume(spec.volume_id)
                facts = SnapshotFacts(
                    spec.snapshot_id, spec.volume_id, volume.facts.size_bytes, moment, dict(spec.labels)
                )
                pool.snapshots[spec.snapshot_id] = _Snapshot(facts, volume.pages.fork(), wanted)
        return [pool.snapshots[spec.snapshot_id].facts for spec in specs]

    async def ensure_no_snapshot(self, snapshot_id: SnapshotId) -> None:
        self._pool().snapshots.pop(snapshot_id, None)

    async def ensure_reverted(self, volume_id: VolumeId, snapshot_id: SnapshotId, token: int) -> VolumeFacts:
        volume = self._volume(volume_id)
        if token < 1:
            raise Mismatch("a revert token is at least 1", expected=1, found=token)
        # The token is looked at before the snapshot: what has been applied stays so when the snapshot is gone.
        if token == volume.facts.applied_token:
            return volume.facts
        if token < volume.facts.applied_token:
            raise Stale(f"volume {volume_id} was reverted with token {volume.facts.applied_token}, now came {token}")
        snapshot = self._snapshot(snapshot_id)
        if snapshot.facts.volume_id != volume_id:
            raise Mismatch(
                f"snapshot {snapshot_id} is of another volume", expected=volume_id, found=snapshot.facts.volume_id
            )
        facts = replace(volume.facts, applied_token=token)
        self._pool().volumes[volume_id] = _Volume(facts, snapshot.pages.fork())
        return facts

    async def inspect_volume(self, volume_id: VolumeId) -> VolumeFacts | None:
        volume = self._pool().volumes.get(volume_id)
        return None if volume is None else volume.facts

    async def inspect_snapshot(self, snapshot_id: SnapshotId) -> SnapshotFacts | None:
        snapshot = self._pool().snapshots.get(snapshot_id)
        return None if snapshot is None else snapshot.facts

    async def list_objects(self) -> Objects:
        pool = self._pool()
        return Objects(
            volumes={volume_id: volume.facts for volume_id, volume in pool.volumes.items()},
            snapshots={snapshot_id: snapshot.facts for snapshot_id, snapshot in pool.snapshots.items()},
        )

    async def settle(self) -> None:
        self._pool()

    async def read(self, object_id: VolumeId | SnapshotId, offset_bytes: int, length_bytes: int) -> bytes:
        pool = self._pool()
        found = pool.volumes.get(VolumeId(object_id)) or pool.snapshots.get(SnapshotId(object_id))
        if found is None:
            raise Mismatch(f"there is no volume or snapshot {object_id}")
        _check_range(offset_bytes, length_bytes, found.facts.size_bytes)
        return found.pages.read(offset_bytes, length_bytes)

    async def write(self, volume_id: VolumeId, offset_bytes: int, data: bytes) -> None:
        """Write as a client of the volume would. Raises Mismatch for an unknown id or a range beyond the end."""
        volume = self._volume(volume_id)
        _check_range(offset_bytes, len(data), volume.facts.size_bytes)
        volume.pages.write(offset_bytes, data)

    async def write_zeros(self, volume_id: VolumeId, offset_bytes: int, length_bytes: int) -> None:
        """Make a range read as zeros and take no room, as a client's trim would. Raises as `write` does."""
        volume = self._volume(volume_id)
        _check_range(offset_bytes, length_bytes, volume.facts.size_bytes)
        volume.pages.zero(offset_bytes, length_bytes)

    async def flush(self, volume_id: VolumeId) -> None:
        self._pool()

    async def changed_blocks(self, snapshot_id: SnapshotId, since: SnapshotId | None) -> Sequence[Extent]:
        snapshot = self._snapshot(snapshot_id)
        before = self._snapshot(since) if since is not None else None
        if before is not None and before.facts.volume_id != snapshot.facts.volume_id:
            raise Mismatch(
                f"snapshots {snapshot_id} and {since} are of different volumes",
                expected=snapshot.facts.volume_id, found=before.facts.volume_id,
            )  # fmt: skip
        extents: list[Extent] = []
        for number in snapshot.pages.changed(before.pages if before else _Pages()):
            start, end = number * PAGE_BYTES, min((number + 1) * PAGE_BYTES, snapshot.facts.size_bytes)
            if extents and extents[-1].offset_bytes + extents[-1].length_bytes == start:
                start = extents.pop().offset_bytes
            if start < end:
                extents.append(Extent(start, end - start))
        return extents

    async def list_strays(self) -> Sequence[Stray]:
        pool = self._pool()
        volumes = [Stray(name, "volume", one.facts.size_bytes) for name, one in pool.released.items()]
        snapshots = [
            Stray(name, "snapshot", one.facts.size_bytes, one.facts.volume_id)
            for name, one in pool.released_snapshots.items()
        ]
        return sorted([*volumes, *snapshots], key=lambda stray: stray.name)

    async def ensure_released(self, volume_id: VolumeId, name: str) -> None:
        pool = self._pool()
        volume = pool.volumes.get(volume_id)
        if volume is None:
            return
        by = tuple(key for key, one in pool.snapshots.items() if one.facts.volume_id == volume_id)
        if by:
            raise Busy(f"volume {volume_id} has snapshots", by)
        if name in pool.released:
            raise Mismatch(f"there is another stray called {name}")
        pool.released[name] = pool.volumes.pop(volume_id)

    async def ensure_adopted(self, spec: VolumeSpec, name: str) -> VolumeFacts:
        pool = self._pool()
        present = pool.volumes.get(spec.volume_id) or pool.released.get(name)
        if present is None:
            raise Mismatch(f"there is no stray volume {name}")
        if present.facts.size_bytes != spec.size_bytes:
            raise Mismatch(f"{name} has another size", expected=spec.size_bytes, found=present.facts.size_bytes)
        if spec.volume_id in pool.volumes:
            return present.facts
        facts = replace(present.facts, volume_id=spec.volume_id, labels=dict(spec.labels))
        pool.volumes[spec.volume_id] = replace(pool.released.pop(name), facts=facts)
        for key, one in pool.released_snapshots.items():
            if one.facts.volume_id == present.facts.volume_id:
                pool.released_snapshots[key] = replace(one, facts=replace(one.facts, volume_id=spec.volume_id))
        return facts

    async def ensure_snapshot_released(self, snapshot_id: SnapshotId, name: str) -> None:
        pool = self._pool()
        if snapshot_id not in pool.snapshots:
            return
        if name in pool.released_snapshots:
            raise Mismatch(f"there is another stray called {name}")
        pool.released_snapshots[name] = pool.snapshots.pop(snapshot_id)

    async def ensure_snapshot_adopted(self, spec: SnapshotSpec, name: str) -> SnapshotFacts:
        pool = self._pool()
        present = pool.snapshots.get(spec.snapshot_id) or pool.released_snapshots.get(name)
        if present is None or present.facts.volume_id != spec.volume_id:
            raise Mismatch(f"volume {spec.volume_id} has no stray snapshot {name}")
        if spec.snapshot_id in pool.snapshots:
            return present.facts
        facts = replace(present.facts, snapshot_id=spec.snapshot_id, labels=dict(spec.labels))
        pool.snapshots[spec.snapshot_id] = replace(pool.released_snapshots.pop(name), facts=facts)
        return facts

    def _ensure_volume(self, spec: VolumeSpec, first_pages: Callable[[], _Pages]) -> VolumeFacts:
        present = self._pool().volumes.get(spec.volume_id)
        if present is not None:
            if present.facts.size_bytes != spec.size_bytes:
                raise Mismatch(
                    f"volume {spec.volume_id} exists with another size",
                    expected=spec.size_bytes,
                    found=present.facts.size_bytes,
                )
            return present.facts
        _check_size(spec.size_bytes)
        made = _Volume(VolumeFacts(spec.volume_id, spec.size_bytes, dict(spec.labels)), first_pages())
        self._pool().volumes[spec.volume_id] = made
        return made.facts

    def _pool(self) -> MemoryStorage:
        if not self._is_open:
            raise Broken("the memory engine is not open; call open() first")
        return self._storage

    def _volume(self, volume_id: VolumeId) -> _Volume:
        volume = self._pool().volumes.get(volume_id)
        if volume is None:
            raise Mismatch(f"there is no volume {volume_id}")
        return volume

    def _snapshot(self, snapshot_id: SnapshotId) -> _Snapshot:
        snapshot = self._pool().snapshots.get(snapshot_id)
        if snapshot is None:
            raise Mismatch(f"there is no snapshot {snapshot_id}")
        return snapshot


def _check_size(size_bytes: int) -> None:
    if size_bytes <= 0 or size_bytes % SECTOR_BYTES or size_bytes > MAX_VOLUME_BYTES:
        raise Mismatch(
            f"a size is a multiple of {SECTOR_BYTES} bytes, above 0 and at most {MAX_VOLUME_BYTES}", found=size_bytes
        )


def _check_range(offset_bytes: int, length_bytes: int, size_bytes: int) -> None:
    if offset_bytes < 0 or length_bytes < 0 or offset_bytes + length_bytes > size_bytes:
        raise Mismatch(
            f"bytes {offset_bytes} to {offset_bytes + length_bytes} are not within the {size_bytes} bytes there are"
        )
