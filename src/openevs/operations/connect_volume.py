"""Connect a volume: serve its bytes to the consumer of an attachment.

The request has an attachment row ready (and, where the API says so, the volume `attaching`), claims the volume and
waits for this. One step: the engine serves the volume, and says where. The transaction that closes the operation writes
that into the attachment's `connection_info`, which is what makes the volume a served one; a process that dies before
it leaves a served volume that nobody was told of, and calling again finds it.

If it cannot be done, the volume is not served, and attachment and volume are what they were before the request.

A volume that several may attach (`multiattach`) is served once: where another attachment is connected already
(`others` in the input, which the claim keeps true), serving it again gives the same facts, and failing leaves it as it
is. Whoever asked for `ro` there is told so, and trusted: what is served can be written to as long as anybody may.

Where a volume is served may contain a secret (the key of TLS-PSK). With one step, the facts go from the engine into the
attachment's row and nowhere else.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from openevs.domain.ids import VolumeId
from openevs.domain.lifecycle import AttachmentMoves, VolumeMoves, also_in_use, rest
from openevs.domain.model import Operation
from openevs.engine.errors import Mismatch, Unsupported
from openevs.engine.port import Engine, ExportFacts, Exports, ExportSpec, Limits
from openevs.operations.disconnect_volume import stop_serving
from openevs.operations.ends import end_volume
from openevs.operations.kind import Facts, Kind, Step
from openevs.store.attachments import (
    attachments_of_one,
    delete_attachment_row,
    find_attachment,
    move_attachment,
    update_attachment,
)
from openevs.store.database import Tx
from openevs.store.volumes import find_volume

_BACK = {"available": VolumeMoves.connect_new_failed, "reserved": VolumeMoves.connect_reserved_failed}
"""Status of the volume before the request, had it no other attachment → the move back there."""


def connection_info(facts: ExportFacts, qos_specs: dict[str, str] | None = None) -> dict[str, Any]:
    """Return how a client reaches the volume, and what it may do there, as Cinder's `connection_info`."""
    return {
        "driver_volume_type": "nbd",
        "data": {
            "volume_id": facts.volume_id,
            "transport": facts.transport,
            "uri": facts.uri,
            "export_name": facts.export_name,
            "socket_path": facts.socket_path,
            "host": facts.host,
            "port": facts.port,
            "tls_username": facts.tls_username,
            "tls_psk": facts.tls_psk_hex,
            "access_mode": "ro" if facts.read_only else "rw",
            "encrypted": False,
            "discard": True,
            "qos_specs": qos_specs,
        },
    }


def moved_info(info: Mapping[str, Any], facts: ExportFacts) -> dict[str, Any]:
    """Return what a client was told, with where the volume is served now."""
    told = info["data"]
    now = connection_info(facts, told["qos_specs"])
    return {**now, "data": {**now["data"], "access_mode": told["access_mode"]}}


async def serve(engine: Engine, operation: Operation, facts: Facts) -> Facts:
    """Serve the volume as asked."""
    if not isinstance(engine, Exports):
        raise Unsupported("this engine cannot serve volumes to clients")
    volume_id = VolumeId(operation.resource_id)
    work = operation.input
    limits, together = Limits(**work.get("limits", {})), work.get("together")
    spec = ExportSpec(volume_id, work["transport"], work["read_only"], limits, together)
    try:
        served = await engine.ensure_export(spec)
    except Mismatch:
        if work.get("others"):
            # Its limits may have been changed since it was first served; that is no reason to cut anybody off.
            found = (await engine.list_exports()).get(volume_id)
            if found is None or (found.transport, found.read_only) != (spec.transport, spec.read_only):
                raise
            return {"connection_info": connection_info(found, work.get("qos_specs"))}
        # No attachment says that the volume is served, so this is what an operation that failed has left behind.
        await engine.ensure_no_export(volume_id)
        served = await engine.ensure_export(spec)
    return {"connection_info": connection_info(served, work.get("qos_specs"))}


def succeed(tx: Tx, operation: Operation, facts: Facts, now: datetime) -> None:
    """The volume is served, and the attachment says where."""
    attachment_id = operation.input["attachment_id"]
    info = facts["connection_info"]
    info = {**info, "data": {**info["data"], "access_mode": find_attachment(tx, attachment_id).mode}}
    attachment = update_attachment(tx, attachment_id, {"connection_info": info})
    if operation.input["complete"] and attachment.status == "attaching":
        move_attachment(tx, attachment_id, AttachmentMoves.attach, now, also={"attached_at": now})
        shared = find_volume(tx, operation.resource_id).multiattach
        end_volume(
            tx, operation.resource_id, also_in_use(VolumeMoves.complete) if shared else VolumeMoves.complete, now
        )


def fail(tx: Tx, operation: Operation, reason: str, now: datetime) -> None:
    """The volume is not served; attachment and volume are as before the request."""
    attachment_id, before = operation.input["attachment_id"], operation.input["before"]
    if operation.input["created"]:
        delete_attachment_row(tx, attachment_id)
    elif before == "reserved":
        move_attachment(tx, attachment_id, AttachmentMoves.connect_failed, now, also={"connector": None})
    if before in _BACK:
        left = [one.status for one in attachments_of_one(tx, operation.resource_id)]
        end_volume(tx, operation.resource_id, rest(_BACK[before], left), now)


CONNECT_VOLUME = Kind(
    name="connect_volume",
    steps=(Step("serve", serve),),
    succeed=succeed,
    fail=fail,
    undo=(Step("stop_serving", stop_serving),),
)
