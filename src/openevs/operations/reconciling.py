"""Rows that a copy, of the database or of the pool, has made untrue: brought to what is in the pool.

Work that is open in an old database was done long ago, and what came after it is not known: it is ended as failed, and
not done again. Who is attached is who is served. Sizes are those of the bytes. Rows of what is not in the pool stay,
for somebody to look at and to delete.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from openevs.domain.ids import GIB, VolumeId
from openevs.domain.lifecycle import VolumeMoves, rest
from openevs.domain.model import Attachment, Volume
from openevs.engine.port import ExportFacts, Objects
from openevs.operations.catalog import KINDS
from openevs.operations.connect_volume import moved_info
from openevs.operations.ends import end_volume
from openevs.operations.runner import close_operation
from openevs.store.attachments import (
    attachments_of,
    attachments_of_one,
    delete_attachment_row,
    insert_attachment,
    update_attachment,
)
from openevs.store.database import Tx
from openevs.store.operations import take_open
from openevs.store.snapshots import update_snapshot
from openevs.store.sweeping import StoredRow
from openevs.store.volumes import find_volume, update_volume

OUTDATED: Final = "The database or the pool was put back from a copy; what had become of this work is not known."
NewAttachment = Callable[[Volume, ExportFacts, datetime], Attachment]


def end_open_work(tx: Tx, now: datetime) -> int:
    """End all open operations, and return how many there were."""
    ended = take_open(tx)
    for operation in ended:
        close_operation(tx, operation, KINDS[operation.kind], dict(operation.facts), OUTDATED, now)
    return len(ended)


def believe_sizes(tx: Tx, rows: Mapping[str, StoredRow], objects: Objects, now: datetime) -> None:
    """Give rows the sizes that are in the pool."""
    found: dict[str, int] = {key: facts.size_bytes for key, facts in objects.volumes.items()}
    found |= {key: facts.size_bytes for key, facts in objects.snapshots.items()}
    for row in rows.values():
        size_gib = -(-found.get(row.id, 0) // GIB)
        if row.promises and size_gib not in (0, row.size_gib):
            update = update_volume if row.kind == "volume" else update_snapshot
            update(tx, row.id, None, now, {"size_gib": size_gib})


def believe_exports(
    tx: Tx,
    rows: Mapping[str, StoredRow],
    exports: Mapping[VolumeId, ExportFacts],
    new_attachment: NewAttachment,
    now: datetime,
) -> None:
    """Let the volumes that are served be attached, at the address where they are, and no others."""
    for row in rows.values():
        if row.kind != "volume":
            continue
        export, left = exports.get(VolumeId(row.id)), []
        connected = [each for each in attachments_of_one(tx, row.id) if each.connection_info is not None]
        for attachment in attachments_of_one(tx, row.id):
            if attachment.connection_info is not None and export is not None:
                continue
            if attachment.connection_info is not None or export is not None:
                delete_attachment_row(tx, attachment.id)
            else:
                left.append(attachment.status)
        if export is not None:
            if not connected:
                insert_attachment(tx, new_attachment(find_volume(tx, row.id), export, now))
            end_volume(tx, row.id, VolumeMoves.found_served, now)
        elif connected:
            end_volume(tx, row.id, rest(VolumeMoves.found_unserved, left), now)
    tell_addresses(tx, exports)


def tell_addresses(tx: Tx, exports: Mapping[VolumeId, ExportFacts]) -> int:
    """Let attachments say where their volumes are served: the data folder may have been moved, or be a copy, and what
    they said lead to where it was before. Return how many have changed."""
    changed = 0
    attachments = attachments_of(tx, list(exports))
    for volume_id, export in exports.items():
        for attachment in attachments.get(volume_id, ()):
            if attachment.connection_info is not None:
                info = moved_info(attachment.connection_info, export)
                if info != attachment.connection_info:
                    update_attachment(tx, attachment.id, {"connection_info": info})
                    changed += 1
    return changed
