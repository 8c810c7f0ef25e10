"""Actions on native volumes: `POST …/volumes/{volume_id}/action` (spec 4.5)."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final

from msgspec import Struct

from openevs.api.call import Call, Reply, Route
from openevs.api.faults import HttpRefusal
from openevs.api.handlers.actions import Action, run_action
from openevs.api.wire.bodies import check_uuid, flag, json_object, parse
from openevs.api.wire.volumes import whole_number
from openevs.domain.errors import InUse, InvalidInput, NotFound, NotSupported, WrongStatus
from openevs.domain.lifecycle import Move, VolumeMoves
from openevs.domain.rules import check_text
from openevs.service import attaching, retyping, reverting
from openevs.service import volumes as service
from openevs.service.attaching import Consumer
from openevs.service.connections import check_mode, read_connector
from openevs.service.managing import unmanage_volume
from openevs.service.metadata import OF_IMAGES, change_metadata, delete_metadata

_EXTEND_ATTACHED_SINCE: Final = 42
ATTACH_STATUSES: Final = ("attached", "detached")


class Extend(Struct):
    """What `os-extend` has."""

    new_size: int | float | str


class Retype(Struct):
    """What `os-retype` has."""

    new_type: str
    migration_policy: str | None = None


class Migrate(Struct):
    """What `os-migrate_volume` has. There are no clusters. `lock_volume` has no effect, since it is done at once."""

    host: str | None = None
    cluster: str | None = None
    force_host_copy: bool | str | int | None = None
    lock_volume: bool | str | int | None = None


class Attach(Struct):
    """What `os-attach` has."""

    mountpoint: str
    instance_uuid: str | None = None
    host_name: str | None = None
    mode: str | None = None


class Detach(Struct):
    """What `os-detach` and `os-force_detach` have."""

    attachment_id: str | None = None
    connector: dict[str, Any] | str | None = None


class Connector(Struct):
    """What `os-initialize_connection` has."""

    connector: dict[str, Any] | str


class OldConnector(Struct):
    """What `os-terminate_connection` has."""

    connector: dict[str, Any] | str | None


class Bootable(Struct):
    """What `os-set_bootable` has."""

    bootable: bool | str


class Readonly(Struct):
    """What `os-update_readonly_flag` has."""

    readonly: bool | str | int


class ImageMetadata(Struct):
    """What `os-set_image_metadata` has."""

    metadata: dict[str, Any]


class ImageMetadataKey(Struct):
    """What `os-unset_image_metadata` has."""

    key: str


class ResetStatus(Struct):
    """What `os-reset_status` has. There are no migrations, so the only `migration_status` is none."""

    status: str | None = None
    attach_status: str | None = None
    migration_status: str | None = None


class Revert(Struct):
    """What `revert` has."""

    snapshot_id: str


async def post_volume_action(call: Call) -> Reply:
    """Do what the body names."""
    return await run_action(call, VOLUME_ACTIONS)


def _volume_id(call: Call) -> str:
    return call.path["volume_id"]


async def _migrate(call: Call, content: Any) -> Reply:
    body = parse(call, "os-migrate_volume", Migrate)
    if body.host is None:
        raise InvalidInput("host", "it is required: there are no clusters.")
    if body.lock_volume is not None:
        flag("lock_volume", body.lock_volume)
    if body.force_host_copy is not None and flag("force_host_copy", body.force_host_copy):
        raise InvalidInput("force_host_copy", "backends are names of one pool: there is nowhere to copy the bytes to.")
    await retyping.migrate_volume(call.deps, call.caller, call.path["volume_id"], body.host)
    return Reply()


async def _retype(call: Call, content: Any) -> Reply:
    body = parse(call, "os-retype", Retype)
    policy = body.migration_policy or retyping.POLICIES[0]
    if policy not in retyping.POLICIES:
        raise InvalidInput("migration_policy", f"it must be {' or '.join(retyping.POLICIES)}.")
    await retyping.retype_volume(call.deps, call.caller, call.path["volume_id"], body.new_type, policy)
    return Reply()


async def _extend(call: Call, content: Any) -> Reply:
    size = whole_number("new_size", parse(call, "os-extend", Extend).new_size, "EVS.1010", exact=call.strict)
    attached = call.at_least(_EXTEND_ATTACHED_SINCE)
    await service.extend_volume(call.deps, call.caller, _volume_id(call), size, attached=attached)
    return Reply()


async def _move(move: Move, call: Call, content: Any) -> Reply:
    await service.move_volume_status(call.deps, call.caller, _volume_id(call), move)
    return Reply()


async def _reserve(call: Call, content: Any) -> Reply:
    await attaching.reserve(call.deps, call.caller, _volume_id(call))
    return Reply()


# A client that clears up after a failure asks for these two whether there is something to give back or not; it is told
# so by the volume's status, not by a refusal.


async def _unreserve(call: Call, content: Any) -> Reply:
    with suppress(WrongStatus):
        await attaching.unreserve(call.deps, call.caller, _volume_id(call))
    return Reply()


async def _roll_detaching(call: Call, content: Any) -> Reply:
    with suppress(WrongStatus):
        await service.move_volume_status(call.deps, call.caller, _volume_id(call), VolumeMoves.roll_detaching)
    return Reply()


async def _attach(call: Call, content: Any) -> Reply:
    body = parse(call, "os-attach", Attach)
    if body.instance_uuid is None and body.host_name is None:
        raise InvalidInput("os-attach", "it must have instance_uuid or host_name.", "EVS.1070")
    if body.instance_uuid is not None:
        check_uuid("instance_uuid", body.instance_uuid)
    consumer = Consumer(
        mountpoint=check_text("mountpoint", body.mountpoint) or "",
        instance_uuid=body.instance_uuid,
        host_name=check_text("host_name", body.host_name),
        mode=check_mode("mode", body.mode),
    )
    if not consumer.mountpoint:
        raise InvalidInput("mountpoint", "it may not be empty.")
    await attaching.attach(call.deps, call.caller, _volume_id(call), consumer)
    return Reply()


async def _detach(name: str, call: Call, content: Any) -> Reply:
    attachment_id = None if content is None else parse(call, name, Detach).attachment_id
    force = name == "os-force_detach"
    await attaching.detach(call.deps, call.caller, _volume_id(call), attachment_id, force=force)
    return Reply()


async def _initialize_connection(call: Call, content: Any) -> Reply:
    connector = parse(call, "os-initialize_connection", Connector).connector
    wish = read_connector(connector if isinstance(connector, dict) else {"host": connector})
    info = await attaching.initialize_connection(call.deps, call.caller, _volume_id(call), wish)
    return Reply({"connection_info": info}, 200)


async def _terminate_connection(call: Call, content: Any) -> Reply:
    # Without a connector it was once enough to name the action; v2 keeps to that.
    named_only = not content and not call.strict
    connector = None if named_only else parse(call, "os-terminate_connection", OldConnector).connector
    host = connector.get("host") if isinstance(connector, dict) else connector
    if not isinstance(host, str | None):
        raise InvalidInput("connector.host", "it must be a string.")
    await attaching.terminate_connection(call.deps, call.caller, _volume_id(call), host)
    return Reply()


async def _set_bootable(call: Call, content: Any) -> Reply:
    value = flag("bootable", parse(call, "os-set_bootable", Bootable).bootable)
    await service.set_volume_flag(call.deps, call.caller, _volume_id(call), "bootable", value)
    return Reply(status=200)


async def _update_readonly(call: Call, content: Any) -> Reply:
    value = flag("readonly", parse(call, "os-update_readonly_flag", Readonly).readonly)
    await service.set_volume_flag(call.deps, call.caller, _volume_id(call), "readonly", value)
    return Reply()


async def _revert(call: Call, content: Any) -> Reply:
    snapshot_id = parse(call, "revert", Revert).snapshot_id
    try:
        await reverting.revert_volume(call.deps, call.caller, _volume_id(call), snapshot_id)
    except (WrongStatus, InUse) as error:
        # The one native call for which a wrong status is a conflict (spec 4.5).
        raise HttpRefusal(409, str(error)) from None
    return Reply()


async def _reset_status(call: Call, content: Any) -> Reply:
    body = parse(call, "os-reset_status", ResetStatus)
    if body.status is None and body.attach_status is None and body.migration_status is None:
        raise InvalidInput("os-reset_status", "it must have status, attach_status or migration_status.", "EVS.1070")
    attach_status = (body.attach_status or "detached").lower()
    if attach_status not in ATTACH_STATUSES:
        raise InvalidInput("attach_status", f"it is none of {', '.join(ATTACH_STATUSES)}.")
    if (body.migration_status or "none").lower() != "none":
        raise InvalidInput("migration_status", "it must be none: this service migrates nothing.")
    if attach_status == "attached":
        volume, attachments = await service.show_volume(call.deps, call.caller, _volume_id(call))
        if not attachments:
            raise InvalidInput("attach_status", f"volume {volume.id} has no attachment, so it cannot be attached.")
    elif body.attach_status is not None:
        await attaching.forget_attachments(call.deps, call.caller, _volume_id(call))
    if body.status is not None:
        await service.reset_volume_status(call.deps, call.caller, _volume_id(call), body.status.lower())
    else:
        await service.get_volume(call.deps, call.caller, _volume_id(call))
    return Reply()


async def _force_delete(call: Call, content: Any) -> Reply:
    await service.delete_volume(call.deps, call.caller, _volume_id(call), cascade=False, force=True)
    return Reply()


async def _unmanage(call: Call, content: Any) -> Reply:
    await unmanage_volume(call.deps, call.caller, _volume_id(call))
    return Reply()


async def _show_image_metadata(call: Call, content: Any) -> Reply:
    volume = await service.get_volume(call.deps, call.caller, _volume_id(call))
    if not volume.image_metadata:
        raise NotFound("image metadata of volume", volume.id)
    return Reply({"metadata": volume.image_metadata}, 200)


async def _set_image_metadata(call: Call, content: Any) -> Reply:
    given = parse(call, "os-set_image_metadata", ImageMetadata).metadata
    known = await change_metadata(call.deps, call.caller, OF_IMAGES, _volume_id(call), given, replace=False)
    return Reply({"metadata": known}, 200)


async def _unset_image_metadata(call: Call, content: Any) -> Reply:
    key = parse(call, "os-unset_image_metadata", ImageMetadataKey).key
    if not key:
        raise InvalidInput("key", "it may not be empty.")
    await delete_metadata(call.deps, call.caller, OF_IMAGES, _volume_id(call), key)
    return Reply(status=200)


def _refused(reason: str) -> Callable[[Call, Any], Awaitable[Reply]]:
    async def refuse(call: Call, content: Any) -> Reply:
        await service.get_volume(call.deps, call.caller, _volume_id(call))
        (name,) = json_object(call)
        raise NotSupported(f"{name} is not supported: {reason}")

    return refuse


_NO_IMAGES: Final = _refused("this service has no images.")
_NO_COMPLETION: Final = _refused("a migration completes by itself.")
_NO_REPORT: Final = _refused("no server reports extensions back; an extension ends by itself.")

VOLUME_ACTIONS: Final = {
    "os-retype": Action(_retype, "volume:retype"),
    "os-extend": Action(_extend, "volume:extend"),
    "os-reserve": Action(_reserve, "volume_extension:volume_actions:reserve"),
    "os-unreserve": Action(_unreserve, "volume_extension:volume_actions:unreserve"),
    "os-begin_detaching": Action(
        partial(_move, VolumeMoves.begin_detaching), "volume_extension:volume_actions:begin_detaching"
    ),
    "os-roll_detaching": Action(_roll_detaching, "volume_extension:volume_actions:roll_detaching"),
    "os-attach": Action(_attach, "volume_extension:volume_actions:attach"),
    "os-detach": Action(partial(_detach, "os-detach"), "volume_extension:volume_actions:detach"),
    "os-force_detach": Action(
        partial(_detach, "os-force_detach"), "volume_extension:volume_admin_actions:force_detach"
    ),
    "os-initialize_connection": Action(_initialize_connection, "volume_extension:volume_actions:initialize_connection"),
    "os-terminate_connection": Action(_terminate_connection, "volume_extension:volume_actions:terminate_connection"),
    "os-set_bootable": Action(_set_bootable, "volume:update"),
    "os-update_readonly_flag": Action(_update_readonly, "volume:update_readonly_flag"),
    "revert": Action(_revert, "volume:revert_to_snapshot", since=40),
    "os-reset_status": Action(_reset_status, "volume_extension:volume_admin_actions:reset_status"),
    "os-force_delete": Action(_force_delete, "volume_extension:volume_admin_actions:force_delete"),
    "os-show_image_metadata": Action(_show_image_metadata, "volume_extension:volume_image_metadata:show"),
    "os-set_image_metadata": Action(_set_image_metadata, "volume_extension:volume_image_metadata:set"),
    "os-unset_image_metadata": Action(_unset_image_metadata, "volume_extension:volume_image_metadata:remove"),
    "os-volume_upload_image": Action(_NO_IMAGES, "volume_extension:volume_actions:upload_image"),
    "os-reimage": Action(_NO_IMAGES, "volume:reimage", since=68),
    "os-migrate_volume": Action(_migrate, "volume_extension:volume_admin_actions:migrate_volume"),
    "os-migrate_volume_completion": Action(
        _NO_COMPLETION, "volume_extension:volume_admin_actions:migrate_volume_completion"
    ),
    "os-unmanage": Action(_unmanage, "volume_extension:volume_unmanage"),
    "os-extend_volume_completion": Action(_NO_REPORT, "volume:extend_volume_completion", since=71),
}

ROUTES = [
    Route("POST", "{project_id}/volumes/{volume_id}/action", post_volume_action, 202, "Do something to a volume",
          policy="reader", tag="Volumes", actions=VOLUME_ACTIONS),
]  # fmt: skip
