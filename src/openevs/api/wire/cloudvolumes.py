"""Huawei's own volume resource and jobs, as the API writes them (spec 4.2, 4.3, 4.9)."""

import ast
from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct, field

from openevs.api.call import Call
from openevs.api.wire.bodies import flag
from openevs.api.wire.lists import Listing, same
from openevs.api.wire.times import wire_time
from openevs.api.wire.volumes import volume_detail
from openevs.domain.errors import InvalidInput
from openevs.domain.ids import is_uuid
from openevs.domain.model import Attachment, Operation, Volume
from openevs.service.jobs import Job

MOST_IDS: Final = 60


class CloudVolumeCreate(Struct):
    """The body of a create, in its envelope `volume`. What OpenEVS does not have is here to be refused by name."""

    availability_zone: str
    volume_type: str
    size: int | float | str | None = None
    name: str | None = None
    description: str | None = None
    metadata: dict[str, Any] | None = None
    snapshot_id: str | None = None
    multiattach: bool | str | int | None = None
    shareable: bool | str | int | None = None
    count: int | str | None = None
    image_ref: str | None = field(default=None, name="imageRef")
    backup_id: str | None = None
    tags: dict[str, str] | None = None
    iops: int | None = None
    throughput: int | None = None


class Extend(Struct):
    """The body of an extension, in its envelope `os-extend`."""

    new_size: int | float | str


def _ids(name: str, text: str) -> list[str]:
    """`['a','b']`: Python's notation, which the API documents for this parameter."""
    try:
        found = ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        found = None
    if not isinstance(found, list | tuple) or not all(isinstance(one, str) and is_uuid(one) for one in found):
        raise InvalidInput(name, f"{text[:64]!r} is not a list of ids such as ['id','id'].")
    if len(found) > MOST_IDS:
        raise InvalidInput(name, f"it has {len(found)} ids, but may have at most {MOST_IDS}.")
    return list(found)


CLOUD_VOLUME_LIST = Listing(
    filters=same("name status id ids multiattach volume_type availability_zone server_id"),
    sort_keys={**same("id status created_at"), "size": "size_gib"},
    metadata_since=0,
    parse={"multiattach": flag, "ids": _ids},
)


def cloud_volume(call: Call, volume: Volume, attachments: Sequence[Attachment] = ()) -> dict[str, Any]:
    """Return a volume with all its fields."""
    return {
        **volume_detail(call, volume, attachments),
        "service_type": "EVS",
        "tags": {},
        "wwn": volume.id.replace("-", ""),
        "serial_number": volume.id,
        "dedicated_storage_id": None,
        "dedicated_storage_name": None,
        "enterprise_project_id": "0",
    }


JOB_STATUS: Final = {"queued": "RUNNING", "running": "RUNNING", "succeeded": "SUCCESS", "failed": "FAIL"}
"""State of an operation → status of a job; one that has not begun is INIT."""
JOB_TYPE: Final = {"create_volume": "createVolume", "delete_volume": "deleteVolume", "extend_volume": "extendVolume"}
"""Kind of an operation → type of a job; others, which no call hands out as jobs, go by their own names."""
FAILED_CODE: Final = "EVS.5500"


def job_view(job: Job, volume_type: str) -> dict[str, Any]:
    """Return a job; `volume_type` is shown of a volume that is no more."""
    operation, volume = job
    failed = operation.state == "failed"
    return {
        "status": "INIT" if _not_begun(operation) else JOB_STATUS[operation.state],
        "job_id": operation.id,
        "job_type": JOB_TYPE.get(operation.kind, operation.kind),
        "begin_time": _milliseconds(operation.created_at),
        "end_time": "" if operation.finished_at is None else _milliseconds(operation.finished_at),
        "error_code": FAILED_CODE if failed else None,
        "fail_reason": operation.error if failed else None,
        "entities": {
            "volume_id": operation.resource_id,
            "name": operation.input.get("name") if volume is None else volume.name,
            "size": _size(operation) if volume is None else volume.size_gib,
            "volume_type": volume_type if volume is None else volume.volume_type,
        },
    }


def _not_begun(operation: Operation) -> bool:
    return operation.state == "queued" and operation.step == 0 and operation.attempts == 0


def _size(operation: Operation) -> Any:
    return operation.input.get("size_gib", operation.input.get("new_size_gib"))


def _milliseconds(moment: Any) -> str:
    return f"{str(wire_time(moment))[:23]}Z"
