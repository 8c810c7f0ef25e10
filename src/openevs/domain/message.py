"""User messages: why something that had been accepted was not done, told to those whom it concerns.

Each operation that fails leaves one (`operations/runner.py` writes it, in the transaction that ends the operation), so
a new kind of operation has messages without doing anything for it; a row in FAILURES gives it words of its own.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple

from openevs.domain.ids import ProjectId, new_uuid
from openevs.domain.model import Operation


class Message(NamedTuple):
    """One message."""

    id: str
    project_id: ProjectId
    event_id: str
    """The name of this kind of message, which does not change: `VOLUME_VOLUME_008_012`."""
    resource_type: str
    """In the API's words: `VOLUME`, `VOLUME_SNAPSHOT`, …"""
    resource_uuid: str | None
    text: str
    level: str
    request_id: str | None
    """The request whose work failed."""
    created_at: datetime
    guaranteed_until: datetime


class Failure(NamedTuple):
    """What the failure of one kind of operation is called. Numbers below 100 are Cinder's own for the same thing."""

    action: str
    detail: str
    phrase: str


RESOURCE_TYPES: Final[Mapping[str, str]] = {
    "volume": "VOLUME",
    "qos_specs": "QOS_SPECS",
    "snapshot": "VOLUME_SNAPSHOT",
    "backup": "VOLUME_BACKUP",
    "group": "VOLUME_GROUP",
    "group_snapshot": "VOLUME_GROUP_SNAPSHOT",
}
"""Kind of resource → what the API calls it in a message."""

FAILURES: Final[Mapping[str, Failure]] = {
    "create_volume": Failure("008", "012", "the volume could not be created"),
    "delete_volume": Failure("101", "101", "the volume could not be deleted"),
    "extend_volume": Failure("007", "010", "the volume could not be extended"),
    "connect_volume": Failure("002", "021", "the volume could not be connected"),
    "disconnect_volume": Failure("004", "022", "the volume could not be disconnected"),
    "revert_volume": Failure("102", "102", "the volume could not be reverted to the snapshot"),
    "rollback_volume": Failure("102", "102", "the volume could not be rolled back to the snapshot"),
    "retype_volume": Failure("006", "018", "the volume could not be retyped"),
    "limit_volumes": Failure("103", "103", "the limits of the attached volume could not be changed"),
    "manage_volume": Failure("104", "104", "the volume could not be managed"),
    "unmanage_volume": Failure("105", "105", "the volume could not be unmanaged"),
    "manage_snapshot": Failure("106", "106", "the snapshot could not be managed"),
    "unmanage_snapshot": Failure("107", "107", "the snapshot could not be unmanaged"),
    "create_snapshot": Failure("009", "013", "the snapshot could not be created"),
    "delete_snapshot": Failure("010", "016", "the snapshot could not be deleted"),
    "label_volume": Failure("111", "111", "storage could not be told of the volume's new owner"),
    "create_group": Failure("103", "103", "the group could not be created"),
    "delete_group": Failure("104", "104", "the group could not be deleted"),
    "create_group_snapshot": Failure("105", "105", "the group snapshot could not be created"),
    "delete_group_snapshot": Failure("106", "106", "the group snapshot could not be deleted"),
    "create_backup": Failure("013", "020", "the backup could not be created"),
    "delete_backup": Failure("014", "025", "the backup could not be deleted"),
    "import_backup": Failure("108", "108", "the backup could not be imported"),
    "restore_backup": Failure("015", "026", "the backup could not be restored"),
}
"""Kind of operation → how its failure is told."""
NO_PLACE: Final = Failure("001", "003", "the volume could not be placed")
"""A volume for which there was no backend."""
ANY_OTHER: Final = Failure("100", "001", "{kind} failed")


def failure_message(operation: Operation, reason: str, now: datetime, until: datetime) -> Message:
    """Return what is told of an operation that failed."""
    failure = NO_PLACE if "refused" in operation.input else FAILURES.get(operation.kind, ANY_OTHER)
    kind = operation.resource_kind
    resource_type = RESOURCE_TYPES.get(kind, f"VOLUME_{kind.upper()}")
    phrase = failure.phrase.format(kind=operation.kind.replace("_", " "))
    return Message(
        id=new_uuid(),
        project_id=operation.project_id,
        event_id=f"VOLUME_{resource_type}_{failure.action}_{failure.detail}",
        resource_type=resource_type,
        resource_uuid=operation.resource_id,
        text=f"{phrase[:1].upper()}{phrase[1:]}: {reason}",
        level="ERROR",
        request_id=operation.request_id,
        created_at=now,
        guaranteed_until=until,
    )
