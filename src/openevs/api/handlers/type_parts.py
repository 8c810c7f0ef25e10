"""What belongs to a volume type: extra specs, access of projects, encryption, and whose default it is."""

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any, Final

from msgspec import UNSET, Struct, UnsetType, to_builtins

from openevs.api.call import Call, Reply, Route
from openevs.api.handlers.actions import Action, run_action
from openevs.api.wire.bodies import json_object, parse, refuse_unknown
from openevs.api.wire.times import wire_time
from openevs.api.wire.types import ExtraSpecs, specs_view
from openevs.domain.errors import InvalidInput, NotFound
from openevs.service import type_parts as service
from openevs.service import types

DEFAULTS_SINCE: Final = 62


class Access(Struct):
    """What `addProjectAccess` and `removeProjectAccess` have."""

    project: str


class Encryption(Struct):
    """The body of an encryption, in its envelope `encryption`."""

    provider: str | UnsetType = UNSET
    control_location: str | UnsetType = UNSET
    cipher: str | UnsetType | None = UNSET
    key_size: int | str | UnsetType | None = UNSET


class DefaultType(Struct):
    """The body of a project's default type, in its envelope `default_type`."""

    volume_type: str


# Extra specs ----------------------------------------------------------------------------------------------------


async def list_extra_specs(call: Call) -> Reply:
    """Show what a type's volumes are like."""
    return Reply({"extra_specs": await _specs(call)})


async def get_extra_spec(call: Call) -> Reply:
    """Show one property of a type's volumes."""
    key, specs = call.path["key"], await _specs(call)
    if key not in specs:
        raise NotFound("extra spec", key)
    return Reply({key: specs[key]})


async def _specs(call: Call) -> dict[str, str]:
    return specs_view(call, await types.get_type(call.deps, call.caller, call.path["type_id"]))


async def post_extra_specs(call: Call) -> Reply:
    """Add or change properties."""
    document = json_object(call)
    if call.strict:
        refuse_unknown("body", document.keys() - {"extra_specs"})
    given = document.get("extra_specs")
    if not isinstance(given, dict):
        raise InvalidInput("extra_specs", "an object is required.")
    return Reply({"extra_specs": await types.set_specs(call.deps, call.path["type_id"], given)})


async def put_extra_spec(call: Call) -> Reply:
    """Change one property, named in the path and in the body."""
    given = json_object(call)
    if list(given) != [call.path["key"]]:
        raise InvalidInput("body", f"its only key must be {call.path['key'][:64]!r}, as in the path.")
    return Reply(await types.set_specs(call.deps, call.path["type_id"], given))


async def delete_extra_spec(call: Call) -> Reply:
    """Remove one property."""
    await types.delete_spec(call.deps, call.path["type_id"], call.path["key"])
    return Reply()


# Access ---------------------------------------------------------------------------------------------------------


async def list_access(call: Call) -> Reply:
    """List the projects that may use a type that is not public."""
    type_id = call.path["type_id"]
    projects = await service.list_access(call.deps, type_id)
    return Reply({"volume_type_access": [{"volume_type_id": type_id, "project_id": each} for each in projects]})


async def _add_access(call: Call, content: Any) -> Reply:
    await service.add_access(
        call.deps, call.caller, call.path["type_id"], parse(call, "addProjectAccess", Access).project
    )
    return Reply()


async def _remove_access(call: Call, content: Any) -> Reply:
    await service.remove_access(call.deps, call.path["type_id"], parse(call, "removeProjectAccess", Access).project)
    return Reply()


ACTIONS: Final = {
    "addProjectAccess": Action(_add_access, policy="volume_extension:volume_type_access:addProjectAccess"),
    "removeProjectAccess": Action(_remove_access, policy="volume_extension:volume_type_access:removeProjectAccess"),
}


async def post_action(call: Call) -> Reply:
    """Give a project access to a type, or take it away."""
    return await run_action(call, ACTIONS)


# Encryption -----------------------------------------------------------------------------------------------------


async def get_encryption(call: Call) -> Reply:
    """Show how volumes of a type are to be encrypted: nothing, if not at all."""
    found = await service.get_encryption(call.deps, call.path["type_id"])
    return Reply({} if found is None else {**_encryption_view(found), "volume_type_id": call.path["type_id"]})


def _encryption_view(found: Mapping[str, Any]) -> dict[str, Any]:
    # Types that were made before the times were kept have none.
    times = {name: wire_time(_instant(found.get(name))) for name in ("created_at", "updated_at")}
    return {**found, **times, "deleted": False, "deleted_at": None}


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


async def get_encryption_item(call: Call) -> Reply:
    """Show one property of a type's encryption."""
    found, key = await service.get_encryption(call.deps, call.path["type_id"]), call.path["encryption_id"]
    shown = {} if found is None else _encryption_view(found)
    if key not in shown:
        raise NotFound("encryption", key)
    return Reply({key: shown[key]})


async def post_encryption(call: Call) -> Reply:
    """Note how volumes of a type are to be encrypted."""
    body = parse(call, "encryption", Encryption)
    for name in ("provider", "control_location"):
        if getattr(body, name) is UNSET:
            raise InvalidInput(name, "it is required.")
    return await _note_encryption(call, body, None)


async def put_encryption(call: Call) -> Reply:
    """Change how volumes of a type are to be encrypted."""
    return await _note_encryption(call, parse(call, "encryption", Encryption), call.path["encryption_id"])


async def _note_encryption(call: Call, body: Encryption, encryption_id: str | None) -> Reply:
    given: dict[str, Any] = to_builtins(body)
    if given.get("control_location", "front-end") not in ("front-end", "back-end"):
        raise InvalidInput("control_location", "it must be front-end or back-end.")
    size = given.get("key_size")
    if size is not None:
        if not str(size).isascii() or not str(size).isdigit() or len(str(size)) > _KEY_SIZE_DIGITS:
            raise InvalidInput("key_size", f"{str(size)[:32]!r} is not a number of bits.")
        given["key_size"] = int(size)
    type_id = call.path["type_id"]
    noted = await service.set_encryption(call.deps, call.caller, type_id, given, encryption_id=encryption_id)
    shown = {name: value for name, value in noted.items() if not name.endswith("_at")}
    return Reply({"encryption": {**shown, "volume_type_id": type_id} if encryption_id is None else given})


async def delete_encryption(call: Call) -> Reply:
    """Forget how volumes of a type are to be encrypted."""
    await service.delete_encryption(call.deps, call.path["type_id"])
    return Reply()


# Defaults of projects -------------------------------------------------------------------------------------------


def _default_view(project_id: str, type_id: str) -> dict[str, str]:
    return {"project_id": project_id, "volume_type_id": type_id}


async def list_defaults(call: Call) -> Reply:
    """List the projects that have a default type of their own."""
    found = await service.list_defaults(call.deps)
    return Reply({"default_types": [_default_view(project, type_id) for project, type_id in found.items()]})


async def get_default(call: Call) -> Reply:
    """Show a project's own default type."""
    project = call.path["of_project_id"]
    return Reply({"default_type": _default_view(project, await service.get_default(call.deps, project))})


async def put_default(call: Call) -> Reply:
    """Set a project's default type."""
    project, body = call.path["of_project_id"], parse(call, "default_type", DefaultType)
    type_id = await service.set_default(call.deps, project, body.volume_type)
    return Reply({"default_type": _default_view(project, type_id)})


async def delete_default(call: Call) -> Reply:
    """Return a project to everybody's default type."""
    await service.unset_default(call.deps, call.path["of_project_id"])
    return Reply()


_ONE: Final = "{project_id}/types/{type_id}"
_SPEC: Final = _ONE + "/extra_specs/{key}"
_KEY_SIZE_DIGITS: Final = 9
_ENCRYPTION: Final = _ONE + "/encryption/{encryption_id}"
_DEFAULTS: Final = "{project_id}/default-types"
_DEFAULT: Final = _DEFAULTS + "/{of_project_id}"
_RULES: Final = "volume_extension:"
_route = partial(Route, tag="Types")
_default = partial(Route, apis=("v3",), tag="Types", since=DEFAULTS_SINCE)

ROUTES = [
    _route("GET", _ONE + "/extra_specs", list_extra_specs, 200, "Show a volume type's properties",
           policy=_RULES + "types_extra_specs:index", reply=ExtraSpecs),
    _route("POST", _ONE + "/extra_specs", post_extra_specs, 200, "Add properties to a volume type",
           policy=_RULES + "types_extra_specs:create", body=ExtraSpecs, reply=ExtraSpecs),
    _route("GET", _SPEC, get_extra_spec, 200, "Show a volume type's property",
           policy=_RULES + "types_extra_specs:show", reply=dict[str, str]),
    _route("PUT", _SPEC, put_extra_spec, 200, "Change a volume type's property",
           policy=_RULES + "types_extra_specs:update", reply=dict[str, str]),
    _route("DELETE", _SPEC, delete_extra_spec, 202, "Remove a volume type's property",
           policy=_RULES + "types_extra_specs:delete"),
    _route("GET", _ONE + "/os-volume-type-access", list_access, 200, "List who may use a volume type",
           policy=_RULES + "volume_type_access:get_all_for_type"),
    _route("POST", _ONE + "/action", post_action, 202, "Change who may use a volume type",
           policy="reader", actions=ACTIONS),
    _route("GET", _ONE + "/encryption", get_encryption, 200, "Show a volume type's encryption",
           policy=_RULES + "volume_type_encryption:get"),
    _route("POST", _ONE + "/encryption", post_encryption, 200, "Note a volume type's encryption",
           policy=_RULES + "volume_type_encryption:create", body=Encryption),
    _route("GET", _ENCRYPTION, get_encryption_item, 200, "Show a property of a volume type's encryption",
           policy=_RULES + "volume_type_encryption:get"),
    _route("PUT", _ENCRYPTION, put_encryption, 200, "Change a volume type's encryption",
           policy=_RULES + "volume_type_encryption:update", body=Encryption),
    _route("DELETE", _ENCRYPTION, delete_encryption, 202, "Forget a volume type's encryption",
           policy=_RULES + "volume_type_encryption:delete"),
    _default("GET", _DEFAULTS, list_defaults, 200, "List projects' default types", policy=_RULES + "default_get_all"),
    _default("GET", _DEFAULT, get_default, 200, "Show a project's default type", policy=_RULES + "default_get"),
    _default("PUT", _DEFAULT, put_default, 200, "Set a project's default type",
             policy=_RULES + "default_set_or_update", body=DefaultType),
    _default("DELETE", _DEFAULT, delete_default, 204, "Unset a project's default type",
             policy=_RULES + "default_unset"),
]  # fmt: skip
