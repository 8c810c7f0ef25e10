"""Actions on native snapshots, for operators and services (spec 2.7)."""

import re
from typing import Any, Final

import msgspec

from openevs.api.call import Call, Reply, Route
from openevs.api.handlers.actions import Action, run_action
from openevs.api.wire.bodies import parse
from openevs.domain.errors import InvalidInput
from openevs.service import snapshots as service
from openevs.service.managing import unmanage_snapshot

_PROGRESS = re.compile(r"(100|[0-9]{1,2})%")


class ResetStatus(msgspec.Struct):
    """What `os-reset_status` has."""

    status: str


class UpdateStatus(msgspec.Struct):
    """What `os-update_snapshot_status` has."""

    status: str
    progress: str | None = None


async def post_snapshot_action(call: Call) -> Reply:
    """Do what the body names."""
    return await run_action(call, SNAPSHOT_ACTIONS)


async def _reset_status(call: Call, content: Any) -> Reply:
    body = parse(call, "os-reset_status", ResetStatus)
    await service.reset_snapshot_status(call.deps, call.caller, call.path["snapshot_id"], body.status.lower())
    return Reply()


async def _force_delete(call: Call, content: Any) -> Reply:
    await service.force_delete_snapshot(call.deps, call.caller, call.path["snapshot_id"])
    return Reply()


async def _update_status(call: Call, content: Any) -> Reply:
    body = parse(call, "os-update_snapshot_status", UpdateStatus)
    if body.progress is not None and not _PROGRESS.fullmatch(body.progress):
        raise InvalidInput("progress", f"{body.progress[:32]!r} is not a percentage from 0% to 100%.")
    await service.report_snapshot_status(
        call.deps, call.caller, call.path["snapshot_id"], body.status.lower(), body.progress
    )
    return Reply()


async def _unmanage(call: Call, content: Any) -> Reply:
    await unmanage_snapshot(call.deps, call.caller, call.path["snapshot_id"])
    return Reply()


SNAPSHOT_ACTIONS: Final = {
    "os-reset_status": Action(_reset_status, "volume_extension:snapshot_admin_actions:reset_status"),
    "os-force_delete": Action(_force_delete, "volume_extension:snapshot_admin_actions:force_delete"),
    "os-update_snapshot_status": Action(_update_status, "snapshot_extension:snapshot_actions:update_snapshot_status"),
    "os-unmanage": Action(_unmanage, "snapshot_extension:snapshot_unmanage"),
}

ROUTES = [
    Route("POST", "{project_id}/snapshots/{snapshot_id}/action", post_snapshot_action, 202,
          "Do something to a snapshot", policy="reader", tag="Snapshots", actions=SNAPSHOT_ACTIONS),
]  # fmt: skip
