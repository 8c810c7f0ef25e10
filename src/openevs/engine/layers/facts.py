"""From what a manifest says to the facts that the contract returns."""

from openevs.domain.ids import SnapshotId
from openevs.engine.layers.manifest import Manifest
from openevs.engine.port import SnapshotFacts, VolumeFacts


def volume_facts(made: Manifest) -> VolumeFacts:
    """Return the volume as it is."""
    return VolumeFacts(made.volume_id, made.size_bytes, dict(made.labels), made.applied_token)


def snapshot_facts(made: Manifest, snapshot_id: SnapshotId) -> SnapshotFacts:
    """Return one of the volume's snapshots as it is."""
    found = made.snapshots[snapshot_id]
    return SnapshotFacts(
        snapshot_id, made.volume_id, found.size_bytes, found.taken_at, dict(found.labels), found.cut_ms, found.stall_ms
    )
