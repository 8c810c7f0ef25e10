"""Who may be in a group, and what that forbids: asked where a volume is made, joins, leaves or is deleted."""

from collections.abc import Sequence
from typing import Final

from openevs.domain.errors import InUse, InvalidInput
from openevs.domain.group import Group, is_consistent
from openevs.domain.model import Caller, Snapshot, Volume
from openevs.store.attachments import attachments_of, attachments_of_one
from openevs.store.database import Tx
from openevs.store.group_types import find_group_type
from openevs.store.groups import hold_group
from openevs.store.snapshots import count_snapshots
from openevs.store.tables import snapshot as snapshot_table
from openevs.store.tables import volume as volume_table
from openevs.store.volumes import count_volumes, find_volume, hold_volume

STEADY: Final = frozenset({"available"})
"""Statuses of a group that may gain and lose volumes."""
MAY_JOIN: Final = frozenset({"available", "in-use"})
MAY_LEAVE: Final = frozenset({"available", "in-use", "error", "error_deleting"})


def check_joining(tx: Tx, caller: Caller, group_id: str, volume: Volume) -> None:
    """Refuse a group that a new volume cannot belong to. Raises NotFound, WrongStatus, InvalidInput (its type)."""
    group = hold_group(tx, group_id, STEADY, "make a volume in", caller.scope)
    if group.project_id != caller.project_id:
        raise InvalidInput("group_id", f"group {group_id} belongs to another project.")
    _check_type("volume_type", group, volume)


def check_member(tx: Tx, group: Group, volume_id: str) -> Volume:
    """Return a volume that is to join a group. Raises InvalidInput, NotFound, WrongStatus, InUse."""
    volume = hold_volume(tx, volume_id, MAY_JOIN, "add to a group", group.project_id)
    if volume.group_id is not None:
        raise InvalidInput("add_volumes", f"volume {volume_id} is already in group {volume.group_id}.")
    _check_type("add_volumes", group, volume)
    if must_be_together(tx, group) and attachments_of_one(tx, volume_id):
        # It is being served by itself, and could not be frozen together with the others.
        raise InUse(
            "volume",
            f"volume {volume_id} is connected, and the snapshots of group {group.id} are of one instant; "
            "detach it, add it, and attach it anew.",
        )
    return volume


def must_be_together(tx: Tx, group: Group) -> bool:
    """Say whether the group's type asks for snapshots of one instant."""
    return is_consistent(find_group_type(tx, group.group_type_id, hidden=True).group_specs)


def check_one_instant(tx: Tx, group: Group, volumes: Sequence[Volume]) -> None:
    """Refuse to freeze volumes at one instant for which there would be none: over TCP each is served by itself.
    Raises InUse."""
    if not must_be_together(tx, group):
        return
    served = [
        attachment
        for of_one in attachments_of(tx, [volume.id for volume in volumes]).values()
        for attachment in of_one
        if attachment.connection_info is not None
    ]
    apart = {one.volume_id for one in served if (one.connection_info or {})["data"]["transport"] == "tcp"}
    if apart and len({one.volume_id for one in served}) > 1:
        raise InUse(
            "group",
            f"volumes of group {group.id} are connected over TCP ({', '.join(sorted(apart))}), and what is connected "
            "can be frozen at one instant over unix sockets only; connect them so, or none but one of the group's.",
        )


def check_leaving(tx: Tx, group: Group, volume_id: str) -> Volume:
    """Return a volume that is to leave a group. Raises InvalidInput, NotFound, WrongStatus, InUse."""
    found = find_volume(tx, volume_id, group.project_id)
    if found.group_id != group.id:
        raise InvalidInput("remove_volumes", f"volume {volume_id} is not in group {group.id}.")
    if must_be_together(tx, group) and _is_being_frozen(tx, volume_id):
        # Outside the group it could be attached by itself, and what was promised of one instant could not be kept.
        raise InUse(
            "volume", f"volume {volume_id} is just being frozen with group {group.id}; try again when that is done."
        )
    return hold_volume(tx, volume_id, MAY_LEAVE, "remove from its group", group.project_id)


def _is_being_frozen(tx: Tx, volume_id: str) -> bool:
    taken = snapshot_table.c.group_snapshot_id.is_not(None)
    copied = volume_table.c.group_id.is_not(None)
    return bool(
        count_snapshots(tx, [snapshot_table.c.volume_id == volume_id, snapshot_table.c.status == "creating", taken])
        or count_volumes(tx, [volume_table.c.source_volid == volume_id, volume_table.c.status == "creating", copied])
    )


def check_ungrouped(volume: Volume, way_out: str = "take it out of that first.") -> None:
    """Refuse what is not done to volumes in a group. Raises InUse."""
    if volume.group_id is not None:
        raise InUse("volume", f"volume {volume.id} belongs to group {volume.group_id}; {way_out}")


def check_own_snapshots(volume: Volume, own: Sequence[Snapshot]) -> None:
    """Refuse to delete a volume along with snapshots that belong to a group snapshot. Raises InUse."""
    for snapshot in own:
        if snapshot.group_snapshot_id is not None:
            raise InUse(
                "volume",
                f"snapshot {snapshot.id} of volume {volume.id} belongs to group snapshot "
                f"{snapshot.group_snapshot_id}; delete that first.",
            )


def _check_type(field: str, group: Group, volume: Volume) -> None:
    if volume.type_id not in group.volume_types:
        raise InvalidInput(field, f"group {group.id} takes no volumes of the type {volume.volume_type}.")
