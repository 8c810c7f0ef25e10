"""Groups copied, frozen and deleted."""

from openevs.domain.errors import NotFound
from openevs.domain.model import Snapshot
from openevs.service import backups, copying, group_snapshots, group_types, groups, volumes
from openevs.service.backups import NewBackup
from openevs.service.copying import NewCopy
from openevs.service.group_snapshots import NewGroupSnapshot
from openevs.service.groups import NewGroup
from openevs.service.volumes import NewVolume
from openevs.store.database import Tx
from openevs.store.group_snapshots import find_group_snapshot, snapshots_of_group_snapshot
from openevs.store.groups import count_groups
from tests.operations.scenarios.scenario import Scenario
from tests.operations.stage import Stage


async def backed_up_group(stage: Stage) -> None:
    """A group of two, of one of which there is a backup."""
    await group_of_two(stage)
    made = await backups.create_backup(stage.deps, stage.caller, NewBackup(stage.things["first"]))
    stage.things["backup"] = made.id
    await stage.settled()


async def empty_group(stage: Stage) -> None:
    """A group of a type that asks for one instant."""
    specs = {"consistent_group_snapshot_enabled": "<is> True"}
    kind = await group_types.create_group_type(stage.deps, stage.caller, "kind", None, specs, is_public=True)
    new = NewGroup(kind.id, [stage.deps.volume_type], "group")
    stage.things["group"] = (await groups.create_group(stage.deps, stage.caller, new)).id


async def group_of_two(stage: Stage) -> None:
    """A group with two volumes."""
    await empty_group(stage)
    for name in ("first", "second"):
        made = await volumes.create_volume(stage.deps, stage.caller, NewVolume(1, name, group_id=stage.things["group"]))
        stage.things[name] = made.id
        await stage.settled()
        await stage.write(name, f"past of {name}")


async def group_with_past(stage: Stage) -> None:
    """A group of two with a group snapshot, written to since."""
    await group_of_two(stage)
    await new_group_snapshot(stage)
    stage.things["taken"] = stage.things.pop("new")
    await stage.settled()
    for name in ("first", "second"):
        await stage.write(name, "present")


async def new_group_snapshot(stage: Stage) -> None:
    """Ask for a snapshot of the group."""
    new = NewGroupSnapshot(stage.things["group"], "snapshot")
    made = await group_snapshots.create_group_snapshot(stage.deps, stage.caller, new)
    stage.things["new"] = made.id


def _taken(stage: Stage) -> str:
    return stage.things.get("taken") or stage.things["new"]


async def _members(stage: Stage) -> tuple[str, list[Snapshot]]:
    """Return the status of the group snapshot and its snapshots."""
    taken = _taken(stage)

    def find(tx: Tx) -> tuple[str, list[Snapshot]]:
        try:
            found = find_group_snapshot(tx, taken)
        except NotFound:
            return "gone", snapshots_of_group_snapshot(tx, taken)
        return found.status, snapshots_of_group_snapshot(tx, found.id)

    return await stage.deps.db.read(find)


async def group_snapshot_made(stage: Stage) -> None:
    """There is one instant, and each snapshot has the bytes of its volume."""
    status, rows = await _members(stage)
    assert (status, [row.status for row in rows]) == ("available", ["available"] * 2)
    assert len({row.taken_at for row in rows}) == 1
    assert {row.taken_at for row in rows} == {each.taken_at for each in (await stage.objects()).snapshots.values()}
    for row in rows:
        stage.things["member"] = row.id
        name = next(name for name in ("first", "second") if stage.things[name] == row.volume_id)
        assert await stage.read("member") == f"past of {name}"


async def group_snapshot_not_made(stage: Stage) -> None:
    """The rows say why; nothing is on storage; deleting it works."""
    status, rows = await _members(stage)
    assert (status, {row.status for row in rows}) == ("error", {"error"})
    assert all(row.reason for row in rows)
    assert (await stage.objects()).snapshots == {}
    await delete_group_snapshot(stage)
    await stage.settled()
    assert await _members(stage) == ("gone", [])


async def delete_group_snapshot(stage: Stage) -> None:
    """Ask for the deletion of the group snapshot."""
    await group_snapshots.delete_group_snapshot(stage.deps, stage.caller, _taken(stage))


async def group_snapshot_deleted(stage: Stage) -> None:
    """It is gone, the volumes are not."""
    assert await _members(stage) == ("gone", [])
    assert (await stage.objects()).snapshots == {}
    assert [await stage.read(name) for name in ("first", "second")] == ["present"] * 2


async def group_snapshot_not_deleted(stage: Stage) -> None:
    """The rows say why; once an administrator has reset the status it is deleted."""
    status, rows = await _members(stage)
    assert (status, {row.status for row in rows}) == ("error_deleting", {"error_deleting"})
    await group_snapshots.reset_group_snapshot_status(stage.deps, stage.caller, _taken(stage), "error")
    await delete_group_snapshot(stage)
    await stage.settled()
    await group_snapshot_deleted(stage)


async def delete_group(stage: Stage) -> None:
    """Ask for the deletion of the group with its volumes."""
    await groups.delete_group(stage.deps, stage.caller, stage.things["group"], with_volumes=True)


async def group_deleted(stage: Stage) -> None:
    """Group and volumes are gone."""
    assert [await stage.volume(name) for name in ("first", "second")] == [None, None]
    assert (await stage.objects()).volumes == {}
    assert await stage.deps.db.read(lambda tx: count_groups(tx, [])) == 0


async def group_not_deleted(stage: Stage) -> None:
    """Group and volumes say why, and may be deleted again."""
    group, _ = await groups.get_group(stage.deps, stage.caller, stage.things["group"])
    assert (group.status, bool(group.reason)) == ("error_deleting", True)
    await delete_group(stage)
    await stage.settled()
    await group_deleted(stage)


async def group_from_group(stage: Stage) -> None:
    """Ask for a group like the group."""
    new = NewCopy(source_group_id=stage.things["group"])
    stage.things["new"] = (await copying.copy_group(stage.deps, stage.caller, new)).id


async def group_from_snapshot(stage: Stage) -> None:
    """Ask for a group from the group snapshot."""
    new = NewCopy(group_snapshot_id=stage.things["taken"])
    stage.things["new"] = (await copying.copy_group(stage.deps, stage.caller, new)).id


async def group_copied(stage: Stage) -> None:
    """The copies are there with the bytes of the past, and nothing was left over from making them."""
    group, volume_ids = await groups.get_group(stage.deps, stage.caller, stage.things["new"])
    assert (group.status, group.reason, len(volume_ids)) == ("available", None, 2)
    found = set()
    for volume_id in volume_ids:
        stage.things["member"] = volume_id
        row = await stage.volume("member")
        assert row is not None
        assert row.status == "available"
        found.add(await stage.read("member"))
    assert found == {"past of first", "past of second"}


async def group_not_copied(stage: Stage) -> None:
    """Group and volumes say why; nothing is on storage; deleting the group works."""
    group, volume_ids = await groups.get_group(stage.deps, stage.caller, stage.things["new"])
    assert (group.status, bool(group.reason), len(volume_ids)) == ("error", True, 2)
    assert not set(volume_ids) & set((await stage.objects()).volumes)
    await groups.delete_group(stage.deps, stage.caller, group.id, with_volumes=True)
    await stage.settled()
    assert await stage.deps.db.read(lambda tx: count_groups(tx, [])) == 1


SCENARIOS = (
    Scenario(
        "create_group_snapshot", "of_two", group_of_two, new_group_snapshot,
        group_snapshot_made, group_snapshot_not_made, "undone", kept="first",
    ),
    Scenario(
        "delete_group_snapshot", "of_two", group_with_past, delete_group_snapshot,
        group_snapshot_deleted, group_snapshot_not_deleted, "retried by force", kept="first",
    ),
    Scenario(
        "delete_group", "of_two", group_of_two, delete_group, group_deleted, group_not_deleted, "retried by force",
    ),
    Scenario(
        "delete_group", "backed_up", backed_up_group, delete_group, group_deleted, group_not_deleted,
        "retried by force",
    ),
    Scenario(
        "create_group", "from_group", group_of_two, group_from_group, group_copied, group_not_copied, "undone",
        kept="first",
    ),
    Scenario(
        "create_group", "from_snapshot", group_with_past, group_from_snapshot, group_copied, group_not_copied, "undone",
        kept="first",
    ),
)  # fmt: skip
