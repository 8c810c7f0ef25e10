"""Several volumes of the memory engine frozen at one instant: the power `GroupSnapshots`."""

from collections.abc import Sequence

from openevs.engine.errors import Mismatch
from openevs.engine.memory.storage import KeptSnapshot, Opened
from openevs.engine.port import SnapshotFacts, SnapshotSpec


class Grouping(Opened):
    """The method that freezes a group."""

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
                pool.snapshots[spec.snapshot_id] = KeptSnapshot(facts, volume.pages.fork(), wanted)
        return [pool.snapshots[spec.snapshot_id].facts for spec in specs]
