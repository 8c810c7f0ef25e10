"""Connecting a volume to a consumer, and disconnecting it: what the attachments API and Cinder's older actions share.

Whether a volume is served is one fact: an attachment of it has `connection_info`. Only the operations `connect_volume`
and `disconnect_volume` change that. A request queues one and waits for it; if it takes too long the work goes on, and a
repeat of the request finds it. A volume has at most one attachment, unless it is one that several may attach
(`multiattach`): that is served once, and each of its attachments says where.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Concatenate, Final, NamedTuple, ParamSpec

import msgspec

from openevs.domain.errors import Busy, Conflict, InvalidInput, NotSupported, WrongStatus
from openevs.domain.ids import AttachmentId, new_uuid
from openevs.domain.lifecycle import AttachmentMoves, Move, VolumeMoves, rest
from openevs.domain.model import Attachment, Caller, Operation, Volume
from openevs.domain.qos import limits_of, shown_specs
from openevs.domain.rules import check_text
from openevs.service.deps import Deps, accept, queue_work, wait_for
from openevs.store.attachments import attachments_of_one, delete_reserved_row, move_attachment, update_attachment
from openevs.store.database import Tx
from openevs.store.operations import claimant
from openevs.store.qos import qos_of_type
from openevs.store.volumes import find_volume, move_volume

TRANSPORTS: Final = ("unix", "tcp")
MODES: Final = ("rw", "ro")
CONNECTOR_MAX_BYTES: Final = 65_536
"""It is kept with the attachment, and read with every list of them; what there is to say of a host takes a few kB."""
TAKING_TURNS: Final = frozenset({"connect_volume", "disconnect_volume"})
P = ParamSpec("P")


class Wish(NamedTuple):
    """How a consumer wants to be served."""

    connector: Mapping[str, Any]
    """What the consumer says of itself; Cinder's `connector`."""
    transport: str | None
    """None: as the settings say."""
    mode: str | None
    """`rw`, `ro`, or None if the consumer does not say."""
    host: str | None
    mountpoint: str | None

    @property
    def about(self) -> dict[str, Any]:
        """The columns of the attachment that it fills."""
        known = {"host_name": self.host, "mountpoint": self.mountpoint}
        return {"connector": dict(self.connector), **{name: value for name, value in known.items() if value}}


class Pending(NamedTuple):
    """An attachment, and the operation (if any) that has to end before it is as asked."""

    attachment_id: str | None
    operation_id: str | None


def read_connector(connector: Mapping[str, Any]) -> Wish:
    """Return what a connector asks for. Raises InvalidInput naming the key."""
    size = len(msgspec.json.encode(connector))
    if size > CONNECTOR_MAX_BYTES:
        raise InvalidInput("connector", f"it has {size} bytes as JSON, but may have at most {CONNECTOR_MAX_BYTES}.")
    transport = connector.get("nbd_transport", connector.get("transport"))
    if transport is not None and transport not in TRANSPORTS:
        raise InvalidInput("connector.transport", f"{transport!r} is none of {', '.join(TRANSPORTS)}.")
    for name in ("host", "mountpoint"):
        if not isinstance(connector.get(name), str | None):
            raise InvalidInput(f"connector.{name}", "it must be a string.")
    return Wish(
        connector=connector,
        transport=transport,
        mode=check_mode("connector.mode", connector.get("mode")),
        host=check_text("connector.host", connector.get("host")),
        mountpoint=check_text("connector.mountpoint", connector.get("mountpoint")),
    )


def check_mode(field: str, mode: object) -> str | None:
    """Return `rw`, `ro`, or None for a mode that was not given (Cinder also writes "null"). Raises InvalidInput."""
    if mode in (None, "", "null"):
        return None
    if mode not in MODES:
        raise InvalidInput(field, f"{mode!r} is neither rw nor ro.")
    return str(mode)


def check_exports(deps: Deps) -> None:
    """Refuse to connect where the engine cannot serve. Raises NotSupported."""
    if "exports" not in deps.powers:
        raise NotSupported("The storage engine in use cannot serve volumes to clients.")


def new_attachment(volume: Volume, status: str, mode: str, now: datetime, **about: Any) -> Attachment:
    """Return a new attachment of a volume; `about` has its other columns."""
    empty: dict[str, Any] = dict.fromkeys(
        ("instance_uuid", "host_name", "mountpoint", "connector", "connection_info", "attached_at", "detached_at")
    )
    known = {"volume_id": volume.id, "project_id": volume.project_id, "status": status, "mode": mode, "created_at": now}
    return Attachment(**{"id": AttachmentId(new_uuid()), **empty, **known, **about})


def mode_for(volume: Volume, *modes: str | None) -> str:
    """Return `ro` if the volume is read-only or anybody asked for it, else `rw`."""
    return "ro" if volume.readonly or "ro" in modes else "rw"


def begin_connecting(
    tx: Tx,
    deps: Deps,
    caller: Caller,
    volume: Volume,
    attachment: Attachment,
    wish: Wish,
    *,
    created: bool,
    before: str | None,
    complete: bool,
) -> tuple[Pending, Operation]:
    """Queue the serving of a volume for an attachment. `created`: a failure removes the attachment; `before`: the
    status to which it returns the volume; `complete`: success makes it `in-use`. Raises Conflict."""
    transport = wish.transport or deps.settings.engine.transport
    others = connected_others(tx, attachment)
    if others:
        known = (others[0].connection_info or {})["data"]["transport"]
        if wish.transport not in (None, known):
            raise Conflict(f"Volume {volume.id} is served over {known} to another attachment; ask for that.")
        transport = known
    work = {
        "attachment_id": attachment.id,
        "transport": transport,
        # Served once, it is served as the one who may do most needs it.
        "read_only": volume.readonly if volume.multiattach else attachment.mode == "ro",
        "others": bool(others),
        "created": created,
        "before": before,
        "complete": complete,
        **_told_limits(tx, deps, volume),
        # Volumes of a group are served so that they can be frozen at one instant.
        "together": volume.group_id,
    }
    operation = queue_work(tx, deps, caller, "connect_volume", volume, work)
    return Pending(attachment.id, operation.id), operation


def _told_limits(tx: Tx, deps: Deps, volume: Volume) -> dict[str, Any]:
    """What the volume's type lets its clients do: what the engine is to keep to, and what clients are told."""
    qos = qos_of_type(tx, volume.type_id)
    limits = limits_of(qos, volume.size_gib) if "throttles" in deps.powers else {}
    return {"limits": limits, "qos_specs": shown_specs(qos)}


def find_connecting(tx: Tx, attachment: Attachment, wish: Wish) -> Pending | None:
    """Return what an earlier request has done, or is doing, for the same wish; None if nothing.
    Raises Conflict if the attachment is connected in another way or to somebody else."""
    running = claimant(tx, "volume", attachment.volume_id)
    connecting = running if _is_about(running, "connect_volume", attachment) else None
    if attachment.connection_info is None and connecting is None:
        return None
    of = f"Attachment {attachment.id} of volume {attachment.volume_id}"
    other = (attachment.connector or {}).get("host")
    if wish.host and other and wish.host != other:
        raise Conflict(f"{of} is connected to host {other}; end that connection first.")
    transport = connecting.input["transport"] if connecting else (attachment.connection_info or {})["data"]["transport"]
    if wish.transport not in (None, transport):
        raise Conflict(f"{of} is connected over {transport}; end that connection first.")
    if wish.mode == "ro" and attachment.mode != "ro":
        raise Conflict(f"{of} is connected with mode {attachment.mode}; end that connection first.")
    return Pending(attachment.id, connecting.id if connecting else None)


def begin_disconnecting(
    tx: Tx, deps: Deps, caller: Caller, volume: Volume, attachment: Attachment, move: Move | None
) -> tuple[Pending, Operation | None]:
    """Queue the end of a connection, and of the attachment unless `move` is None. `move` is tried on the volume; one in
    a status where it has no place (a failed extension, say) keeps that. Raises Conflict."""
    running = claimant(tx, "volume", volume.id)
    disconnecting = running if _is_about(running, "disconnect_volume", attachment) else None
    if disconnecting is not None and (disconnecting.input["end"] or move is None):
        return Pending(attachment.id, disconnecting.id), None
    now = deps.clock()
    move_attachment(tx, attachment.id, AttachmentMoves.disconnect, now)
    work = {
        "attachment_id": attachment.id,
        # One whose disconnecting was given up is `detaching` for good; it goes on as what it is, attached.
        "before": "attached" if attachment.status == "detaching" else attachment.status,
        "end": move is not None,
        "volume_moved": move is not None and try_move(tx, volume.id, move, now),
        "others": bool(connected_others(tx, attachment)),
    }
    operation = queue_work(tx, deps, caller, "disconnect_volume", volume, work)
    return Pending(attachment.id, operation.id), operation


def end_attachment(
    tx: Tx, deps: Deps, caller: Caller, volume: Volume, attachment: Attachment
) -> tuple[Pending, Operation | None]:
    """End an attachment in whatever status it and its volume are. Raises Conflict."""
    if delete_reserved_row(tx, attachment.id):
        left = [one.status for one in attachments_of_one(tx, volume.id)]
        try_move(tx, volume.id, rest(VolumeMoves.unreserve_attachment, left), deps.clock())
        return Pending(None, None), None
    return begin_disconnecting(tx, deps, caller, volume, attachment, VolumeMoves.disconnect)


def try_move(tx: Tx, volume_id: str, move: Move, now: datetime) -> bool:
    """Move a volume if the move has its status among its own; say whether it did. Raises NotFound."""
    try:
        move_volume(tx, volume_id, move, now)
    except WrongStatus:
        return False
    return True


def connected_others(tx: Tx, attachment: Attachment) -> list[Attachment]:
    """Return the other attachments of the same volume that it is served to."""
    others = attachments_of_one(tx, attachment.volume_id)
    return [one for one in others if one.id != attachment.id and one.connection_info is not None]


def _is_about(running: Operation | None, kind: str, attachment: Attachment) -> bool:
    return running is not None and running.kind == kind and running.input["attachment_id"] == attachment.id


async def in_turn(
    deps: Deps,
    caller: Caller,
    volume_id: str,
    attachment_id: str | None,
    fn: Callable[Concatenate[Tx, P], tuple[Pending, Operation | None]],
    *args: P.args,
    **kwargs: P.kwargs,
) -> Pending:
    """Run the accepting transaction `fn`, which needs the volume for one attachment, and wait for the work; while an
    operation has the volume for another one, wait for that first.
    Raises as `fn` and `wait_for`, so Busy if that does not end or if only one may attach the volume."""
    while True:
        try:
            pending = await accept(deps, caller, Pending, fn, *args, **kwargs)
            break
        except Busy:
            running = deps.db.read_now(claimant, "volume", volume_id)
            if running is None:  # It ended just now.
                continue
            if running.kind not in TAKING_TURNS or running.input["attachment_id"] == attachment_id:
                raise
            if not deps.db.look_up(find_volume, volume_id).multiattach:
                raise
            if await deps.bell.finished(running.id, deps.settings.server.wait_seconds) is None:
                raise
    if pending.operation_id is not None:
        await wait_for(deps, pending.operation_id)
    return pending


def note_consumer(tx: Tx, attachment: Attachment, volume: Volume, wish: Wish) -> Attachment:
    """Write down who wants to be served, and how; return the attachment as it is then."""
    return update_attachment(tx, attachment.id, {**wish.about, "mode": mode_for(volume, attachment.mode, wish.mode)})
