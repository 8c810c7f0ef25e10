"""What changed between two snapshots: what the layers hold that the two do not have in common.

Below the layer where their chains meet they show the same. Above it each byte that a layer holds (zeros that were
written count) may be other; a byte that none of them holds is the common one. Merging two layers gives one that holds
what either did, and a roll-back or a growth is one more layer, so none of that can hide a change.

Asked of a reader of the chain, which knows for each byte how deep its layer lies.
"""

from collections.abc import Iterable, Sequence

from openevs.domain.ids import SnapshotId
from openevs.engine.errors import EngineError, Mismatch
from openevs.engine.layers.core import Core
from openevs.engine.layers.faults import translated
from openevs.engine.layers.graph import LayerId
from openevs.engine.layers.manifest import Snapshot
from openevs.engine.layers.reads import Reader, Readers, Reading
from openevs.engine.nbd_status import ALLOCATION, DEPTH, READS_AS_ZEROS, NbdStatus
from openevs.engine.port import Extent

_Range = tuple[int, int]


class Changes:
    """The method of the contract that tells what changed."""

    def __init__(self, core: Core, reading: Reading, readers: Readers) -> None:
        self._core = core
        self._reading = reading
        self._readers = readers

    async def changed_blocks(self, snapshot_id: SnapshotId, since: SnapshotId | None) -> Sequence[Extent]:
        """Return where the snapshot may differ from `since`, or from zeros."""
        self._check(snapshot_id, since)
        if since is not None and self._snapshot(snapshot_id).layer == self._snapshot(since).layer:
            return []
        while True:
            reader, now = await self._reading.reader(snapshot_id, 0, 0)
            try:
                async with self._readers.using(reader):
                    size = self._snapshot(snapshot_id).size_bytes
                    if since is None:
                        return _joined(await _not_zero(reader, size))
                    found = await self._since(reader, size, since)
                    return _joined(found)
            except EngineError:
                if reader.chain == now():
                    raise  # else layers were merged meanwhile

    async def _since(self, reader: Reader, size: int, since: SnapshotId) -> list[_Range]:
        """Ask both sides; of the same instant as far as layers go, or Mismatch is raised and it is done again."""
        before, _ = await self._reading.reader(since, 0, 0)
        async with self._readers.using(before):
            common = _common(reader.chain, before.chain)
            found = await _held(reader, len(reader.chain) - common, size)
            if len(before.chain) > common:
                found = sorted(found + await _held(before, len(before.chain) - common, size))
            return found

    def _check(self, snapshot_id: SnapshotId, since: SnapshotId | None) -> None:
        owners = [self._core.owners.get(name) for name in (snapshot_id, since or snapshot_id)]
        if None in owners:
            name = snapshot_id if owners[0] is None else since
            raise Mismatch(f"there is no snapshot {name} in this pool", expected=name)
        if owners[0] != owners[1]:
            raise Mismatch(
                f"snapshots {snapshot_id} and {since} are of different volumes", expected=owners[0], found=owners[1]
            )

    def _snapshot(self, snapshot_id: SnapshotId) -> Snapshot:
        owner = self._core.owners.get(snapshot_id)
        if owner is None:
            raise Mismatch(f"there is no snapshot {snapshot_id} in this pool", expected=snapshot_id)
        return self._core.volumes[owner].manifest.snapshots[snapshot_id]


def _common(one: Sequence[LayerId], other: Sequence[LayerId]) -> int:
    """Return how many layers the chains have in common, from the lowest up."""
    count = 0
    for left, right in zip(reversed(one), reversed(other), strict=False):
        if left != right:
            break
        count += 1
    return count


async def _held(reader: Reader, layers: int, size: int) -> list[_Range]:
    """Return what the topmost `layers` of the chain hold. (What is in none is as deep as 0.)"""
    if not layers:
        return []
    size = min(size, reader.client.size_bytes)
    with translated():
        async with await NbdStatus.connect(reader.uri, DEPTH) as status:
            return [(run.offset, run.length) async for run in status.runs(0, size) if 0 < run.value <= layers]


async def _not_zero(reader: Reader, size: int) -> list[_Range]:
    size = min(size, reader.client.size_bytes)
    with translated():
        async with await NbdStatus.connect(reader.uri, ALLOCATION) as status:
            return [(run.offset, run.length) async for run in status.runs(0, size) if not run.value & READS_AS_ZEROS]


def _joined(ranges: Iterable[_Range]) -> list[Extent]:
    """Return sorted ranges as extents that neither overlap nor touch."""
    found: list[Extent] = []
    for start, length in ranges:
        last = found[-1] if found else Extent(-1, 0)
        if start > last.offset_bytes + last.length_bytes:
            found.append(Extent(start, length))
        else:
            found[-1] = Extent(last.offset_bytes, max(last.length_bytes, start + length - last.offset_bytes))
    return found
