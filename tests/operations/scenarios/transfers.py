"""Volumes that change their owner."""

from openevs.domain.ids import ProjectId, SnapshotId, VolumeId
from openevs.service import transfers
from tests.operations.scenarios.scenario import Scenario, volume_with_past
from tests.operations.stage import Stage


async def offered_volume(stage: Stage) -> None:
    """A volume with a snapshot, offered to whoever has the key."""
    await volume_with_past(stage)
    offer = await transfers.create_transfer(stage.deps, stage.caller, stage.things["volume"], None, no_snapshots=False)
    stage.things["transfer"], stage.things["key"] = offer[0].id, str(offer[1])


async def accept_transfer(stage: Stage) -> None:
    """Take it, as another project."""
    taker = stage.caller._replace(project_id=ProjectId("q"))
    await transfers.accept_transfer(stage.deps, taker, stage.things["transfer"], stage.things["key"])


async def volume_handed_over(stage: Stage) -> None:
    """Rows and storage say whose it is."""
    await rows_handed_over(stage)
    objects = await stage.objects()
    labels = [objects.volumes[VolumeId(stage.things["volume"])].labels]
    labels.append(objects.snapshots[SnapshotId(stage.things["snapshot"])].labels)
    assert labels == [{"project_id": "q", "name": "volume"}, {"project_id": "q", "name": "snapshot"}]


async def rows_handed_over(stage: Stage) -> None:
    """The rows say whose it is."""
    volume, snapshot = await stage.volume("volume"), await stage.snapshot("snapshot")
    assert volume is not None
    assert snapshot is not None
    assert (volume.status, volume.project_id, snapshot.project_id) == ("available", "q", "q")


SCENARIOS = (
    Scenario(
        "label_volume", "handed_over", offered_volume, accept_transfer, volume_handed_over, rows_handed_over,
        "forward only", kept="volume",
    ),
)  # fmt: skip
