"""Disconnect a volume: stop serving its bytes; and, where the request says so, end the attachment with it.

The request has moved the attachment to `detaching` (and the volume too, unless only the connection is to end) and
claims the volume. One step: the engine stops serving. After `os-terminate_connection` an attached attachment stays,
without a connection; in every other case its row goes, and a volume that was `detaching` is `available`.

While another attachment of the volume is connected (`others` in the input, which the claim keeps true) it goes on being
served, and its status is then what the others make it.

It is tried for as long as the reason may pass. If storage says that it never can, the attachment is what it was, the
volume is `error_detaching` with the reason, and detaching may be asked for again.
"""

from datetime import datetime

from openevs.domain.ids import VolumeId
from openevs.domain.lifecycle import AttachmentMoves, VolumeMoves, rest
from openevs.domain.model import Operation
from openevs.engine.port import Engine, Exports
from openevs.operations.ends import end_volume
from openevs.operations.kind import Facts, Kind, Step
from openevs.store.attachments import attachments_of_one, delete_attachment_row, move_attachment
from openevs.store.database import Tx

_STAY = {"attached": AttachmentMoves.stay_attached, "attaching": AttachmentMoves.stay_attaching}
"""Status of the attachment before the request → the move back there."""


async def stop_serving(engine: Engine, operation: Operation, facts: Facts) -> Facts:
    """Make the volume not served, unless to others. An engine without that power never served it."""
    if isinstance(engine, Exports) and not operation.input.get("others"):
        await engine.ensure_no_export(VolumeId(operation.resource_id))
    return {}


def succeed(tx: Tx, operation: Operation, facts: Facts, now: datetime) -> None:
    """The volume is not served, and the attachment has ended or says so."""
    attachment_id, before = operation.input["attachment_id"], operation.input["before"]
    if operation.input["end"] or before != "attached":
        delete_attachment_row(tx, attachment_id)
    else:
        nothing = {"connection_info": None, "connector": None}
        move_attachment(tx, attachment_id, AttachmentMoves.stay_attached, now, also=nothing)
    if operation.input["volume_moved"]:
        left = [one.status for one in attachments_of_one(tx, operation.resource_id)]
        end_volume(tx, operation.resource_id, rest(VolumeMoves.detached, left), now)


def fail(tx: Tx, operation: Operation, reason: str, now: datetime) -> None:
    """The volume may still be served, and why."""
    before = operation.input["before"]
    if before in _STAY:
        move_attachment(tx, operation.input["attachment_id"], _STAY[before], now)
    if operation.input["volume_moved"]:
        end_volume(tx, operation.resource_id, VolumeMoves.detach_failed, now, reason=reason)


DISCONNECT_VOLUME = Kind(
    name="disconnect_volume",
    steps=(Step("stop_serving", stop_serving),),
    succeed=succeed,
    fail=fail,
    forward_only=True,
)
