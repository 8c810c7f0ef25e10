"""Attaching in the order of Cinder's older actions: reserve, initialize the connection, attach; begin detaching,
terminate the connection, detach (spec 4.5).

`attach` and `detach` alone change statuses only, as EVS says; what serves the volume is its connection. A connection
that is made first has an attachment that is `attaching`, which `attach` then completes.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from openevs.domain.errors import Conflict, InUse, InvalidInput
from openevs.domain.lifecycle import AttachmentMoves, VolumeMoves, also_in_use, rest
from openevs.domain.model import Attachment, Caller, Operation, Volume
from openevs.service.connections import (
    Pending,
    Wish,
    begin_connecting,
    begin_disconnecting,
    check_exports,
    end_attachment,
    find_connecting,
    in_turn,
    mode_for,
    new_attachment,
    note_consumer,
)
from openevs.service.deps import Deps, accept
from openevs.store.attachments import attachments_of_one, insert_attachment, move_attachment
from openevs.store.database import Tx
from openevs.store.volumes import find_volume, hold_volume, move_volume

CONNECTABLE: Final = frozenset({"available", "attaching", "in-use"})


class Consumer(NamedTuple):
    """Who has attached a volume, and where."""

    mountpoint: str
    instance_uuid: str | None
    host_name: str | None
    mode: str | None
    """`rw`, `ro`, or None: as the volume is connected, or may be."""


async def initialize_connection(deps: Deps, caller: Caller, volume_id: str, wish: Wish) -> dict[str, Any]:
    """Serve a volume and return how to reach it; a repeat returns the same. The volume's status stays.
    Raises NotFound, WrongStatus, Conflict, NotSupported, Unavailable."""
    check_exports(deps)
    pending = await in_turn(deps, caller, volume_id, None, _accept_connection, deps, caller, volume_id, wish)
    for attachment in deps.db.look_up(attachments_of_one, volume_id):
        if attachment.id == pending.attachment_id and attachment.connection_info is not None:
            return attachment.connection_info
    raise Conflict(f"The connection of volume {volume_id} was ended by another request meanwhile.")


def _accept_connection(
    tx: Tx, deps: Deps, caller: Caller, volume_id: str, wish: Wish
) -> tuple[Pending, Operation | None]:
    volume = hold_volume(tx, volume_id, CONNECTABLE, "connect", caller.scope)
    attachment = _of_host(volume, attachments_of_one(tx, volume_id), wish.host)
    created = attachment is None
    if attachment is None:
        mode = mode_for(volume, wish.mode)
        attachment = insert_attachment(tx, new_attachment(volume, "attaching", mode, deps.clock(), **wish.about))
    else:
        known = find_connecting(tx, attachment, wish)
        if known is not None:
            return known, None
        if attachment.status == "reserved":
            raise Conflict(f"Attachment {attachment.id} has reserved volume {volume_id}; update that to connect.")
        attachment = note_consumer(tx, attachment, volume, wish)
    return begin_connecting(tx, deps, caller, volume, attachment, wish, created=created, before=None, complete=False)


def _of_host(volume: Volume, attachments: Sequence[Attachment], host: str | None) -> Attachment | None:
    """Return the attachment that a request without an attachment's id means: where several may attach the volume, the
    one of that host."""
    if not volume.multiattach:
        return next(iter(attachments), None)
    return next((one for one in attachments if host in (_hosts(one) or {None})), None)


def _hosts(attachment: Attachment) -> set[str | None]:
    return {(attachment.connector or {}).get("host"), attachment.host_name} - {None}


async def terminate_connection(deps: Deps, caller: Caller, volume_id: str, host: str | None = None) -> None:
    """Serve a volume no more, or, where several attach it, not to that host; one that is attached stays so, without a
    connection. Without one there is nothing to do. Raises InvalidInput, NotFound, Conflict, Unavailable."""

    def terminate(tx: Tx) -> tuple[Pending, Operation | None]:
        volume = find_volume(tx, volume_id, caller.scope)
        attachments = attachments_of_one(tx, volume_id)
        attachment = _of_host(volume, attachments, host) or _only(volume_id, attachments, "connector.host")
        if attachment is None or attachment.status == "reserved":
            return Pending(None, None), None
        return begin_disconnecting(tx, deps, caller, volume, attachment, None)

    await in_turn(deps, caller, volume_id, None, terminate)


def _only(volume_id: str, attachments: Sequence[Attachment], field: str) -> Attachment | None:
    """Return the one attachment there is. Raises InvalidInput naming the field that must tell which of several."""
    if len(attachments) > 1:
        raise InvalidInput(field, f"volume {volume_id} has {len(attachments)} attachments; say which.")
    return next(iter(attachments), None)


async def attach(deps: Deps, caller: Caller, volume_id: str, consumer: Consumer) -> None:
    """Note that a consumer has the volume: it is `in-use`. Raises InvalidInput, NotFound, WrongStatus, Conflict."""

    def attach_volume(tx: Tx) -> tuple[None, None]:
        now = deps.clock()
        shared = find_volume(tx, volume_id, caller.scope).multiattach
        move = also_in_use(VolumeMoves.attach) if shared else VolumeMoves.attach
        volume = move_volume(tx, volume_id, move, now, project_id=caller.scope)
        if volume.readonly and consumer.mode == "rw":
            raise InvalidInput("mode", f"volume {volume_id} is read-only; attach it with mode ro.")
        about = {**consumer._asdict(), "attached_at": now}
        found = _to_complete(volume, attachments_of_one(tx, volume_id), consumer)
        if found is None:
            mode = mode_for(volume, consumer.mode)
            insert_attachment(tx, new_attachment(volume, "attached", now=now, **{**about, "mode": mode}))
            return None, None
        if consumer.mode not in (None, found.mode):
            raise InvalidInput(
                "mode", f"it is {consumer.mode}, but volume {volume_id} is connected with mode {found.mode}."
            )
        move_attachment(tx, found.id, AttachmentMoves.attach, now, also={**about, "mode": found.mode})
        if found.connection_info is None:
            raise Conflict(f"Volume {volume_id} is just being connected; try again when it is.")
        return None, None

    await accept(deps, caller, type(None), attach_volume)


def _to_complete(volume: Volume, attachments: Sequence[Attachment], consumer: Consumer) -> Attachment | None:
    if not volume.multiattach:
        return next(iter(attachments), None)
    waiting = [one for one in attachments if one.status == "attaching"]
    return _of_host(volume, waiting, consumer.host_name) or next(iter(waiting), None)


async def detach(deps: Deps, caller: Caller, volume_id: str, attachment_id: str | None, *, force: bool = False) -> None:
    """End the attachment of a volume, and its connection with it: the volume is `available`. `force`: in any status of
    the volume. Raises InvalidInput, NotFound, WrongStatus, Conflict, Unavailable."""

    def detach_volume(tx: Tx) -> tuple[Pending, Operation | None]:
        volume = find_volume(tx, volume_id, caller.scope)
        if not force:
            hold_volume(tx, volume_id, VolumeMoves.detach.froms, VolumeMoves.detach.action, caller.scope)
        attachments = attachments_of_one(tx, volume_id)
        if attachment_id is None:
            found = _only(volume_id, attachments, "attachment_id")
        else:
            found = next((one for one in attachments if one.id == attachment_id), None)
            if found is None:
                raise InvalidInput("attachment_id", f"volume {volume_id} has no attachment {attachment_id}.")
        if found is not None:
            return end_attachment(tx, deps, caller, volume, found)
        # In use by nobody: an administrator has set the status by hand.
        move_volume(tx, volume_id, VolumeMoves.disconnect if force else VolumeMoves.detach, deps.clock())
        move_volume(tx, volume_id, VolumeMoves.detached, deps.clock())
        return Pending(None, None), None

    await in_turn(deps, caller, volume_id, attachment_id, detach_volume)


async def forget_attachments(deps: Deps, caller: Caller, volume_id: str) -> None:
    """End whatever attachments a volume has (administrators). Raises NotFound, Conflict, Unavailable."""
    deps.db.look_up(find_volume, volume_id, caller.scope)
    for attachment in deps.db.look_up(attachments_of_one, volume_id):
        await _forget(deps, caller, attachment)


async def _forget(deps: Deps, caller: Caller, attachment: Attachment) -> None:
    def forget(tx: Tx) -> tuple[Pending, Operation | None]:
        volume = find_volume(tx, attachment.volume_id, caller.scope)
        found = next((one for one in attachments_of_one(tx, volume.id) if one.id == attachment.id), None)
        return (Pending(None, None), None) if found is None else end_attachment(tx, deps, caller, volume, found)

    await in_turn(deps, caller, attachment.volume_id, attachment.id, forget)


async def reserve(deps: Deps, caller: Caller, volume_id: str) -> None:
    """Keep a volume for a consumer. Raises NotFound, WrongStatus."""

    def reserve_volume(tx: Tx) -> tuple[None, None]:
        shared = find_volume(tx, volume_id, caller.scope).multiattach
        move = also_in_use(VolumeMoves.reserve) if shared else VolumeMoves.reserve
        move_volume(tx, volume_id, move, deps.clock(), project_id=caller.scope)
        return None, None

    await accept(deps, caller, type(None), reserve_volume)


async def unreserve(deps: Deps, caller: Caller, volume_id: str) -> None:
    """Give a reserved volume back. Raises NotFound, WrongStatus, InUse (it is connected)."""

    def unreserve_volume(tx: Tx) -> None:
        left = [one.status for one in attachments_of_one(tx, volume_id)]
        move = rest(VolumeMoves.unreserve, left)
        volume = move_volume(tx, volume_id, move, deps.clock(), project_id=caller.scope)
        if left and ("attaching" in left or not volume.multiattach):
            raise InUse("volume", f"volume {volume_id} is connected; terminate its connection first.")

    await deps.db.write(unreserve_volume)
