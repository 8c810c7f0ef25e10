"""What can be asked of group snapshots (microversion 3.14). The one instant is the operation's business
(`operations/create_group_snapshot.py`)."""

from typing import NamedTuple

from openevs.domain.errors import InUse
from openevs.domain.group import GroupSnapshot, is_consistent
from openevs.domain.ids import new_uuid
from openevs.domain.lifecycle import GROUP_SNAPSHOT_STATUSES, GroupSnapshotMoves, SnapshotMoves, reset
from openevs.domain.model import Caller, Operation, Snapshot
from openevs.domain.rules import SNAPSHOTTABLE, check_text
from openevs.service.deps import Deps, accept, queue_work, settle, with_reason
from openevs.service.groups import check_power
from openevs.service.membership import STEADY, check_one_instant
from openevs.service.parts import check_thawed
from openevs.service.queries import GROUP_SNAPSHOT_FILTERS, ListQuery, list_rows
from openevs.service.snapshots import NewSnapshot, add_snapshot
from openevs.store import group_snapshots as store
from openevs.store.database import Tx
from openevs.store.group_types import find_group_type
from openevs.store.groups import hold_group, volumes_of_group
from openevs.store.snapshots import move_snapshot
from openevs.store.tables import group_snapshot as table
from openevs.store.tables import volume as volume_table
from openevs.store.volumes import count_volumes, find_volume, hold_volume


class NewGroupSnapshot(NamedTuple):
    """A group snapshot as it is asked for."""

    group_id: str
    name: str | None = None
    description: str | None = None


async def create_group_snapshot(deps: Deps, caller: Caller, new: NewGroupSnapshot) -> GroupSnapshot:
    """Accept a snapshot of every volume of a group: it is `creating` until their bytes are frozen. Volumes in use need
    no wish for it. Raises InvalidInput, NotFound, WrongStatus, InUse, NotSupported, QuotaExceeded."""
    checked = new._replace(name=check_text("name", new.name), description=check_text("description", new.description))
    return await accept(deps, caller, GroupSnapshot, _accept_group_snapshot, deps, caller, checked)


def _accept_group_snapshot(
    tx: Tx, deps: Deps, caller: Caller, new: NewGroupSnapshot
) -> tuple[GroupSnapshot, Operation]:
    now = deps.clock()
    group = hold_group(tx, new.group_id, STEADY, "snapshot", caller.scope)
    kind = find_group_type(tx, group.group_type_id, hidden=True)
    check_power(deps, kind)
    made = GroupSnapshot(
        id=new_uuid(),
        project_id=group.project_id,
        user_id=caller.user_id,
        group_id=group.id,
        group_type_id=group.group_type_id,
        name=new.name,
        description=new.description,
        status="creating",
        created_at=now,
        updated_at=None,
        reason=None,
    )
    store.insert_group_snapshot(tx, made)
    owner = caller._replace(project_id=group.project_id)
    rows: list[Snapshot] = []
    members = volumes_of_group(tx, group.id)
    check_one_instant(tx, group, members)
    for member in members:
        volume = hold_volume(tx, member.id, SNAPSHOTTABLE["yes"], "snapshot")
        check_thawed(tx, deps, volume)
        wanted = NewSnapshot(volume.id, new.name, new.description)
        rows.append(add_snapshot(tx, deps, owner, volume, wanted, now, made.id))
    if not rows:
        raise InUse("group", f"group {group.id} has no volumes; there is nothing to take a snapshot of.")
    work = {
        "consistent": is_consistent(kind.group_specs),
        "freeze": [[row.id, row.volume_id] for row in rows],
        "name": new.name or "",
        "objects": [row.id for row in rows],
    }
    claims = [("snapshot", row.id) for row in rows]
    return made, queue_work(tx, deps, caller, "create_group_snapshot", made, work, claims)


async def get_group_snapshot(deps: Deps, caller: Caller, group_snapshot_id: str) -> GroupSnapshot:
    """Return a group snapshot. Raises NotFound."""
    await settle(deps, caller, group_snapshot_id)
    return with_reason(deps, await deps.db.read(store.find_group_snapshot, group_snapshot_id, caller.scope))


async def list_group_snapshots(deps: Deps, caller: Caller, query: ListQuery) -> tuple[list[GroupSnapshot], int | None]:
    """Return one page of group snapshots and, if asked for, how many there are in all.
    Raises InvalidInput, NotFound (marker)."""
    return await list_rows(deps, table, GroupSnapshot._make, GROUP_SNAPSHOT_FILTERS, caller, query)


async def delete_group_snapshot(deps: Deps, caller: Caller, group_snapshot_id: str) -> None:
    """Accept the deletion of a group snapshot with its snapshots. Raises NotFound, WrongStatus, InUse (a volume is just
    being made from one of them), Conflict."""
    await accept(deps, caller, GroupSnapshot, _accept_deletion, deps, caller, group_snapshot_id)


def _accept_deletion(tx: Tx, deps: Deps, caller: Caller, group_snapshot_id: str) -> tuple[GroupSnapshot, Operation]:
    now = deps.clock()
    found = store.move_group_snapshot(
        tx, group_snapshot_id, GroupSnapshotMoves.delete, now, project_id=caller.scope, also={"reason": None}
    )
    rows = store.snapshots_of_group_snapshot(tx, found.id)
    for row in rows:
        check_thawed(tx, deps, find_volume(tx, row.volume_id))
        move_snapshot(tx, row.id, SnapshotMoves.delete_with_group, now, also={"reason": None})
    ids = [row.id for row in rows]
    if count_volumes(tx, [volume_table.c.snapshot_id.in_(ids), volume_table.c.status == "creating"]):
        raise InUse(
            "group snapshot", f"a volume is just being made from group snapshot {found.id}; try again when it is done."
        )
    claims = [("snapshot", snapshot_id) for snapshot_id in ids]
    return found, queue_work(tx, deps, caller, "delete_group_snapshot", found, {"objects": ids}, claims)


async def reset_group_snapshot_status(deps: Deps, caller: Caller, group_snapshot_id: str, status: str) -> GroupSnapshot:
    """Set a status by hand (administrators). Raises InvalidInput, NotFound."""
    move = reset(status, GROUP_SNAPSHOT_STATUSES)
    return await deps.db.write(store.move_group_snapshot, group_snapshot_id, move, deps.clock(), also={"reason": None})
