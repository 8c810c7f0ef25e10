"""What can be asked of volumes. Rules: spec 4.2 to 4.5; making one from a snapshot: 3.6."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from openevs.domain.errors import InUse, InvalidInput, WrongStatus
from openevs.domain.ids import SnapshotId, VolumeId, new_uuid
from openevs.domain.lifecycle import VOLUME_STATUSES, Move, SnapshotMoves, VolumeMoves, reset
from openevs.domain.model import Attachment, Caller, Operation, Snapshot, Volume, VolumeType
from openevs.domain.quota import UNLIMITED, growth_usage, volume_usage
from openevs.domain.rules import check_new_metadata, check_text, check_volume_metadata
from openevs.service.deps import Deps, accept, queue_work, settle, with_reason
from openevs.service.membership import check_joining, check_own_snapshots, check_ungrouped
from openevs.service.parts import check_thawed
from openevs.service.placing import check_zone, place
from openevs.service.queries import VOLUME_FILTERS, ListQuery, conditions, list_rows, read_page
from openevs.service.types import type_for, type_like, wants_multiattach
from openevs.store import snapshots, volumes
from openevs.store.attachments import attachments_of, attachments_of_one
from openevs.store.backups import bases_of
from openevs.store.database import Tx
from openevs.store.quotas import take_quota
from openevs.store.tables import volume as table

CLONEABLE = frozenset({"available", "in-use"})
SOURCE_SNAPSHOTS = frozenset({"available", "backing-up"})
_CODES = {"name": "EVS.1003", "description": "EVS.1004"}


class NewVolume(NamedTuple):
    """A volume as it is asked for."""

    size_gib: int | None
    """May be left out when there is a source, whose size is then taken."""
    name: str | None = None
    description: str | None = None
    volume_type: str | None = None
    availability_zone: str | None = None
    metadata: Mapping[str, object] = {}
    snapshot_id: str | None = None
    source_volid: str | None = None
    multiattach: bool = False
    group_id: str | None = None


async def create_volume(deps: Deps, caller: Caller, new: NewVolume) -> Volume:
    """Accept a volume: it is `creating` until its bytes are there.

    Raises InvalidInput, NotFound (snapshot, source volume, group), WrongStatus, QuotaExceeded.
    """
    if new.snapshot_id is not None and new.source_volid is not None:
        raise InvalidInput("source_volid", "a volume has one source: give snapshot_id or source_volid.", "EVS.1016")
    if new.size_gib is None and new.snapshot_id is None and new.source_volid is None:
        raise InvalidInput("size", "it is required when there is no snapshot_id and no source_volid.", "EVS.1010")
    return await accept(deps, caller, Volume, _accept_volume, deps, caller, check_new_volume(deps, new))


def check_new_volume(deps: Deps, new: NewVolume) -> NewVolume:
    """Return a volume as it will be stored, whatever it is made from. Raises InvalidInput."""
    check_zone(deps, new.availability_zone, "EVS.2053")
    if new.size_gib is not None:
        check_size(deps, new.size_gib)
    return new._replace(
        name=check_text("name", new.name, _CODES["name"]),
        description=check_text("description", new.description, _CODES["description"]),
        metadata=check_new_metadata(new.metadata, has_source=new.snapshot_id is not None),
    )


def add_volume(
    tx: Tx,
    deps: Deps,
    caller: Caller,
    new: NewVolume,
    volume_type: VolumeType,
    *,
    size_gib: int,
    status: str,
    backend: str | None,
    bootable: bool = False,
    image_metadata: Mapping[str, str] = {},
) -> Volume:
    """Add the row of a volume of the caller's that is to be made, and count it; in its group, if it is to have one.
    Raises NotFound, WrongStatus, InvalidInput (of the group), QuotaExceeded."""
    volume = Volume(
        id=VolumeId(new_uuid()),
        project_id=caller.project_id,
        user_id=caller.user_id,
        name=new.name,
        description=new.description,
        size_gib=size_gib,
        status=status,
        previous_status=None,
        volume_type=volume_type.name,
        availability_zone=deps.settings.api.availability_zone,
        bootable=bootable,
        readonly=False,
        multiattach=new.multiattach or wants_multiattach(volume_type),
        metadata={key: str(value) for key, value in new.metadata.items()},
        snapshot_id=None if new.snapshot_id is None else SnapshotId(new.snapshot_id),
        source_volid=None if new.source_volid is None else VolumeId(new.source_volid),
        created_at=deps.clock(),
        updated_at=None,
        reason=None,
        group_id=new.group_id,
        image_metadata=dict(image_metadata),
        type_id=volume_type.id,
        backend=backend,
    )
    if new.group_id is not None:
        check_joining(tx, caller, new.group_id, volume)
    take_quota(tx, caller.project_id, volume_usage(size_gib, volume.volume_type), deps.quota_defaults, size_gib)
    return volumes.insert_volume(tx, volume)


def _accept_volume(tx: Tx, deps: Deps, caller: Caller, new: NewVolume) -> tuple[Volume, Operation]:
    source = _hold_source(tx, caller, new)
    if new.volume_type is not None:
        volume_type = type_for(tx, deps, caller, new.volume_type)
    else:
        volume_type = type_like(tx, deps, caller, source.volume_type)
    size_gib = source.size_gib if new.size_gib is None else new.size_gib
    if size_gib < source.size_gib:
        raise InvalidInput("size", f"it is {size_gib} GiB, but the source has {source.size_gib}.", "EVS.1010")
    check_size(deps, size_gib)
    backend, no_place = place(tx, deps, volume_type)
    volume = add_volume(
        tx,
        deps,
        caller,
        new,
        volume_type,
        size_gib=size_gib,
        status="creating",
        backend=backend,
        bootable=source.bootable,
        image_metadata=source.image_metadata,
    )
    work: dict[str, Any] = {"size_gib": size_gib, "name": new.name or ""}
    if no_place is not None:
        work["refused"] = no_place
    if new.snapshot_id is not None:
        work["snapshot_id"] = new.snapshot_id
    if new.source_volid is not None:
        # The source is frozen for a moment under a name of the operation's own, which no snapshot row carries.
        work |= {"source_volid": new.source_volid, "passing_snapshot_id": new_uuid()}
    return volume, queue_work(tx, deps, caller, "create_volume", volume, work)


class _Source(NamedTuple):
    """What a volume takes from the volume or snapshot that it is made from."""

    size_gib: int = 0
    volume_type: str | None = None
    bootable: bool = False
    image_metadata: Mapping[str, str] = {}


def _hold_source(tx: Tx, caller: Caller, new: NewVolume) -> _Source:
    if new.snapshot_id is not None:
        snapshot = snapshots.find_snapshot(tx, new.snapshot_id, caller.scope)
        if snapshot.status not in SOURCE_SNAPSHOTS:
            error = WrongStatus("snapshot", snapshot.id, snapshot.status, SOURCE_SNAPSHOTS, "make a volume from")
            raise error.with_code("EVS.2043")
        of = volumes.find_volume(tx, snapshot.volume_id)
        return _Source(snapshot.size_gib, snapshot.volume_type, *boot_facts(of, snapshot.project_id))
    if new.source_volid is not None:
        of = volumes.hold_volume(tx, new.source_volid, CLONEABLE, "make a volume from", caller.scope)
        return _Source(of.size_gib, of.volume_type, *boot_facts(of, of.project_id))
    return _Source()


def boot_facts(of: Volume, project_id: str) -> tuple[bool, Mapping[str, str]]:
    """Return whether a copy of a volume is bootable and, if it is, what is known of its image. What a volume has become
    in another project, which has got it without its snapshots, is no concern of theirs."""
    bootable = of.bootable and of.project_id == project_id
    return bootable, of.image_metadata if bootable else {}


def check_size(deps: Deps, size_gib: int, field: str = "size") -> None:
    """Refuse a size that no volume may have. Raises InvalidInput."""
    most = deps.max_volume_gib
    own = deps.settings.quotas.per_volume_gigabytes
    if own != UNLIMITED:
        most = min(most, own)
    if not 1 <= size_gib <= most:
        raise InvalidInput(field, f"it is {size_gib} GiB, but must be from 1 to {most}.", "EVS.1010")


async def get_volume(deps: Deps, caller: Caller, volume_id: str) -> Volume:
    """Return a volume. Raises NotFound."""
    return deps.db.look_up(volumes.find_volume, volume_id, caller.scope)


def _find_shown(tx: Tx, volume_id: str, project_id: str | None) -> tuple[Volume, list[Attachment]]:
    return volumes.find_volume(tx, volume_id, project_id), attachments_of_one(tx, volume_id)


async def show_volume(deps: Deps, caller: Caller, volume_id: str) -> tuple[Volume, list[Attachment]]:
    """Return a volume and its attachments. Raises NotFound."""
    await settle(deps, caller, volume_id)
    volume, attachments = deps.db.read_now(_find_shown, volume_id, caller.scope)
    return with_reason(deps, volume), attachments


async def list_volumes(deps: Deps, caller: Caller, query: ListQuery) -> tuple[list[Volume], int | None]:
    """Return one page of volumes and, if asked for, how many there are in all.
    Raises InvalidInput, NotFound (marker)."""
    return await list_rows(deps, table, Volume._make, VOLUME_FILTERS, caller, query)


async def list_volumes_detail(
    deps: Deps, caller: Caller, query: ListQuery
) -> tuple[list[Volume], dict[str, list[Attachment]], int | None]:
    """Return what `list_volumes` does, and the attachments of those volumes by volume."""

    def list_volumes_page(tx: Tx) -> tuple[list[Volume], dict[str, list[Attachment]], int | None]:
        rows, count = read_page(tx, table, Volume._make, VOLUME_FILTERS, caller, query)
        return rows, attachments_of(tx, [row.id for row in rows]), count

    return await deps.db.read(list_volumes_page)


async def summarize_volumes(deps: Deps, caller: Caller, query: ListQuery) -> tuple[int, int, dict[str, list[str]]]:
    """Return number, total GiB, and for each metadata key the values in use."""

    def summarize(tx: Tx) -> tuple[int, int, list[dict[str, str]]]:
        return volumes.summarize_volumes(tx, conditions(table, VOLUME_FILTERS, caller, query))

    count, gib, documents = await deps.db.read(summarize)
    values: dict[str, set[str]] = {}
    for document in documents:
        for key, value in document.items():
            values.setdefault(key, set()).add(value)
    return count, gib, {key: sorted(found) for key, found in sorted(values.items())}


async def update_volume(
    deps: Deps, caller: Caller, volume_id: str, changes: Mapping[str, Any]
) -> tuple[Volume, list[Attachment]]:
    """Change name or description, or replace the metadata (keys of `changes`); return the volume and its attachments.
    Raises InvalidInput, NotFound."""
    values: dict[str, Any] = {}
    for field, value in changes.items():
        values[field] = check_volume_metadata(value) if field == "metadata" else check_text(field, value, _CODES[field])

    def update(tx: Tx) -> tuple[Volume, list[Attachment]]:
        volume = volumes.update_volume(tx, volume_id, caller.scope, deps.clock(), values)
        return volume, attachments_of_one(tx, volume_id)

    return await deps.db.write(update)


async def set_volume_flag(deps: Deps, caller: Caller, volume_id: str, flag: str, value: bool) -> Volume:
    """Set `bootable` or `readonly` (the latter only while detached). Raises NotFound, WrongStatus."""

    def set_flag(tx: Tx) -> Volume:
        values: dict[str, Any] = {flag: value}
        if flag == "readonly":
            volume = volumes.hold_volume(
                tx, volume_id, frozenset({"available"}), "change the readonly flag of", caller.scope
            )
            check_detached(tx, volume)
            # From the first time on that somebody has decided it, it is shown, whether it is set or not.
            values["metadata"] = {**volume.metadata, "readonly": str(value)}
        return volumes.update_volume(tx, volume_id, caller.scope, deps.clock(), values)

    return await deps.db.write(set_flag)


async def delete_volume(deps: Deps, caller: Caller, volume_id: str, *, cascade: bool, force: bool = False) -> None:
    """Accept the deletion of a volume, with its snapshots if `cascade`. Raises NotFound, WrongStatus, InUse."""
    await accept(deps, caller, Volume, _accept_deletion, deps, caller, volume_id, cascade, force)


def _accept_deletion(
    tx: Tx, deps: Deps, caller: Caller, volume_id: str, cascade: bool, force: bool
) -> tuple[Volume, Operation]:
    now = deps.clock()
    move = VolumeMoves.force_delete if force else VolumeMoves.delete
    volume = volumes.move_volume(tx, volume_id, move, now, project_id=caller.scope, also={"reason": None})
    check_detached(tx, volume)
    check_ungrouped(volume, "remove it from that first, or delete the group with its volumes.")
    own = snapshots.snapshots_of(tx, volume_id)
    if own and not cascade:
        raise InUse(
            "volume", f"volume {volume_id} still has snapshots ({len(own)}); delete them first, or ask for cascade."
        )
    if not caller.is_admin and any(snapshot.project_id != volume.project_id for snapshot in own):
        # It was transferred without its snapshots, which are not its new owner's to delete.
        raise InUse("volume", f"volume {volume_id} has snapshots that belong to another project, and cannot go first.")
    check_thawed(tx, deps, volume)
    check_not_source(tx, volume, own)
    check_own_snapshots(volume, own)
    # A deletion that failed has left the snapshots in `error_deleting` too: force must take them along.
    snapshot_move = SnapshotMoves.force_delete if force else SnapshotMoves.delete
    for snapshot in own:
        snapshots.move_snapshot(tx, snapshot.id, snapshot_move, now, also={"reason": None})
    work = {"snapshots": [snapshot.id for snapshot in own], "bases": bases_of(tx, volume.id)}
    claims = tuple(("snapshot", snapshot.id) for snapshot in own)
    return volume, queue_work(tx, deps, caller, "delete_volume", volume, work, claims)


def check_detached(tx: Tx, volume: Volume) -> None:
    """Refuse what is not done to a volume that has an attachment. Raises InUse."""
    if attachments_of_one(tx, volume.id):
        raise InUse("volume", f"volume {volume.id} is attached or connected; detach it first.")


def check_not_source(tx: Tx, volume: Volume, own: list[Snapshot]) -> None:
    """Refuse while another volume is being made from this one, or from these snapshots of it. Raises InUse."""
    sources = [table.c.source_volid == volume.id, table.c.snapshot_id.in_([snapshot.id for snapshot in own])]
    for source in sources:
        if volumes.count_volumes(tx, [source, table.c.status == "creating"]):
            raise InUse(
                "volume", f"another volume is just being made from volume {volume.id}; try again when it is done."
            )


async def extend_volume(deps: Deps, caller: Caller, volume_id: str, new_size_gib: int, *, attached: bool) -> None:
    """Accept growing a volume; `attached`: also one that is in use (microversion 3.42).
    Raises InvalidInput, NotFound, WrongStatus, QuotaExceeded."""
    await accept(deps, caller, Volume, _accept_extension, deps, caller, volume_id, new_size_gib, attached)


def _accept_extension(
    tx: Tx, deps: Deps, caller: Caller, volume_id: str, new_size_gib: int, attached: bool
) -> tuple[Volume, Operation]:
    now = deps.clock()
    move = VolumeMoves.extend_attached if attached else VolumeMoves.extend
    volume = volumes.move_volume(tx, volume_id, move, now, project_id=caller.scope, also={"reason": None})
    if new_size_gib <= volume.size_gib:
        raise InvalidInput(
            "new_size", f"it is {new_size_gib} GiB, but the volume already has {volume.size_gib}.", "EVS.1015"
        )
    check_size(deps, new_size_gib, "new_size")
    # A copy being made has the size of before, and could not be made of more.
    check_not_source(tx, volume, [])
    growth = growth_usage(new_size_gib - volume.size_gib, volume.volume_type)
    take_quota(tx, volume.project_id, growth, deps.quota_defaults, new_size_gib)
    work = {"old_size_gib": volume.size_gib, "new_size_gib": new_size_gib}
    return volume, queue_work(tx, deps, caller, "extend_volume", volume, work)


async def move_volume_status(deps: Deps, caller: Caller, volume_id: str, move: Move) -> Volume:
    """Change a status that no work hangs on (reserve, unreserve, begin and roll back detaching).
    Raises NotFound, WrongStatus."""
    return await deps.db.write(volumes.move_volume, volume_id, move, deps.clock(), project_id=caller.scope)


async def reset_volume_status(deps: Deps, caller: Caller, volume_id: str, status: str) -> Volume:
    """Set a status by hand (administrators). Raises InvalidInput, NotFound."""
    move = reset(status, VOLUME_STATUSES)
    if status == "deleting":
        raise InvalidInput("status", "a volume is deleting only while it is deleted; delete it instead.")

    def reset_status(tx: Tx) -> Volume:
        volume = volumes.find_volume(tx, volume_id)
        if status == "in-use" and not attachments_of_one(tx, volume.id):
            raise InvalidInput("status", f"volume {volume_id} cannot be in-use: it has no attachment.")
        return volumes.move_volume(tx, volume_id, move, deps.clock(), also={"reason": None})

    return await deps.db.write(reset_status)
