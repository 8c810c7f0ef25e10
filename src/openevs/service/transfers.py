"""What can be asked of transfers: a project offers a volume, another one accepts it with the key.

Acceptance changes the owner of the volume and of its snapshots, and both projects' usage, in one transaction. No byte
moves; the one thing that follows is that storage is told of the new owner.
"""

import hashlib
import hmac
import secrets
from typing import Final

import structlog

from openevs.domain.errors import InvalidInput, WrongStatus
from openevs.domain.ids import new_uuid
from openevs.domain.lifecycle import VolumeMoves
from openevs.domain.model import Caller, Operation, Snapshot
from openevs.domain.quota import snapshot_usage, volume_usage
from openevs.domain.rules import check_text
from openevs.domain.transfer import Transfer
from openevs.service.connections import try_move
from openevs.service.deps import Deps, accept
from openevs.service.membership import check_ungrouped
from openevs.service.queries import TRANSFER_FILTERS, ListQuery, list_rows
from openevs.service.volumes import check_detached
from openevs.store import transfers as store
from openevs.store.database import Tx
from openevs.store.operations import NewOperation, insert_operation
from openevs.store.quotas import give_quota, take_quota
from openevs.store.snapshots import snapshots_of, update_snapshot
from openevs.store.tables import transfer as table
from openevs.store.volumes import move_volume

log = structlog.get_logger()

KEY_BYTES: Final = 16


async def create_transfer(
    deps: Deps, caller: Caller, volume_id: str, name: str | None, *, no_snapshots: bool
) -> tuple[Transfer, str | None]:
    """Offer a volume; return the transfer and its key, which is shown this once. A repeat with the same client token
    returns the transfer without it, since only its digest is kept.
    Raises InvalidInput, NotFound, WrongStatus, InUse."""
    key = secrets.token_hex(KEY_BYTES)
    checked = check_text("name", name)
    made = await accept(deps, caller, Transfer, _offer, deps, caller, volume_id, checked, key, no_snapshots)
    return made, key if made.key_digest == _digest(key) else None


def _offer(
    tx: Tx, deps: Deps, caller: Caller, volume_id: str, name: str | None, key: str, no_snapshots: bool
) -> tuple[Transfer, Operation | None]:
    now = deps.clock()
    volume = move_volume(tx, volume_id, VolumeMoves.offer, now, project_id=caller.scope)
    check_detached(tx, volume)
    check_ungrouped(volume)
    if not no_snapshots:
        for snapshot in _going_along(tx, volume.id, volume.project_id):
            _check_snapshot(snapshot)
    made = Transfer(new_uuid(), volume.project_id, volume.id, name, _digest(key), no_snapshots, now)
    return store.insert_transfer(tx, made), None


def _going_along(tx: Tx, volume_id: str, project_id: str) -> list[Snapshot]:
    """Return the snapshots of a volume that are its project's to give. Those that an earlier owner has kept are not."""
    return [snapshot for snapshot in snapshots_of(tx, volume_id) if snapshot.project_id == project_id]


def _check_snapshot(snapshot: Snapshot) -> None:
    if snapshot.status != "available":
        raise WrongStatus("snapshot", snapshot.id, snapshot.status, {"available"}, "transfer")


async def accept_transfer(deps: Deps, caller: Caller, transfer_id: str, key: str) -> Transfer:
    """Take over an offered volume into the caller's project. Whoever has the key may, and nobody else learns of the
    transfer. Raises NotFound, InvalidInput (wrong key), WrongStatus, QuotaExceeded, and Conflict while storage is still
    being told of an earlier owner."""
    accepted = await accept(deps, caller, Transfer, _accept_transfer, deps, caller, transfer_id, key)
    log.info("volume_transferred", volume_id=accepted.volume_id, of_project=accepted.project_id)
    return accepted


def _accept_transfer(
    tx: Tx, deps: Deps, caller: Caller, transfer_id: str, key: str
) -> tuple[Transfer, Operation | None]:
    transfer = store.find_transfer(tx, transfer_id)
    if not hmac.compare_digest(transfer.key_digest, _digest(key)):
        raise InvalidInput("auth_key", f"it is not the key of transfer {transfer_id}.")
    now = deps.clock()
    owner = {"project_id": caller.project_id, "user_id": caller.user_id}
    volume = move_volume(tx, transfer.volume_id, VolumeMoves.offer_ended, now, also=owner)
    check_detached(tx, volume)
    check_ungrouped(volume)
    _hand_over(tx, deps, caller, transfer, volume_usage(volume.size_gib, volume.volume_type), volume.size_gib)
    along = [] if transfer.no_snapshots else _going_along(tx, volume.id, transfer.project_id)
    for snapshot in along:
        _check_snapshot(snapshot)
        update_snapshot(tx, snapshot.id, None, now, owner)
        _hand_over(tx, deps, caller, transfer, snapshot_usage(snapshot.size_gib, snapshot.volume_type))
    store.delete_transfer_row(tx, transfer_id)
    new = NewOperation(
        kind="label_volume",
        project_id=volume.project_id,
        resource_kind="volume",
        resource_id=volume.id,
        input={"snapshots": [snapshot.id for snapshot in along]},
        # Not the volume itself, which others may work on meanwhile; but two owners must not be told of at once.
        claims=(("owner", volume.id),),
        request_id=caller.request_id,
    )
    return transfer, insert_operation(tx, new, now, deps.bell.lease())


def _hand_over(tx: Tx, deps: Deps, caller: Caller, transfer: Transfer, usage: dict[str, int], one_gib: int = 0) -> None:
    give_quota(tx, transfer.project_id, usage)
    take_quota(tx, caller.project_id, usage, deps.quota_defaults, one_gib)


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()


async def delete_transfer(deps: Deps, caller: Caller, transfer_id: str) -> None:
    """Take an offer back. A volume whose status was set by hand meanwhile keeps that. Raises NotFound."""

    def delete(tx: Tx) -> None:
        transfer = store.find_transfer(tx, transfer_id, caller.scope)
        store.delete_transfer_row(tx, transfer_id)
        try_move(tx, transfer.volume_id, VolumeMoves.offer_ended, deps.clock())

    await deps.db.write(delete)


async def get_transfer(deps: Deps, caller: Caller, transfer_id: str) -> Transfer:
    """Return a transfer that the project offers. Raises NotFound."""
    return deps.db.look_up(store.find_transfer, transfer_id, caller.scope)


async def list_transfers(deps: Deps, caller: Caller, query: ListQuery) -> tuple[list[Transfer], int | None]:
    """Return one page of transfers that the project offers and, if asked for, how many there are in all.
    Raises InvalidInput, NotFound (marker)."""
    return await list_rows(deps, table, Transfer._make, TRANSFER_FILTERS, caller, query)
