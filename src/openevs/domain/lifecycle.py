"""The only ways in which a status may change.

A `Move` is one row of a transition table: from these statuses, to that one. The store turns a move into one
conditional UPDATE (`store/rows.py`); nothing else in OpenEVS writes a status.

Statuses and what each allows: spec "Disk status" and "Snapshot states"; Cinder's own (`reserved`, `reverting`,
`restoring`) appear only through Cinder's calls.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from openevs.domain.errors import InvalidInput

VOLUME_STATUSES: Final = frozenset(
    "creating available reserved attaching in-use detaching maintenance extending deleting error error_deleting "
    "error_extending error_restoring error_detaching backing-up error_backing-up restoring-backup uploading "
    "downloading rollbacking error_rollbacking reverting awaiting-transfer retyping managing "
    "unmanaging error_managing".split()
)
SNAPSHOT_STATUSES: Final = frozenset(
    "creating available backing-up deleting error error_deleting rollbacking restoring updating unmanaging".split()
)
GROUP_STATUSES: Final = frozenset("creating available updating deleting deleted in-use error error_deleting".split())
GROUP_SNAPSHOT_STATUSES: Final = GROUP_STATUSES - {"in-use"}
TRANSITIONAL_GROUP_STATUSES: Final = frozenset({"creating", "deleting"})
TRANSITIONAL_VOLUME_STATUSES: Final = frozenset(
    "creating extending deleting rollbacking reverting retyping managing unmanaging backing-up restoring-backup".split()
)
"""Statuses that an operation holds: with no open operation, a volume must not be in one."""
TRANSITIONAL_SNAPSHOT_STATUSES: Final = frozenset(
    "creating deleting rollbacking restoring unmanaging backing-up".split()
)

MIGRATED: Final = "success"
"""What is said of a volume's migration, which takes no time, for ever after."""

PREVIOUS: Final = "<previous>"
"""As the target of a move: the status the volume had before the interruption."""


@dataclass(frozen=True, slots=True)
class Move:
    """One allowed change of a status."""

    action: str
    """Verb phrase for the refusal: "cannot {action} volume …"."""
    froms: frozenset[str]
    to: str
    remember: bool = False
    """Keep the status that was left, for a later move to PREVIOUS."""


def _move(action: str, froms: str, to: str, *, remember: bool = False) -> Move:
    return Move(action, frozenset(froms.split()), to, remember)


class VolumeMoves:
    """Every change of a volume's status."""

    created: Final = _move("finish creating", "creating", "available")
    create_failed: Final = _move("fail creating", "creating", "error")
    reserve: Final = _move("reserve", "available", "attaching")
    unreserve: Final = _move("unreserve", "attaching", "available")
    reserve_attachment: Final = _move("attach", "available", "reserved")
    unreserve_attachment: Final = _move("unreserve", "reserved", "available")
    connect_new: Final = _move("attach", "available", "attaching")
    connect_new_failed: Final = _move("fail attaching", "attaching", "available")
    connect_reserved: Final = _move("attach", "reserved", "attaching")
    connect_reserved_failed: Final = _move("fail attaching", "attaching", "reserved")
    attach: Final = _move("attach", "available attaching", "in-use")
    complete: Final = _move("complete attaching", "available attaching reserved", "in-use")
    begin_detaching: Final = _move("detach", "in-use", "detaching")
    roll_detaching: Final = _move("roll back the detaching of", "detaching", "in-use")
    detach: Final = _move("detach", "in-use detaching error_detaching", "detaching")
    disconnect: Final = _move("detach", "in-use detaching error_detaching attaching reserved", "detaching")
    detached: Final = _move("finish detaching", "detaching in-use", "available")
    detach_failed: Final = _move("fail detaching", "detaching", "error_detaching")
    found_served: Final = _move(
        "find the clients of", "available reserved attaching in-use detaching error_detaching", "in-use"
    )
    found_unserved: Final = _move(
        "find no clients of", "in-use attaching reserved detaching error_detaching", "available"
    )
    extend: Final = _move("extend", "available", "extending", remember=True)
    extend_attached: Final = _move("extend", "available in-use", "extending", remember=True)
    extended: Final = _move("finish extending", "extending", PREVIOUS)
    extend_failed: Final = _move("fail extending", "extending", "error_extending")
    delete: Final = _move(
        "delete", "available error error_restoring error_extending error_managing error_rollbacking", "deleting"
    )
    force_delete: Final = Move("force-delete", VOLUME_STATUSES - {"deleting"}, "deleting")
    delete_with_group: Final = _move(
        "delete with its group",
        "available error error_restoring error_extending error_managing error_rollbacking error_deleting",
        "deleting",
    )
    delete_failed: Final = _move("fail deleting", "deleting", "error_deleting")
    rollback: Final = _move("roll back", "available error_rollbacking", "rollbacking")
    rolled_back: Final = _move("finish rolling back", "rollbacking", "available")
    rollback_failed: Final = _move("fail rolling back", "rollbacking", "error_rollbacking")
    managed: Final = _move("finish managing", "managing", "available")
    manage_failed: Final = _move("fail managing", "managing", "error_managing")
    unmanage: Final = _move(
        "unmanage", "available error error_restoring error_extending error_managing error_rollbacking", "unmanaging"
    )
    unmanage_failed: Final = _move("fail unmanaging", "unmanaging", "error_managing")
    back_up: Final = _move("back up", "available", "backing-up", remember=True)
    back_up_attached: Final = _move("back up", "available in-use", "backing-up", remember=True)
    backed_up: Final = _move("finish freezing for a backup", "backing-up", PREVIOUS)
    restore: Final = _move("restore a backup into", "available error_restoring", "restoring-backup")
    restored: Final = _move("finish restoring a backup into", "restoring-backup creating", "available")
    restore_failed: Final = _move("fail restoring a backup into", "restoring-backup", "error_restoring")
    retype: Final = _move("retype", "available in-use", "retyping", remember=True)
    retyped: Final = _move("finish retyping", "retyping", PREVIOUS)
    revert: Final = _move("revert", "available", "reverting")
    reverted: Final = _move("finish reverting", "reverting", "available")
    revert_failed: Final = _move("fail reverting", "reverting", "error")
    offer: Final = _move("transfer", "available", "awaiting-transfer")
    offer_ended: Final = _move("end the transfer of", "awaiting-transfer", "available")


class AttachmentMoves:
    """Every change of an attachment's status. One that is `reserved` has never been connected."""

    connect: Final = _move("connect", "reserved", "attaching")
    connect_failed: Final = _move("fail connecting", "attaching", "reserved")
    attach: Final = _move("complete", "attaching", "attached")
    disconnect: Final = _move("disconnect", "attaching attached detaching", "detaching")
    stay_attached: Final = _move("stay attached after disconnecting", "detaching", "attached")
    stay_attaching: Final = _move("go on attaching after failing to disconnect", "detaching", "attaching")


class SnapshotMoves:
    """Every change of a snapshot's status."""

    created: Final = _move("finish creating", "creating", "available")
    create_failed: Final = _move("fail creating", "creating", "error")
    unmanage: Final = _move("unmanage", "available error", "unmanaging")
    unmanage_failed: Final = _move("fail unmanaging", "unmanaging", "error")
    frozen_for_backup: Final = _move("back up", "creating", "backing-up")
    back_up: Final = _move("back up", "available", "backing-up")
    backed_up: Final = _move("finish backing up", "backing-up", "available")
    delete: Final = _move("delete", "available error", "deleting")
    force_delete: Final = Move("force-delete", SNAPSHOT_STATUSES, "deleting")
    """Also one that is `deleting`, if no work stands behind that: a claim tells."""
    delete_with_group: Final = _move("delete with its group snapshot", "available error error_deleting", "deleting")
    delete_failed: Final = _move("fail deleting", "deleting", "error_deleting")
    rollback: Final = _move("roll back to", "available", "rollbacking")
    rolled_back: Final = _move("finish rolling back to", "rollbacking", "available")
    revert: Final = _move("revert to", "available", "restoring")
    reverted: Final = _move("finish reverting to", "restoring", "available")


def also_in_use(move: Move) -> Move:
    """Return a move towards an attachment as it is for a volume that several may attach: it may be in use already."""
    return replace(move, froms=move.froms | {"in-use"})


_RESTS: Final = (("attached", "in-use"), ("detaching", "in-use"), ("attaching", "attaching"), ("reserved", "reserved"))
"""Status of an attachment → what it makes of its volume; the first that fits one of them counts."""


def rest(move: Move, attachments: Iterable[str]) -> Move:
    """Return the move that ends one attachment of a volume, to where the statuses of its remaining ones leave it."""
    left = set(attachments)
    return replace(move, to=next((volume for attachment, volume in _RESTS if attachment in left), "available"))


class GroupMoves:
    """Every change of a group's status."""

    created: Final = _move("finish creating", "creating", "available")
    create_failed: Final = _move("fail creating", "creating", "error")
    delete: Final = _move("delete", "available error", "deleting")
    delete_with_volumes: Final = Move("delete", GROUP_STATUSES - {"deleting"}, "deleting")
    delete_failed: Final = _move("fail deleting", "deleting", "error_deleting")


class GroupSnapshotMoves:
    """Every change of a group snapshot's status."""

    created: Final = _move("finish creating", "creating", "available")
    create_failed: Final = _move("fail creating", "creating", "error")
    delete: Final = _move("delete", "available error", "deleting")
    delete_failed: Final = _move("fail deleting", "deleting", "error_deleting")


def reset(status: str, statuses: frozenset[str], *, never: str = "") -> Move:
    """Return the administrator's move from any status of a kind of resource to any but `never` (`os-reset_status`).
    Raises InvalidInput: it is none of them."""
    allowed = statuses - {never}
    if status not in allowed:
        raise InvalidInput("status", f"{status!r} is none of {', '.join(sorted(allowed))}.")
    return Move("reset the status of", statuses, status)


SERVICE_UPDATES: Final = {
    "creating": frozenset({"creating", "available", "error"}),
    "deleting": frozenset({"deleting", "error_deleting"}),
}
"""`os-update_snapshot_status`: from which status a service may report which (Cinder `contrib/snapshot_actions.py`)."""
