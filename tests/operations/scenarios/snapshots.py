"""Snapshots taken and deleted."""

from openevs.service import snapshots
from openevs.service.snapshots import NewSnapshot
from tests.operations.scenarios.scenario import Scenario, one_volume, volume_with_past
from tests.operations.stage import Stage


async def new_snapshot(stage: Stage) -> None:
    """Ask for a snapshot."""
    made = await snapshots.create_snapshot(stage.deps, stage.caller, NewSnapshot(stage.things["volume"], "new"))
    stage.things["new"] = made.id


async def snapshot_made(stage: Stage) -> None:
    """The new snapshot has the bytes of the moment."""
    row = await stage.snapshot("new")
    assert row is not None
    assert (row.status, row.progress, row.reason) == ("available", "100%", None)
    assert row.taken_at == (await stage.objects()).snapshots[row.id].taken_at
    assert await stage.read("new") == "present"


async def snapshot_not_made(stage: Stage) -> None:
    """The row says why; nothing is on storage; deleting it works."""
    row = await stage.snapshot("new")
    assert row is not None
    assert (row.status, bool(row.reason)) == ("error", True)
    assert row.id not in (await stage.objects()).snapshots
    await snapshots.delete_snapshot(stage.deps, stage.caller, row.id)
    await stage.settled()
    assert await stage.snapshot("new") is None


async def delete_snapshot(stage: Stage) -> None:
    """Ask for the deletion of the snapshot."""
    await snapshots.delete_snapshot(stage.deps, stage.caller, stage.things["snapshot"])


async def snapshot_deleted(stage: Stage) -> None:
    """The snapshot is gone, the volume is not."""
    assert await stage.snapshot("snapshot") is None
    assert stage.things["snapshot"] not in (await stage.objects()).snapshots
    assert await stage.read("volume") == "present"


async def snapshot_not_deleted(stage: Stage) -> None:
    """The row says why, and an administrator's force deletes it."""
    row = await stage.snapshot("snapshot")
    assert row is not None
    assert (row.status, bool(row.reason)) == ("error_deleting", True)
    await snapshots.force_delete_snapshot(stage.deps, stage.caller, row.id)
    await stage.settled()
    await snapshot_deleted(stage)


SCENARIOS = (
    Scenario(
        "create_snapshot", "of_volume", one_volume, new_snapshot, snapshot_made, snapshot_not_made, "undone",
        kept="volume",
    ),
    Scenario(
        "delete_snapshot", "only_one", volume_with_past, delete_snapshot,
        snapshot_deleted, snapshot_not_deleted, "retried by force", kept="volume",
    ),
)  # fmt: skip
