"""What can be asked of attachments: Cinder's attachments API (microversion 3.27; spec 4.5).

Without a connector an attachment only reserves its volume. With one, the volume is served (`service/connections.py`),
and the attachment is `attaching` until the client says that it is complete (3.44), or `attached` at once (before).
"""

from typing import NamedTuple

from openevs.domain.errors import Conflict, InUse
from openevs.domain.lifecycle import AttachmentMoves, VolumeMoves, also_in_use
from openevs.domain.model import Attachment, Caller, Operation
from openevs.service.connections import (
    Pending,
    Wish,
    begin_connecting,
    check_exports,
    end_attachment,
    find_connecting,
    in_turn,
    mode_for,
    new_attachment,
    note_consumer,
)
from openevs.service.deps import Deps
from openevs.service.queries import ATTACHMENT_FILTERS, ListQuery, list_rows
from openevs.store import attachments as store
from openevs.store.database import Tx
from openevs.store.tables import attachment as table
from openevs.store.volumes import find_volume, move_volume


class NewAttachment(NamedTuple):
    """An attachment as it is asked for."""

    volume_id: str
    instance_uuid: str | None
    mode: str | None
    wish: Wish | None
    """How to connect at once; None: only reserve."""
    complete: bool
    """Whether being connected makes the volume `in-use`, without waiting for the client to say so."""


async def create_attachment(deps: Deps, caller: Caller, new: NewAttachment) -> Attachment:
    """Reserve a volume for a consumer and, given a connector, connect it. Raises InvalidInput, NotFound, WrongStatus,
    InUse, Conflict, NotSupported, Unavailable."""
    if new.wish is not None:
        check_exports(deps)
    pending = await in_turn(deps, caller, new.volume_id, None, _accept_attachment, deps, caller, new)
    return deps.db.look_up(store.find_attachment, pending.attachment_id or "", caller.scope)


def _accept_attachment(tx: Tx, deps: Deps, caller: Caller, new: NewAttachment) -> tuple[Pending, Operation | None]:
    now, wish = deps.clock(), new.wish
    move = VolumeMoves.reserve_attachment if wish is None else VolumeMoves.connect_new
    if find_volume(tx, new.volume_id, caller.scope).multiattach:
        move = also_in_use(move)
    volume = move_volume(tx, new.volume_id, move, now, project_id=caller.scope)
    if not volume.multiattach and store.attachments_of_one(tx, volume.id):
        raise InUse("volume", f"volume {volume.id} already has an attachment, and may have one; delete that first.")
    mode = mode_for(volume, new.mode, None if wish is None else wish.mode)
    if wish is None:
        reserved = new_attachment(volume, "reserved", mode, now, instance_uuid=new.instance_uuid)
        store.insert_attachment(tx, reserved)
        return Pending(reserved.id, None), None
    attachment = new_attachment(volume, "attaching", mode, now, instance_uuid=new.instance_uuid, **wish.about)
    store.insert_attachment(tx, attachment)
    return begin_connecting(
        tx, deps, caller, volume, attachment, wish, created=True, before="available", complete=new.complete
    )


async def connect_attachment(
    deps: Deps, caller: Caller, attachment_id: str, wish: Wish, *, complete: bool
) -> Attachment:
    """Connect a reserved volume; a repeat returns the connection there is. Raises InvalidInput, NotFound, WrongStatus,
    Conflict, NotSupported, Unavailable."""
    check_exports(deps)
    volume_id = deps.db.look_up(store.find_attachment, attachment_id, caller.scope).volume_id
    work = (deps, caller, attachment_id, wish, complete)
    await in_turn(deps, caller, volume_id, attachment_id, _accept_connection, *work)
    return deps.db.look_up(store.find_attachment, attachment_id, caller.scope)


def _accept_connection(
    tx: Tx, deps: Deps, caller: Caller, attachment_id: str, wish: Wish, complete: bool
) -> tuple[Pending, Operation | None]:
    now = deps.clock()
    attachment = store.find_attachment(tx, attachment_id, caller.scope)
    known = find_connecting(tx, attachment, wish)
    if known is not None:
        if complete and known.operation_id is None:
            _complete(tx, deps, attachment)
        return known, None
    before = None
    if attachment.status in ("reserved", "detaching"):
        attachment = store.move_attachment(tx, attachment_id, AttachmentMoves.connect, now)
        move_volume(tx, attachment.volume_id, VolumeMoves.connect_reserved, now)
        before = "reserved"
    volume = find_volume(tx, attachment.volume_id)
    attachment = note_consumer(tx, attachment, volume, wish)
    return begin_connecting(tx, deps, caller, volume, attachment, wish, created=False, before=before, complete=complete)


async def complete_attachment(deps: Deps, caller: Caller, attachment_id: str) -> None:
    """Take note that the client has the volume: it is `in-use`. Raises NotFound, WrongStatus, Conflict (it is not
    connected yet)."""

    def complete(tx: Tx) -> None:
        _complete(tx, deps, store.find_attachment(tx, attachment_id, caller.scope))

    await deps.db.write(complete)


def _complete(tx: Tx, deps: Deps, attachment: Attachment) -> None:
    if attachment.status == "attached":
        return
    now = deps.clock()
    store.move_attachment(tx, attachment.id, AttachmentMoves.attach, now, also={"attached_at": now})
    if attachment.connection_info is None:
        raise Conflict(f"Attachment {attachment.id} is not connected yet; update it with a connector first.")
    shared = find_volume(tx, attachment.volume_id).multiattach
    move_volume(tx, attachment.volume_id, also_in_use(VolumeMoves.complete) if shared else VolumeMoves.complete, now)


async def delete_attachment(deps: Deps, caller: Caller, attachment_id: str) -> list[Attachment]:
    """End an attachment, whatever its status, and its connection with it; return the volume's remaining ones.
    Raises NotFound, Conflict, Unavailable."""
    volume_id = deps.db.look_up(store.find_attachment, attachment_id, caller.scope).volume_id
    await in_turn(deps, caller, volume_id, attachment_id, _accept_deletion, deps, caller, attachment_id)
    return deps.db.look_up(store.attachments_of_one, volume_id)


def _accept_deletion(tx: Tx, deps: Deps, caller: Caller, attachment_id: str) -> tuple[Pending, Operation | None]:
    attachment = store.find_attachment(tx, attachment_id, caller.scope)
    volume = find_volume(tx, attachment.volume_id)
    return end_attachment(tx, deps, caller, volume, attachment)


async def get_attachment(deps: Deps, caller: Caller, attachment_id: str) -> Attachment:
    """Return an attachment. Raises NotFound."""
    return deps.db.look_up(store.find_attachment, attachment_id, caller.scope)


async def list_attachments(deps: Deps, caller: Caller, query: ListQuery) -> tuple[list[Attachment], int | None]:
    """Return one page of attachments and, if asked for, how many there are in all.
    Raises InvalidInput, NotFound (marker)."""
    return await list_rows(deps, table, Attachment._make, ATTACHMENT_FILTERS, caller, query)
