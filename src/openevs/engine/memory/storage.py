"""What outlives a memory engine, and the part of one that every other part is made on."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from openevs.domain.ids import SnapshotId, VolumeId
from openevs.engine.errors import Broken, Mismatch
from openevs.engine.memory.pages import Pages
from openevs.engine.port import SnapshotFacts, VolumeFacts

SECTOR_BYTES: Final = 512
MAX_VOLUME_BYTES: Final = 1 << 46
"""64 TiB, twice the largest disk of the public cloud: far above what a test asks for, far below any number's limit."""
DEFAULT_TOTAL_BYTES: Final = 1 << 40
"""1 TiB: thin volumes of tests fit into it by the hundred."""


@dataclass(frozen=True, slots=True)
class KeptVolume:
    facts: VolumeFacts
    pages: Pages


@dataclass(frozen=True, slots=True)
class KeptSnapshot:
    facts: SnapshotFacts
    pages: Pages
    together: frozenset[SnapshotId] = frozenset()
    """The snapshots of the same instant, if it was taken in a group."""


@dataclass(slots=True)
class MemoryStorage:
    """What outlives a `MemoryEngine`: the pool."""

    total_bytes: int = DEFAULT_TOTAL_BYTES
    volumes: dict[VolumeId, KeptVolume] = field(default_factory=dict)
    snapshots: dict[SnapshotId, KeptSnapshot] = field(default_factory=dict)
    released: dict[str, KeptVolume] = field(default_factory=dict)
    """Volumes that are nobody's, by name."""
    reached: int = 0
    released_snapshots: dict[str, KeptSnapshot] = field(default_factory=dict)


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Opened:
    """The storage, while an engine is open."""

    def __init__(self, storage: MemoryStorage | None = None, now: Callable[[], datetime] = _utc_now) -> None:
        self._storage = MemoryStorage() if storage is None else storage
        self._now = now
        self._is_open = False

    async def open(self) -> None:
        self._is_open = True

    async def close(self) -> None:
        self._is_open = False

    def _pool(self) -> MemoryStorage:
        if not self._is_open:
            raise Broken("the memory engine is not open; call open() first")
        return self._storage

    def _volume(self, volume_id: VolumeId) -> KeptVolume:
        volume = self._pool().volumes.get(volume_id)
        if volume is None:
            raise Mismatch(f"there is no volume {volume_id}")
        return volume

    def _snapshot(self, snapshot_id: SnapshotId) -> KeptSnapshot:
        snapshot = self._pool().snapshots.get(snapshot_id)
        if snapshot is None:
            raise Mismatch(f"there is no snapshot {snapshot_id}")
        return snapshot


def check_size(size_bytes: int) -> None:
    if size_bytes <= 0 or size_bytes % SECTOR_BYTES or size_bytes > MAX_VOLUME_BYTES:
        raise Mismatch(
            f"a size is a multiple of {SECTOR_BYTES} bytes, above 0 and at most {MAX_VOLUME_BYTES}", found=size_bytes
        )


def check_range(offset_bytes: int, length_bytes: int, size_bytes: int) -> None:
    if offset_bytes < 0 or length_bytes < 0 or offset_bytes + length_bytes > size_bytes:
        raise Mismatch(
            f"bytes {offset_bytes} to {offset_bytes + length_bytes} are not within the {size_bytes} bytes there are"
        )
