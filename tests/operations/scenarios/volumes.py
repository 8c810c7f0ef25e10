"""Volumes made, grown, put back and deleted."""

from openevs.service import reverting, snapshots, volumes
from openevs.service.volumes import NewVolume
from tests.operations.scenarios.scenario import Act, Scenario, nothing, one_volume, volume_with_past
from tests.operations.stage import Stage


async def new_volume(stage: Stage, **source: str) -> None:
    """Ask for a volume."""
    made = await volumes.create_volume(stage.deps, stage.caller, NewVolume(2, "new", **source))  # type: ignore[arg-type]
    stage.things["new"] = made.id


async def new_volume_from_snapshot(stage: Stage) -> None:
    """Ask for a volume from a snapshot."""
    await new_volume(stage, snapshot_id=stage.things["snapshot"])


async def new_volume_from_volume(stage: Stage) -> None:
    """Ask for a volume from a volume."""
    await new_volume(stage, source_volid=stage.things["volume"])


def volume_made(text: str) -> Act:
    """Return the check that the new volume is there with these bytes."""

    async def check(stage: Stage) -> None:
        row = await stage.volume("new")
        assert row is not None
        assert (row.status, row.size_gib, row.reason) == ("available", 2, None)
        assert await stage.read("new") == text

    return check


async def volume_not_made(stage: Stage) -> None:
    """The row says why; nothing is on storage; deleting it works."""
    row = await stage.volume("new")
    assert row is not None
    assert (row.status, bool(row.reason)) == ("error", True)
    assert row.id not in (await stage.objects()).volumes
    await volumes.delete_volume(stage.deps, stage.caller, row.id, cascade=False)
    await stage.settled()
    assert await stage.volume("new") is None


async def delete_volume(stage: Stage) -> None:
    """Ask for the deletion of the volume with its snapshots."""
    await volumes.delete_volume(stage.deps, stage.caller, stage.things["volume"], cascade=True)


async def volume_deleted(stage: Stage) -> None:
    """Volume and snapshots are gone."""
    assert await stage.volume("volume") is None
    objects = await stage.objects()
    assert (objects.volumes, objects.snapshots) == ({}, {})


async def volume_not_deleted(stage: Stage) -> None:
    """The rows say why, and an administrator's force deletes them."""
    row, past = await stage.volume("volume"), await stage.snapshot("snapshot")
    assert row is not None
    assert past is not None
    assert (row.status, past.status) == ("error_deleting", "error_deleting")
    assert row.reason
    assert past.reason
    await volumes.delete_volume(stage.deps, stage.caller, row.id, cascade=True, force=True)
    await stage.settled()
    await volume_deleted(stage)


async def extend_volume(stage: Stage) -> None:
    """Ask for a larger volume."""
    await volumes.extend_volume(stage.deps, stage.caller, stage.things["volume"], 3, attached=False)


async def volume_extended(stage: Stage) -> None:
    """The volume is larger."""
    row = await stage.volume("volume")
    assert row is not None
    assert (row.status, row.size_gib, row.reason) == ("available", 3, None)


async def volume_not_extended(stage: Stage) -> None:
    """The volume is as it was, and says why."""
    row = await stage.volume("volume")
    assert row is not None
    assert (row.status, row.size_gib, bool(row.reason)) == ("error_extending", 1, True)
    assert await stage.read("volume") == "present"


async def rollback_volume(stage: Stage) -> None:
    """Ask for EVS's roll-back."""
    await snapshots.rollback_snapshot(stage.deps, stage.caller, stage.things["snapshot"], stage.things["volume"])


async def revert_volume(stage: Stage) -> None:
    """Ask for Cinder's revert."""
    await reverting.revert_volume(stage.deps, stage.caller, stage.things["volume"], stage.things["snapshot"])


async def volume_reverted(stage: Stage) -> None:
    """The volume is available, and so is the snapshot."""
    row, past = await stage.volume("volume"), await stage.snapshot("snapshot")
    assert row is not None
    assert past is not None
    assert (row.status, row.reason, past.status) == ("available", None, "available")


def volume_not_reverted(status: str) -> Act:
    """Return the check that the volume has its bytes of before, and says why."""

    async def check(stage: Stage) -> None:
        row, past = await stage.volume("volume"), await stage.snapshot("snapshot")
        assert row is not None
        assert past is not None
        assert (row.status, bool(row.reason), past.status) == (status, True, "available")

    return check


SCENARIOS = (
    Scenario(
        "create_volume", "empty", nothing, new_volume, volume_made(""), volume_not_made, "undone", kept="new"
    ),
    Scenario(
        "create_volume", "from_snapshot", volume_with_past, new_volume_from_snapshot,
        volume_made("past"), volume_not_made, "undone", kept="new",
    ),
    Scenario(
        "create_volume", "from_volume", one_volume, new_volume_from_volume,
        volume_made("present"), volume_not_made, "undone", kept="new",
    ),
    Scenario(
        "delete_volume", "with_snapshot", volume_with_past, delete_volume,
        volume_deleted, volume_not_deleted, "retried by force",
    ),
    Scenario(
        "extend_volume", "detached", one_volume, extend_volume, volume_extended, volume_not_extended, "forward only",
        kept="volume",
    ),
    Scenario(
        "rollback_volume", "to_snapshot", volume_with_past, rollback_volume,
        volume_reverted, volume_not_reverted("error_rollbacking"), "forward only", kept="volume",
    ),
    Scenario(
        "revert_volume", "to_snapshot", volume_with_past, revert_volume,
        volume_reverted, volume_not_reverted("error"), "forward only", kept="volume",
    ),
)  # fmt: skip
