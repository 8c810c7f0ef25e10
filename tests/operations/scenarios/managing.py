"""Volumes and snapshots let go of, looked for and managed again."""

import contextlib

from openevs.domain.errors import Unavailable
from openevs.domain.ids import GIB
from openevs.service import managing, snapshots, volumes
from openevs.service.managing import NewManaged, NewManagedSnapshot
from tests.operations.scenarios.backups import backed_up_volume
from tests.operations.scenarios.scenario import Scenario, one_volume, volume_with_past
from tests.operations.stage import Stage


async def unmanage_volume(stage: Stage) -> None:
    """Ask to let go of the volume."""
    await managing.unmanage_volume(stage.deps, stage.caller, stage.things["volume"])


async def volume_unmanaged(stage: Stage) -> None:
    """The row is gone, the bytes are not."""
    assert await stage.volume("volume") is None
    assert stage.things["volume"] not in (await stage.objects()).volumes
    assert stage.storage.memory.released.keys() == {f"volume-{stage.things['volume']}"}


async def volume_not_unmanaged(stage: Stage) -> None:
    """The row says why, and letting go may be asked for again."""
    row = await stage.volume("volume")
    assert row is not None
    assert (row.status, bool(row.reason)) == ("error_managing", True)
    await unmanage_volume(stage)
    await stage.settled()
    await volume_unmanaged(stage)


async def unmanaged_volume(stage: Stage) -> None:
    """A volume that was let go."""
    await one_volume(stage)
    await unmanage_volume(stage)
    await stage.settled()


def stray(kind: str, resource_id: str, volume_id: str | None = None) -> dict[str, object]:
    """Return what a look at storage tells of what was let go."""
    name = f"{kind}-{resource_id}"
    return {"name": name, "kind": kind, "size_bytes": GIB, "volume_id": volume_id, "unsafe": None}


async def manage_volume(stage: Stage) -> None:
    """Ask to manage it again, once it was found."""
    found = stray("volume", stage.things["volume"])
    made = await managing.take_over(stage.deps, stage.caller, NewManaged(None, None, "new"), found, "layers")
    stage.things["new"] = made.id


async def volume_managed(stage: Stage) -> None:
    """The bytes are those of before, under another id."""
    row = await stage.volume("new")
    assert row is not None
    assert (row.status, row.size_gib, row.reason) == ("available", 1, None)
    assert await stage.read("new") == "present"
    assert stage.storage.memory.released == {}


async def volume_not_managed(stage: Stage) -> None:
    """The row says why, and the bytes are where they were; deleting the row does nothing to them."""
    row = await stage.volume("new")
    assert row is not None
    assert (row.status, bool(row.reason)) == ("error_managing", True)
    await volumes.delete_volume(stage.deps, stage.caller, row.id, cascade=False)
    await stage.settled()
    assert await stage.volume("new") is None
    await volume_unmanaged(stage)


async def unmanage_snapshot(stage: Stage) -> None:
    """Ask to let go of the snapshot."""
    await managing.unmanage_snapshot(stage.deps, stage.caller, stage.things["snapshot"])


async def snapshot_unmanaged(stage: Stage) -> None:
    """The row is gone, the bytes are not."""
    assert await stage.snapshot("snapshot") is None
    assert stage.things["snapshot"] not in (await stage.objects()).snapshots
    assert stage.storage.memory.released_snapshots.keys() == {f"snapshot-{stage.things['snapshot']}"}


async def snapshot_not_unmanaged(stage: Stage) -> None:
    """The row says why, and letting go may be asked for again."""
    row = await stage.snapshot("snapshot")
    assert row is not None
    assert (row.status, bool(row.reason)) == ("error", True)
    await unmanage_snapshot(stage)
    await stage.settled()
    await snapshot_unmanaged(stage)


async def unmanaged_snapshot(stage: Stage) -> None:
    """A snapshot that was let go, of a volume that was written to since it was taken."""
    await volume_with_past(stage)
    await unmanage_snapshot(stage)
    await stage.settled()


async def manage_snapshot(stage: Stage) -> None:
    """Ask to manage it again, once it was found."""
    found = stray("snapshot", stage.things["snapshot"], stage.things["volume"])
    new = NewManagedSnapshot(None, stage.things["volume"], "new")
    stage.things["new"] = (await managing.take_over_snapshot(stage.deps, stage.caller, new, found)).id


async def snapshot_managed(stage: Stage) -> None:
    """Bytes and moment are those of before, under another id."""
    row = await stage.snapshot("new")
    assert row is not None
    assert (row.status, row.progress, row.reason) == ("available", "100%", None)
    assert row.taken_at == (await stage.objects()).snapshots[row.id].taken_at
    assert await stage.read("new") == "past"


async def snapshot_not_managed(stage: Stage) -> None:
    """The row says why, and the bytes are where they were."""
    row = await stage.snapshot("new")
    assert row is not None
    assert (row.status, bool(row.reason)) == ("error", True)
    await snapshots.delete_snapshot(stage.deps, stage.caller, row.id)
    await stage.settled()
    await snapshot_unmanaged(stage)


async def look_for_strays(stage: Stage) -> None:
    """Ask what can be managed."""
    with contextlib.suppress(Unavailable):
        await managing.list_manageable(stage.deps, stage.caller, "volume", "openevs@layers#layers")


async def strays_found(stage: Stage) -> None:
    """The operation has the answer."""
    (stray,) = (await stage.last_operation()).facts["strays"]
    assert (stray["name"], stray["kind"]) == (f"volume-{stage.things['volume']}", "volume")


SCENARIOS = (
    Scenario(
        "unmanage_volume", "detached", one_volume, unmanage_volume,
        volume_unmanaged, volume_not_unmanaged, "retried by force",
    ),
    Scenario(
        "unmanage_volume", "backed_up", backed_up_volume, unmanage_volume,
        volume_unmanaged, volume_not_unmanaged, "retried by force",
    ),
    Scenario(
        "manage_volume", "of_stray", unmanaged_volume, manage_volume,
        volume_managed, volume_not_managed, "undone", kept="new",
    ),
    Scenario(
        "unmanage_snapshot", "only_one", volume_with_past, unmanage_snapshot,
        snapshot_unmanaged, snapshot_not_unmanaged, "retried by force", kept="volume",
    ),
    Scenario(
        "manage_snapshot", "of_stray", unmanaged_snapshot, manage_snapshot,
        snapshot_managed, snapshot_not_managed, "undone", kept="volume",
    ),
    Scenario(
        "look_for_strays", "one", unmanaged_volume, look_for_strays, strays_found, volume_unmanaged, "retried by force"
    ),
)  # fmt: skip
