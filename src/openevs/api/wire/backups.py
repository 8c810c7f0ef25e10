"""Backups as the API writes them."""

import base64
import binascii
import json
from typing import Any, Final

from msgspec import UNSET, Struct, UnsetType, field

from openevs.api.call import Call
from openevs.api.policy import allowed
from openevs.api.wire.lists import Listing, same
from openevs.api.wire.times import wire_time
from openevs.domain.backup import Backup
from openevs.domain.errors import InvalidInput
from openevs.domain.ids import BackupId, VolumeId, is_canonical_uuid
from openevs.domain.rules import SHOWN_METADATA, check_metadata, check_new_metadata, check_text
from openevs.service.backups import Shown

BACKUP_LIST: Final = Listing(
    filters=same("id name status volume_id snapshot_id project_id user_id"),
    like={name: f"{name}_like" for name in ("name", "status", "volume_id", "description")},
    sort_keys={
        **same("id name status volume_id snapshot_id availability_zone project_id user_id data_timestamp container"),
        **same("created_at updated_at"),
        "display_name": "name",
        "size": "size_gib",
    },
    sort_since={"name": 37},
    time_filters=("created_at", "updated_at"),
    metadata_since=43,
)
SERVICE: Final = "cinder.backup.drivers.openevs.Vault"
"""What exported records name as the service that they are for; clients look at how it begins."""
_METADATA_SINCE: Final = 43


class BackupCreate(Struct):
    """The body of a create, in its envelope `backup`."""

    volume_id: str
    name: str | None = None
    description: str | None = None
    container: str | None = None
    incremental: bool | str | int = False
    force: bool | str | int = False
    snapshot_id: str | None = None
    metadata: dict[str, Any] | None = None
    availability_zone: str | None = None


class BackupUpdate(Struct):
    """The body of an update, in its envelope `backup`."""

    name: str | UnsetType | None = UNSET
    description: str | UnsetType | None = UNSET
    metadata: dict[str, Any] | UnsetType | None = UNSET


class BackupRestore(Struct):
    """The body of a restore, in its envelope `restore`."""

    volume_id: str | None = None
    name: str | None = None


class BackupRecord(Struct):
    """An exported backup, in its envelope `backup-record`."""

    backup_service: str
    backup_url: str


class BackupRecordShown(Struct):
    """An exported backup as it is shown."""

    record: BackupRecord = field(name="backup-record")


def backup_summary(call: Call, backup: Backup) -> dict[str, Any]:
    """Return what the short list, create and update show."""
    return {
        "id": backup.id,
        "name": backup.name,
        "links": call.links(call.caller.project_id, "backups", backup.id),
    }


def backup_detail(call: Call, shown: Shown) -> dict[str, Any]:
    """Return all of a backup, by microversion and role; what only OpenEVS can tell is for those who ask for it."""
    backup = shown.backup
    view = {
        **backup_summary(call, backup),
        "status": backup.status,
        "size": backup.size_gib,
        "object_count": backup.object_count,
        "availability_zone": backup.availability_zone,
        "container": backup.container,
        "created_at": wire_time(backup.created_at),
        "updated_at": wire_time(backup.updated_at),
        "description": backup.description,
        "fail_reason": backup.fail_reason,
        "volume_id": backup.volume_id,
        "is_incremental": backup.parent_id is not None,
        "has_dependent_backups": shown.has_dependents,
        "snapshot_id": backup.snapshot_id,
        "data_timestamp": wire_time(backup.data_timestamp),
    }
    if call.at_least(_METADATA_SINCE):
        view["metadata"] = backup.metadata
    if allowed(call.caller, "backup:backup_project_attribute"):
        if call.at_least(18):
            view["os-backup-project-attr:project_id"] = backup.project_id
        if call.at_least(56):
            view["user_id"] = backup.user_id
    if call.shows_own:
        view |= _progress(call, backup)
    return view


def _progress(call: Call, backup: Backup) -> dict[str, Any]:
    moved = call.deps.moved(backup.id) if backup.status in ("creating", "restoring") else None
    done, total, seconds = moved or (0, 0, 0.0)
    return {
        "openevs:bytes_read": backup.bytes_read,
        "openevs:bytes_stored": backup.bytes_stored,
        "openevs:parent_id": backup.parent_id,
        "openevs:bytes_done": done,
        "openevs:bytes_total": total,
        "openevs:bytes_per_second": round(done / seconds) if seconds else 0,
    }


# Records --------------------------------------------------------------------------------------------------------

_TEXTS: Final = ("name", "description", "container", "availability_zone")
_KEPT: Final = ("id", "volume_id", *_TEXTS, "metadata")


def record_of(backup: Backup) -> dict[str, str]:
    """Return what another service on the same vault needs to have this backup."""
    facts = {name: getattr(backup, name) for name in _KEPT}
    facts |= {
        "size": backup.size_gib,
        "volume_metadata": backup.volume_metadata,
        "bootable": backup.bootable,
        "data_timestamp": wire_time(backup.data_timestamp),
        "vault_id": backup.vault_id,
        "record": backup.record,
    }
    return {"backup_service": SERVICE, "backup_url": base64.b64encode(json.dumps(facts).encode()).decode()}


def read_record(call: Call, record: BackupRecord) -> Backup:
    """Return the backup that a record is about, as the caller's. Raises InvalidInput."""
    if record.backup_service != SERVICE:
        raise InvalidInput("backup_service", f"this service imports what is of {SERVICE}.")
    try:
        facts = json.loads(base64.b64decode(record.backup_url, validate=True))
        given = _Facts(**{name: facts.get(name) for name in _Facts.__struct_fields__})
    except (binascii.Error, ValueError, UnicodeDecodeError, AttributeError, TypeError, RecursionError):
        raise _bad("it is not a record that an export has made.") from None
    for name in ("id", "vault_id", "volume_id"):
        if not isinstance(getattr(given, name), str) or not is_canonical_uuid(getattr(given, name)):
            raise _bad(f"it has no {name}.")
    most = call.deps.max_volume_gib
    if type(given.size) is not int or not 1 <= given.size <= most:
        raise _bad(f"its size must be a whole number of GiB from 1 to {most}.")
    caller, now = call.caller, call.deps.clock()
    texts = {name: _text(name, getattr(given, name)) for name in _TEXTS}
    of_volume = {key: value for key, value in _map("volume_metadata", given).items() if key not in SHOWN_METADATA}
    return Backup(
        **texts,
        id=BackupId(given.id),
        project_id=caller.project_id,
        user_id=caller.user_id,
        volume_id=VolumeId(given.volume_id),
        snapshot_id=None,
        parent_id=None,
        size_gib=given.size,
        status="creating",
        metadata=check_metadata(_map("metadata", given)),
        volume_metadata=check_new_metadata(of_volume, has_source=False),
        bootable=given.bootable is True,
        fail_reason=None,
        data_timestamp=now,
        object_count=0,
        bytes_read=0,
        bytes_stored=0,
        vault_id=BackupId(given.vault_id),
        record=_record(given.record),
        base_snapshot_id=None,
        restore_volume_id=None,
        created_at=now,
        updated_at=None,
    )


class _Facts(Struct):
    id: Any
    vault_id: Any
    volume_id: Any
    size: Any
    record: Any
    name: Any
    description: Any
    container: Any
    availability_zone: Any
    metadata: Any
    volume_metadata: Any
    bootable: Any


def _bad(reason: str) -> InvalidInput:
    return InvalidInput("backup_url", reason)


def _text(name: str, value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise _bad(f"its {name} is no text.")
    return check_text(f"backup_url.{name}", value)


def _record(value: Any) -> str:
    if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable():
        raise _bad("it has no record of the vault's.")
    return value


def _map(name: str, given: _Facts) -> dict[str, object]:
    value = getattr(given, name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _bad(f"its {name} is no object.")
    return value
