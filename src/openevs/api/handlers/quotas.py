"""Quotas and limits (spec 4.7). An administrator reads and sets them for any project, a user reads his own."""

import re
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from openevs.api.call import Call, Reply, Route
from openevs.api.wire.bodies import flag, json_object, json_type
from openevs.api.wire.quotas import LimitsShown, QuotaClassBody, QuotaClassShown, QuotaSetBody, QuotaSetShown
from openevs.domain.errors import Forbidden, InvalidInput
from openevs.service import quotas as service
from openevs.service.quotas import Quota

_LIMITS_OF_OTHERS_SINCE: Final = 39
_INTEGER = re.compile(r"-?[0-9]{1,18}")
BESIDE: Final = frozenset({"id", "project_id", "tenant_id", "skip_validation", "force"})
"""Keys that clients send in a quota set and that are no quotas."""


async def get_quota_set(call: Call) -> Reply:
    """Show a project's quotas, with what is used of them if `usage` asks for it."""
    target = _target(call)
    usage = flag("usage", call.query.get("usage", "false"))
    quotas = await service.get_quotas(call.deps, call.caller, target)
    return Reply({"quota_set": {"id": target, **(_used(quotas) if usage else _limits(quotas))}})


async def get_default_quotas(call: Call) -> Reply:
    """Show the quotas of a project for which none were set."""
    target = _target(call)
    return Reply({"quota_set": {"id": target, **_limits(await service.class_quotas(call.deps, call.caller))}})


async def put_quota_set(call: Call) -> Reply:
    """Set quotas of a project."""
    limits, check = _wanted(call)
    if not limits:
        raise InvalidInput("quota_set", "it may not be empty.", "EVS.1070")
    quotas = await service.set_quotas(call.deps, call.caller, call.path["target_project_id"], limits, check=check)
    return Reply({"quota_set": _limits(quotas)})


async def delete_quota_set(call: Call) -> Reply:
    """Return a project to the default quotas."""
    await service.reset_quotas(call.deps, call.caller, call.path["target_project_id"])
    return Reply()


async def get_quota_class(call: Call) -> Reply:
    """Show the quotas of a class of projects."""
    name = call.path["class_name"]
    return Reply({"quota_class_set": {"id": name, **_limits(await service.class_quotas(call.deps, call.caller, name))}})


async def put_quota_class(call: Call) -> Reply:
    """Set quotas of a class; the default class is that of every project for which none were set."""
    limits, _ = _wanted(call, "quota_class_set")
    quotas = await service.set_class_quotas(call.deps, call.caller, call.path["class_name"], limits)
    return Reply({"quota_class_set": _limits(quotas)})


async def get_limits(call: Call) -> Reply:
    """Show quotas and usage in Cinder's older form: the caller's, or (administrators, 3.39) any project's."""
    target: str = call.caller.project_id
    if call.at_least(_LIMITS_OF_OTHERS_SINCE) and call.caller.is_admin:
        target = call.query.get("project_id", target)
    quotas = await service.get_quotas(call.deps, call.caller, target)
    absolute: dict[str, int] = {}
    for quota, most, used in ABSOLUTE:
        absolute[most] = quotas[quota].limit
        absolute[used] = quotas[quota].in_use
    return Reply({"limits": {"rate": [], "absolute": absolute}})


ABSOLUTE: Final = (
    ("volumes", "maxTotalVolumes", "totalVolumesUsed"),
    ("snapshots", "maxTotalSnapshots", "totalSnapshotsUsed"),
    ("gigabytes", "maxTotalVolumeGigabytes", "totalGigabytesUsed"),
    ("backups", "maxTotalBackups", "totalBackupsUsed"),
    ("backup_gigabytes", "maxTotalBackupGigabytes", "totalBackupGigabytesUsed"),
)


def _target(call: Call) -> str:
    target = call.path["target_project_id"]
    if target != call.caller.project_id and not call.caller.is_admin:
        raise Forbidden("reading the quotas of another project")
    return target


def _limits(quotas: Mapping[str, Quota]) -> dict[str, int]:
    return {name: quota.limit for name, quota in quotas.items()}


def _used(quotas: Mapping[str, Quota]) -> dict[str, dict[str, int]]:
    return {name: {"in_use": q.in_use, "limit": q.limit, "reserved": 0} for name, q in quotas.items()}


def _wanted(call: Call, envelope: str = "quota_set") -> tuple[dict[str, int], bool]:
    """Return the limits of the body, and whether they may not be below what is used. Raises InvalidInput."""
    body = json_object(call).get(envelope)
    if not isinstance(body, dict):
        raise InvalidInput(envelope, "it is required in the body and must be an object.", "EVS.1070")
    limits = {name: _limit(name, value) for name, value in body.items() if name not in BESIDE}
    skip = flag("skip_validation", call.query.get("skip_validation", body.get("skip_validation", False)))
    return limits, not skip


def _limit(name: str, value: Any) -> int:
    """Return a limit, which may have been sent as text."""
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise InvalidInput(name[:64], f"it must be an integer, not {json_type(value)}.", "EVS.1018")


_SET = "{project_id}/os-quota-sets/{target_project_id}"
_route = partial(Route, tag="Quotas")

ROUTES = [
    _route("GET", _SET, get_quota_set, 200, "Show a project's quotas",
           policy="volume_extension:quotas:show", query=("usage",), reply=QuotaSetShown),
    _route("GET", _SET + "/defaults", get_default_quotas, 200, "Show the default quotas",
           policy="volume_extension:quotas:show", reply=QuotaSetShown),
    _route("PUT", _SET, put_quota_set, 200, "Set a project's quotas",
           policy="volume_extension:quotas:update", body=QuotaSetBody, reply=QuotaSetShown),
    _route("DELETE", _SET, delete_quota_set, 200, "Return a project to the default quotas",
           policy="volume_extension:quotas:delete"),
    _route("GET", "{project_id}/os-quota-class-sets/{class_name}", get_quota_class, 200, "Show the quotas of a class",
           policy="volume_extension:quota_classes:get", reply=QuotaClassShown),
    _route("PUT", "{project_id}/os-quota-class-sets/{class_name}", put_quota_class, 200, "Set the quotas of a class",
           policy="volume_extension:quota_classes:update", body=QuotaClassBody, reply=QuotaClassShown),
    _route("GET", "{project_id}/limits", get_limits, 200, "Show quotas and usage",
           policy="limits_extension:used_limits", query=("project_id",), reply=LimitsShown),
]  # fmt: skip
