"""Backups: the whole of Cinder's API for them."""

from functools import partial
from typing import Any, Final

from msgspec import UNSET, Struct

from openevs.api.call import Call, Reply, Route
from openevs.api.handlers.actions import Action, run_action
from openevs.api.wire.backups import (
    BACKUP_LIST,
    BackupCreate,
    BackupRecord,
    BackupRecordShown,
    BackupRestore,
    BackupUpdate,
    backup_detail,
    backup_summary,
    read_record,
    record_of,
)
from openevs.api.wire.bodies import check_uuid, convert, flag, given, parse
from openevs.api.wire.lists import list_query, page_reply
from openevs.domain.errors import InvalidInput
from openevs.service import backups as service
from openevs.service import restoring
from openevs.service.backups import NewBackup

_METADATA_SINCE: Final = 43
_ZONE_SINCE: Final = 51
_UPDATE_SINCE: Final = 9


class ResetStatus(Struct):
    """What `os-reset_status` has."""

    status: str


async def post_backup(call: Call) -> Reply:
    """Make a backup: whole or incremental, of a volume or of a snapshot."""
    body = parse(call, "backup", BackupCreate)
    _refuse_early(call, body)
    new = NewBackup(
        volume_id=body.volume_id,
        snapshot_id=body.snapshot_id,
        name=body.name,
        description=body.description,
        container=body.container,
        availability_zone=body.availability_zone,
        metadata=body.metadata or {},
        incremental=flag("incremental", body.incremental),
        force=flag("force", body.force),
    )
    return Reply({"backup": backup_summary(call, await service.create_backup(call.deps, call.caller, new))})


def _refuse_early(call: Call, body: BackupCreate) -> None:
    for name, since in (("metadata", _METADATA_SINCE), ("availability_zone", _ZONE_SINCE)):
        if getattr(body, name) is not None and not call.at_least(since):
            raise InvalidInput(name, f"a backup has it from microversion 3.{since} on.")
    for name in ("volume_id", "snapshot_id"):
        value = getattr(body, name)
        if value is not None:
            check_uuid(name, value)


async def list_backups(call: Call, *, detailed: bool = False) -> Reply:
    """List backups."""
    query = list_query(call, BACKUP_LIST)
    rows, count = await service.list_backups(call.deps, call.caller, query)
    views = [backup_detail(call, row) if detailed else backup_summary(call, row.backup) for row in rows]
    return page_reply(call, query, "backups", views, count)


async def list_backups_detail(call: Call) -> Reply:
    """List backups with all their fields."""
    return await list_backups(call, detailed=True)


async def get_backup(call: Call) -> Reply:
    """Show a backup."""
    return Reply({"backup": backup_detail(call, await service.get_backup(call.deps, call.caller, _id(call)))})


def _id(call: Call) -> str:
    return call.path["backup_id"]


async def put_backup(call: Call) -> Reply:
    """Change name, description or metadata."""
    body = parse(call, "backup", BackupUpdate)
    changes = given(body, "name", "description")
    if body.metadata is not UNSET and call.at_least(_METADATA_SINCE):
        changes["metadata"] = body.metadata or {}
    return Reply(
        {"backup": backup_summary(call, await service.update_backup(call.deps, call.caller, _id(call), changes))}
    )


async def delete_backup(call: Call) -> Reply:
    """Delete a backup."""
    await service.delete_backup(call.deps, call.caller, _id(call))
    return Reply()


async def post_restore(call: Call) -> Reply:
    """Restore a backup into a volume: into a new one, unless one is named."""
    body = parse(call, "restore", BackupRestore)
    if body.volume_id is not None:
        check_uuid("volume_id", body.volume_id)
    volume = await restoring.restore_backup(call.deps, call.caller, _id(call), body.volume_id, body.name)
    return Reply({"restore": {"backup_id": _id(call), "volume_id": volume.id, "volume_name": volume.name}})


async def get_export_record(call: Call) -> Reply:
    """Show by what another service on the same vault can import a backup."""
    return Reply({"backup-record": record_of(await service.find_exported(call.deps, call.caller, _id(call)))})


async def post_import_record(call: Call) -> Reply:
    """Import a backup that the vault has."""
    imported = read_record(call, parse(call, "backup-record", BackupRecord))
    return Reply({"backup": backup_summary(call, await service.import_backup(call.deps, call.caller, imported))})


async def _reset_status(call: Call, content: Any) -> Reply:
    body = convert(content, ResetStatus)
    await service.reset_backup_status(call.deps, call.caller, _id(call), body.status.lower())
    return Reply()


async def _force_delete(call: Call, content: Any) -> Reply:
    await service.delete_backup(call.deps, call.caller, _id(call), force=True)
    return Reply()


BACKUP_ACTIONS: Final = {
    "os-reset_status": Action(_reset_status, "volume_extension:backup_admin_actions:reset_status"),
    "os-force_delete": Action(_force_delete, "volume_extension:backup_admin_actions:force_delete"),
}


async def post_backup_action(call: Call) -> Reply:
    """Do what the body names."""
    return await run_action(call, BACKUP_ACTIONS)


_ALL: Final = "{project_id}/backups"
_ONE: Final = _ALL + "/{backup_id}"
_LIST = BACKUP_LIST.parameters()
_route = partial(Route, tag="Backups")

ROUTES = [
    _route("POST", _ALL, post_backup, 202, "Make a backup", policy="backup:create", body=BackupCreate),
    _route("GET", _ALL, list_backups, 200, "List backups", policy="backup:get_all", query=_LIST),
    _route("GET", _ALL + "/detail", list_backups_detail, 200, "List backups with all fields",
           policy="backup:get_all", query=_LIST),
    _route("GET", _ONE, get_backup, 200, "Show a backup", policy="backup:get"),
    _route("PUT", _ONE, put_backup, 200, "Change a backup's name, description or metadata",
           apis=("v3",), policy="backup:update", since=_UPDATE_SINCE, body=BackupUpdate),
    _route("DELETE", _ONE, delete_backup, 202, "Delete a backup", policy="backup:delete"),
    _route("POST", _ONE + "/restore", post_restore, 202, "Restore a backup",
           policy="backup:restore", body=BackupRestore),
    _route("GET", _ONE + "/export_record", get_export_record, 200, "Export a backup's record",
           policy="backup:export-import", reply=BackupRecordShown),
    _route("POST", _ALL + "/import_record", post_import_record, 201, "Import a backup's record",
           policy="backup:backup-import", body=BackupRecord),
    _route("POST", _ONE + "/action", post_backup_action, 202, "Act on a backup",
           policy="reader", actions=BACKUP_ACTIONS),
]  # fmt: skip
