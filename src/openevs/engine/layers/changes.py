"""What changed between two snapshots: what the layers hold that the two do not have in common.

Below the layer where their chains meet they show the same. Above it each byte that a layer holds (zeros that were
written count) may be other; a byte that none of them holds is the common one. Merging two layers gives one that holds
what either did, and a roll-back or a growth is one more layer, so none of that can hide a change.

Asked of a reader of the chain, which knows for each byte how deep its layer lies.
"""

import heapq
from collections.abc import Callable, Sequence

from openevs.domain.ids import SnapshotId
from openevs.engine.errors import EngineError, Mismatch
from openevs.engine.layers.core import Core
from openevs.engine.layers.extents import Extents
from openevs.engine.layers.faults import translated
from openevs.engine.layers.graph import LayerId
from openevs.engine.layers.manifest import Snapshot
from openevs.engine.layers.reads import Reader, Readers, Reading
from openevs.engine.nbd_status import ALLOCATION, DEPTH, READS_AS_ZEROS, NbdStatus
from openevs.engine.port import Extent


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
                    return await (_not_zero(reader, size) if since is None else self._since(reader, size, since))
            except EngineError:
                if reader.chain == now():
                    raise  # else layers were merged meanwhile

    async def _since(self, reader: Reader, size: int, since: SnapshotId) -> Extents:
        """Ask both sides; of the same instant as far as layers go, or Mismatch is raised and it is done again."""
        before, _ = await self._reading.reader(since, 0, 0)
        async with self._readers.using(before):
            common = _common(reader.chain, before.chain)
            found = await _held(reader, len(reader.chain) - common, size)
            if len(before.chain) > common:
                also = await _held(before, len(before.chain) - common, size)
                found = Extents(heapq.merge(found.ranges(), also.ranges()))
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


async def _held(reader: Reader, layers: int, size: int) -> Extents:
    """Return what the topmost `layers` of the chain hold. (What is in none is as deep as 0.)"""
    if not layers:
        return Extents()
    return await _where(reader, size, DEPTH, lambda depth: 0 < depth <= layers)


async def _not_zero(reader: Reader, size: int) -> Extents:
    return await _where(reader, size, ALLOCATION, lambda flags: not flags & READS_AS_ZEROS)


async def _where(reader: Reader, size: int, context: str, holds: Callable[[int], bool]) -> Extents:
    found, size = Extents(), min(size, reader.client.size_bytes)
    with translated():
        async with await NbdStatus.connect(reader.uri, context) as status:
            async for run in status.runs(0, size):
                if holds(run.value):
                    found.add(run.offset, run.length)
    return found
