"""Putting a volume's bytes back to a snapshot: the part that EVS's `rollback` and Cinder's `revert` share."""

from openevs.domain.errors import InUse, InvalidInput
from openevs.domain.lifecycle import Move, SnapshotMoves, VolumeMoves
from openevs.domain.model import Caller, Operation, Snapshot, Volume
from openevs.service.deps import Deps, accept, queue_work
from openevs.service.volumes import check_detached, check_not_source
from openevs.store import snapshots, volumes
from openevs.store.database import Tx

_MOVES: dict[str, tuple[Move, Move]] = {
    "rollback_volume": (VolumeMoves.rollback, SnapshotMoves.rollback),
    "revert_volume": (VolumeMoves.revert, SnapshotMoves.revert),
}


def begin_reverting(tx: Tx, deps: Deps, caller: Caller, snapshot: Snapshot, kind: str) -> tuple[Snapshot, Operation]:
    """Move volume and snapshot into the statuses of `kind` and queue the work. Raises WrongStatus, InUse."""
    if snapshot.owner == "backup":
        raise InUse("snapshot", f"snapshot {snapshot.id} belongs to a backup; a volume cannot be rolled back to it.")
    now = deps.clock()
    volume_move, snapshot_move = _MOVES[kind]
    volume = volumes.move_volume(
        tx, snapshot.volume_id, volume_move, now, project_id=caller.scope, also={"reason": None}
    )
    snapshot = snapshots.move_snapshot(tx, snapshot.id, snapshot_move, now, project_id=caller.scope)
    check_detached(tx, volume)
    if any(other.status == "creating" for other in snapshots.snapshots_of(tx, volume.id)):
        raise InUse("volume", f"a snapshot of volume {volume.id} is just being created; try again when it is done.")
    # A copy was promised the bytes that were there when it was asked for.
    check_not_source(tx, volume, [])
    work, claims = {"snapshot_id": snapshot.id}, [("snapshot", snapshot.id)]
    return snapshot, queue_work(tx, deps, caller, kind, volume, work, claims)


async def revert_volume(deps: Deps, caller: Caller, volume_id: str, snapshot_id: str) -> None:
    """Accept Cinder's `revert` (microversion 3.40): only to the newest snapshot, and only while the sizes are equal.
    Raises NotFound, InvalidInput, WrongStatus."""
    await accept(deps, caller, Snapshot, _accept_revert, deps, caller, volume_id, snapshot_id)


def _accept_revert(tx: Tx, deps: Deps, caller: Caller, volume_id: str, snapshot_id: str) -> tuple[Snapshot, Operation]:
    volume = volumes.find_volume(tx, volume_id, caller.scope)
    snapshot = snapshots.find_snapshot(tx, snapshot_id, caller.scope)
    _check_newest(tx, volume, snapshot)
    return begin_reverting(tx, deps, caller, snapshot, "revert_volume")


def _check_newest(tx: Tx, volume: Volume, snapshot: Snapshot) -> None:
    if snapshot.volume_id != volume.id:
        raise InvalidInput("snapshot_id", f"snapshot {snapshot.id} was not taken of volume {volume.id}.")
    # Those that an earlier owner of the volume has kept are another project's, and do not exist here.
    own = [other for other in snapshots.snapshots_of(tx, volume.id) if other.project_id == snapshot.project_id]
    if own[-1].id != snapshot.id:
        raise InvalidInput(
            "snapshot_id", f"the newest snapshot of volume {volume.id} is {own[-1].id}; revert takes no other."
        )
    if snapshot.size_gib != volume.size_gib:
        raise InvalidInput(
            "snapshot_id",
            f"the volume has {volume.size_gib} GiB, the snapshot {snapshot.size_gib}; revert wants equal sizes.",
        )
