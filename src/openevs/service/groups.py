"""What can be asked of groups (microversion 3.13). Making one from another, or from a group snapshot: `copying.py`.

A group is rows: nothing of it is on storage. So it is there as soon as it was asked for, and volumes join and leave it
in one transaction; only deleting it together with its volumes, and copying it, is work.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from openevs.domain.errors import InUse, InvalidInput, NotFound, NotSupported
from openevs.domain.group import Group, GroupType, groups_usage, is_consistent
from openevs.domain.ids import new_uuid
from openevs.domain.lifecycle import GROUP_STATUSES, GroupMoves, VolumeMoves, reset
from openevs.domain.model import Caller, Operation
from openevs.domain.rules import check_text
from openevs.service.deps import Deps, accept, queue_work, settle, with_reason
from openevs.service.membership import STEADY, check_leaving, check_member
from openevs.service.parts import check_thawed
from openevs.service.placing import check_zone
from openevs.service.queries import GROUP_FILTERS, ListQuery, read_page
from openevs.service.volumes import check_not_source
from openevs.store import groups as store
from openevs.store.attachments import attachments_of_one
from openevs.store.backups import bases_of
from openevs.store.database import Tx
from openevs.store.group_snapshots import count_group_snapshots
from openevs.store.group_types import find_group_type, find_group_type_by_name
from openevs.store.quotas import take_quota
from openevs.store.snapshots import count_snapshots_of
from openevs.store.tables import group as table
from openevs.store.tables import group_snapshot as snapshot_table
from openevs.store.types import find_type_named
from openevs.store.volumes import move_volume, update_volume

NOT_REPLICATED: Final = "the type of group {group_id} is not one of replicated groups; this service replicates nothing."


class NewGroup(NamedTuple):
    """A group as it is asked for."""

    group_type: str
    """Id or name."""
    volume_types: Sequence[str]
    """Ids or names."""
    name: str | None = None
    description: str | None = None
    availability_zone: str | None = None


class GroupChange(NamedTuple):
    """What is to become of a group."""

    texts: Mapping[str, str | None]
    """New name and description, where given."""
    add: Sequence[str] = ()
    remove: Sequence[str] = ()


async def create_group(deps: Deps, caller: Caller, new: NewGroup) -> Group:
    """Make a group without volumes. Raises InvalidInput, NotFound (group type, volume type), NotSupported,
    QuotaExceeded."""
    check_zone(deps, new.availability_zone)
    checked = new._replace(name=check_text("name", new.name), description=check_text("description", new.description))
    return await accept(deps, caller, Group, _accept_group, deps, caller, checked)


def _accept_group(tx: Tx, deps: Deps, caller: Caller, new: NewGroup) -> tuple[Group, None]:
    kind = _find_group_type(tx, caller, new.group_type)
    check_power(deps, kind)
    take_quota(tx, caller.project_id, groups_usage(), deps.quota_defaults)
    group = Group(
        id=new_uuid(),
        project_id=caller.project_id,
        user_id=caller.user_id,
        name=new.name,
        description=new.description,
        status="available",
        group_type_id=kind.id,
        volume_types=list(dict.fromkeys(find_type_named(tx, word, caller.scope).id for word in new.volume_types)),
        availability_zone=deps.settings.api.availability_zone,
        group_snapshot_id=None,
        source_group_id=None,
        created_at=deps.clock(),
        updated_at=None,
        reason=None,
    )
    return store.insert_group(tx, group), None


def check_power(deps: Deps, kind: GroupType) -> None:
    """Refuse to promise snapshots of one instant where the engine has none. Raises NotSupported."""
    if is_consistent(kind.group_specs) and "group_snapshots" not in deps.powers:
        raise NotSupported(
            f"Group type {kind.id} asks for snapshots of one instant, which the storage engine in use cannot take."
        )


def _find_group_type(tx: Tx, caller: Caller, word: str) -> GroupType:
    try:
        return find_group_type(tx, word, hidden=caller.is_admin)
    except NotFound:
        return find_group_type_by_name(tx, word, hidden=caller.is_admin)


async def get_group(deps: Deps, caller: Caller, group_id: str) -> tuple[Group, list[str]]:
    """Return a group, and the ids of its volumes. Raises NotFound."""

    def find(tx: Tx) -> tuple[Group, list[str]]:
        group = store.find_group(tx, group_id, caller.scope)
        return group, store.volume_ids_by_group(tx, [group_id]).get(group_id, [])

    await settle(deps, caller, group_id)
    group, volume_ids = await deps.db.read(find)
    return with_reason(deps, group), volume_ids


async def list_groups(
    deps: Deps, caller: Caller, query: ListQuery
) -> tuple[list[Group], dict[str, list[str]], int | None]:
    """Return one page of groups, the ids of their volumes and, if asked for, how many there are in all.
    Raises InvalidInput, NotFound (marker)."""

    def list_groups_page(tx: Tx) -> tuple[list[Group], dict[str, list[str]], int | None]:
        rows, count = read_page(tx, table, Group._make, GROUP_FILTERS, caller, query)
        return rows, store.volume_ids_by_group(tx, [row.id for row in rows]), count

    return await deps.db.read(list_groups_page)


async def update_group(deps: Deps, caller: Caller, group_id: str, change: GroupChange) -> Group:
    """Change name or description, and let volumes join and leave, all or nothing.
    Raises InvalidInput, NotFound, WrongStatus, InUse."""
    texts = {field: check_text(field, text) for field, text in change.texts.items()}
    both = set(change.add) & set(change.remove)
    if both:
        raise InvalidInput("add_volumes", f"{', '.join(sorted(both))} is in remove_volumes too.")

    def update(tx: Tx) -> Group:
        now = deps.clock()
        group = store.find_group(tx, group_id, caller.scope)
        if change.add or change.remove:
            group = store.hold_group(tx, group_id, STEADY, "change the volumes of", caller.scope)
        members = {volume.id for volume in store.volumes_of_group(tx, group_id)}
        for volume_id in change.add:
            if volume_id not in members:
                update_volume(tx, _joining(tx, group, volume_id), None, now, {"group_id": group_id})
        for volume_id in change.remove:
            update_volume(tx, _leaving(tx, group, volume_id), None, now, {"group_id": None})
        return store.update_group(tx, group_id, None, now, texts)

    return await deps.db.write(update)


def _joining(tx: Tx, group: Group, volume_id: str) -> str:
    try:
        return check_member(tx, group, volume_id).id
    except NotFound as error:
        raise InvalidInput("add_volumes", str(error)) from None


def _leaving(tx: Tx, group: Group, volume_id: str) -> str:
    try:
        return check_leaving(tx, group, volume_id).id
    except NotFound as error:
        raise InvalidInput("remove_volumes", str(error)) from None


async def delete_group(deps: Deps, caller: Caller, group_id: str, *, with_volumes: bool) -> None:
    """Remove a group; `with_volumes`: accept the deletion of its volumes too, and of the group in any status.
    Raises NotFound, WrongStatus, InUse, Conflict."""
    await accept(deps, caller, Group, _accept_deletion, deps, caller, group_id, with_volumes)


def _accept_deletion(
    tx: Tx, deps: Deps, caller: Caller, group_id: str, with_volumes: bool
) -> tuple[Group, Operation | None]:
    now = deps.clock()
    move = GroupMoves.delete_with_volumes if with_volumes else GroupMoves.delete
    group = store.move_group(tx, group_id, move, now, project_id=caller.scope, also={"reason": None})
    if count_group_snapshots(tx, [snapshot_table.c.group_id == group_id]):
        raise InUse("group", f"group {group_id} has group snapshots; delete them first.")
    volumes = store.volumes_of_group(tx, group_id)
    if volumes and not with_volumes:
        raise InUse("group", f"group {group_id} has {len(volumes)} volumes; remove them, or set delete-volumes.")
    for volume in volumes:
        check_thawed(tx, deps, volume)
        if attachments_of_one(tx, volume.id):
            raise InUse("group", f"volume {volume.id} of group {group_id} is attached or connected; detach it first.")
        if count_snapshots_of(tx, volume.id):
            raise InUse("group", f"volume {volume.id} of group {group_id} has snapshots; delete them first.")
        check_not_source(tx, volume, [])
        move_volume(tx, volume.id, VolumeMoves.delete_with_group, now, also={"reason": None})
    ids = [volume.id for volume in volumes]
    bases = [base for volume_id in ids for base in bases_of(tx, volume_id)]
    work = {"volumes": ids, "bases": bases, "objects": ids}
    claims = [("volume", volume_id) for volume_id in ids]
    return group, queue_work(tx, deps, caller, "delete_group", group, work, claims)


async def reset_group_status(deps: Deps, caller: Caller, group_id: str, status: str) -> Group:
    """Set a status by hand (administrators). Raises InvalidInput, NotFound."""
    move = reset(status, GROUP_STATUSES)
    return await deps.db.write(store.move_group, group_id, move, deps.clock(), also={"reason": None})


async def refuse_replication(deps: Deps, caller: Caller, group_id: str) -> None:
    """Refuse what is asked of a replicated group. Raises NotFound, InUse."""
    await get_group(deps, caller, group_id)
    raise InUse("group type", NOT_REPLICATED.format(group_id=group_id))
