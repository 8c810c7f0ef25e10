"""Making a group from a group snapshot, or from another group (microversion 3.14).

The new group has a copy of each volume. All of them are one operation (`operations/create_group.py`): the group is
`creating` until the last one is there.
"""

from datetime import datetime
from typing import Any, NamedTuple

from openevs.domain.errors import InUse, InvalidInput, WrongStatus
from openevs.domain.group import Group, groups_usage, is_consistent
from openevs.domain.ids import SnapshotId, VolumeId, new_uuid
from openevs.domain.model import Caller, Operation, Volume
from openevs.domain.quota import volume_usage
from openevs.domain.rules import check_text
from openevs.service.deps import Deps, accept, queue_work
from openevs.service.groups import check_power
from openevs.service.membership import STEADY, check_one_instant
from openevs.service.placing import switched_off
from openevs.service.volumes import CLONEABLE, SOURCE_SNAPSHOTS, boot_facts
from openevs.store.database import Tx
from openevs.store.group_snapshots import find_group_snapshot, snapshots_of_group_snapshot
from openevs.store.group_types import find_group_type
from openevs.store.groups import find_group, hold_group, insert_group, volumes_of_group
from openevs.store.quotas import take_quota
from openevs.store.volumes import find_volume, hold_volume, insert_volume


class NewCopy(NamedTuple):
    """A group as it is asked for; it has one of the two sources."""

    group_snapshot_id: str | None = None
    source_group_id: str | None = None
    name: str | None = None
    description: str | None = None


class _Source(NamedTuple):
    """One volume to be made."""

    like: Volume
    """The volume that it is a copy of, now or as it was."""
    project_id: str
    """The group's; the volume may have gone to another one since."""
    size_gib: int
    snapshot_id: str | None
    """The snapshot it is made from; None: from the volume itself, as it is."""


async def copy_group(deps: Deps, caller: Caller, new: NewCopy) -> Group:
    """Accept a group made from another one, or from a group snapshot. Raises InvalidInput, NotFound, WrongStatus,
    InUse (there is no volume to copy), NotSupported, QuotaExceeded."""
    if (new.group_snapshot_id is None) == (new.source_group_id is None):
        raise InvalidInput("create-from-src", "it must have one of group_snapshot_id and source_group_id.")
    checked = new._replace(name=check_text("name", new.name), description=check_text("description", new.description))
    return await accept(deps, caller, Group, _accept_copy, deps, caller, checked)


def _accept_copy(tx: Tx, deps: Deps, caller: Caller, new: NewCopy) -> tuple[Group, Operation]:
    now = deps.clock()
    source, sources = _sources(tx, caller, new)
    if not sources:
        raise InUse("group", "the source has no volumes; there is nothing to make a group from.")
    kind = find_group_type(tx, source.group_type_id, hidden=True)
    if new.source_group_id is not None:
        check_power(deps, kind)
        check_one_instant(tx, source, [one.like for one in sources])
    take_quota(tx, caller.project_id, groups_usage(), deps.quota_defaults)
    group = source._replace(
        id=new_uuid(),
        project_id=caller.project_id,
        user_id=caller.user_id,
        name=new.name,
        description=new.description,
        status="creating",
        group_snapshot_id=new.group_snapshot_id,
        source_group_id=new.source_group_id,
        created_at=now,
        updated_at=None,
        reason=None,
    )
    insert_group(tx, group)
    volumes: list[dict[str, Any]] = []
    freeze: list[list[str]] = []
    for one in sources:
        volume = insert_volume(tx, _copy_of(one, caller, group, now))
        usage = volume_usage(volume.size_gib, volume.volume_type)
        take_quota(tx, caller.project_id, usage, deps.quota_defaults, volume.size_gib)
        from_id = one.snapshot_id
        if from_id is None:
            # The source is frozen for a moment under a name of the operation's own, which no snapshot row carries.
            from_id = new_uuid()
            freeze.append([from_id, one.like.id])
        volumes.append({"volume_id": volume.id, "size_gib": volume.size_gib, "snapshot_id": from_id})
    work: dict[str, Any] = {
        "consistent": is_consistent(kind.group_specs),
        "freeze": freeze,
        "name": "",
        "volumes": volumes,
        "objects": [*(each["volume_id"] for each in volumes), *(each[0] for each in freeze)],
    }
    if (refused := _refused(tx, deps, sources)) is not None:
        work["refused"] = refused
    claims = [("volume", each["volume_id"]) for each in volumes]
    return group, queue_work(tx, deps, caller, "create_group", group, work, claims)


def _refused(tx: Tx, deps: Deps, sources: list[_Source]) -> str | None:
    """Return why there is no place for the copies: each is where what it is made of is, which may take nothing new."""
    here = {one.like.backend or deps.backends[0] for one in sources}
    off = sorted(here & switched_off(tx, deps))
    return f"No valid backend was found: {' and '.join(off)} is disabled or frozen by an operator." if off else None


def _sources(tx: Tx, caller: Caller, new: NewCopy) -> tuple[Group, list[_Source]]:
    if new.source_group_id is not None:
        group = hold_group(tx, new.source_group_id, STEADY, "make a group from", caller.scope)
        found = [
            hold_volume(tx, volume.id, CLONEABLE, "make a volume from") for volume in volumes_of_group(tx, group.id)
        ]
        return group, [_Source(volume, group.project_id, volume.size_gib, None) for volume in found]
    taken = find_group_snapshot(tx, new.group_snapshot_id or "", caller.scope)
    if taken.status != "available":
        raise WrongStatus("group snapshot", taken.id, taken.status, {"available"}, "make a group from")
    sources: list[_Source] = []
    for snapshot in snapshots_of_group_snapshot(tx, taken.id):
        if snapshot.status not in SOURCE_SNAPSHOTS:
            raise WrongStatus("snapshot", snapshot.id, snapshot.status, SOURCE_SNAPSHOTS, "make a volume from")
        like = find_volume(tx, snapshot.volume_id)
        sources.append(_Source(like, taken.project_id, snapshot.size_gib, snapshot.id))
    return find_group(tx, taken.group_id), sources


def _copy_of(source: _Source, caller: Caller, group: Group, now: datetime) -> Volume:
    made_from_snapshot = source.snapshot_id is not None
    bootable, image_metadata = boot_facts(source.like, source.project_id)
    return source.like._replace(
        id=VolumeId(new_uuid()),
        project_id=caller.project_id,
        user_id=caller.user_id,
        name=None,
        description=None,
        size_gib=source.size_gib,
        status="creating",
        previous_status=None,
        bootable=bootable,
        readonly=False,
        metadata={},
        image_metadata=dict(image_metadata),
        migration_status=None,
        snapshot_id=SnapshotId(source.snapshot_id) if source.snapshot_id is not None else None,
        source_volid=None if made_from_snapshot else source.like.id,
        created_at=now,
        updated_at=None,
        reason=None,
        group_id=group.id,
    )
