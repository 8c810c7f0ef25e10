"""Group types and their specs (microversion 3.11)."""

from functools import partial
from typing import Any, Final

from openevs.api.call import Call, Reply, Route
from openevs.api.wire.bodies import flag, json_object, json_type, parse
from openevs.api.wire.groups import (
    GROUP_TYPE_LIST,
    GroupSpecsBody,
    GroupTypeCreate,
    GroupTypeUpdate,
    group_type_view,
)
from openevs.api.wire.lists import list_query, page_reply
from openevs.domain.errors import InvalidInput, NotFound
from openevs.domain.group import GroupType
from openevs.service import group_types as service


async def post_group_type(call: Call) -> Reply:
    """Make a group type."""
    body = parse(call, "group_type", GroupTypeCreate)
    public = flag("is_public", body.is_public)
    made = await service.create_group_type(
        call.deps, call.caller, body.name, body.description, body.group_specs or {}, is_public=public
    )
    return Reply({"group_type": group_type_view(call, made)})


async def list_group_types(call: Call) -> Reply:
    """List group types."""
    query = list_query(call, GROUP_TYPE_LIST)
    text = str(query.filters.get("is_public", "true"))
    public = None if text.lower() == "none" else flag("is_public", text)
    rows = await service.list_group_types(call.deps, call.caller, query.page, public)
    views = [group_type_view(call, row) for row in rows]
    return page_reply(call, query, "group_types", views, None, links_name="group_type_links")


async def get_group_type(call: Call) -> Reply:
    """Show a group type."""
    return Reply({"group_type": group_type_view(call, await _find(call))})


async def _find(call: Call) -> GroupType:
    return await service.get_group_type(call.deps, call.caller, call.path["group_type_id"])


async def put_group_type(call: Call) -> Reply:
    """Change a group type."""
    body = parse(call, "group_type", GroupTypeUpdate)
    changes: dict[str, Any] = {
        name: value for name, value in (("name", body.name), ("description", body.description)) if value is not None
    }
    if body.is_public is not None:
        changes["is_public"] = flag("is_public", body.is_public)
    if not changes:
        raise InvalidInput("group_type", "it must have at least one of name, description and is_public.")
    changed = await service.update_group_type(call.deps, call.path["group_type_id"], changes)
    return Reply({"group_type": group_type_view(call, changed)})


async def delete_group_type(call: Call) -> Reply:
    """Remove a group type."""
    await service.delete_group_type(call.deps, call.path["group_type_id"])
    return Reply()


async def list_group_specs(call: Call) -> Reply:
    """Show a group type's specs."""
    return Reply({"group_specs": (await _find(call)).group_specs})


async def post_group_specs(call: Call) -> Reply:
    """Set some specs of a group type."""
    document = json_object(call)
    specs = document.get("group_specs")
    if len(document) != 1 or not isinstance(specs, dict):
        raise InvalidInput("group_specs", f"it must be an object, the only one in the body, not {json_type(specs)}.")
    await service.set_specs(call.deps, call.path["group_type_id"], specs)
    return Reply({"group_specs": specs})


async def get_group_spec(call: Call) -> Reply:
    """Show one spec of a group type."""
    key = call.path["key"]
    specs = (await _find(call)).group_specs
    if key not in specs:
        raise NotFound("group spec", key)
    return Reply({key: specs[key]})


async def put_group_spec(call: Call) -> Reply:
    """Set one spec of a group type."""
    document, key = json_object(call), call.path["key"]
    if len(document) != 1 or key not in document:
        raise InvalidInput("body", f"it must have the key {key[:64]!r} of the URL, and no other.")
    await service.set_specs(call.deps, call.path["group_type_id"], document)
    return Reply(document)


async def delete_group_spec(call: Call) -> Reply:
    """Remove one spec of a group type."""
    await service.delete_spec(call.deps, call.path["group_type_id"], call.path["key"])
    return Reply()


_PATH: Final = "{project_id}/group_types"
_ONE: Final = _PATH + "/{group_type_id}"
_SPECS: Final = _ONE + "/group_specs"
_SPEC: Final = _SPECS + "/{key}"
_LIST = ("limit", "offset", "marker", "sort", "sort_key", "sort_dir", "is_public")
_route = partial(Route, apis=("v3",), since=11, tag="Group types")
_get, _post, _put, _delete = (partial(_route, method) for method in ("GET", "POST", "PUT", "DELETE"))
_T: Final = "group:group_types:"
_S: Final = "group:group_types_specs:"

ROUTES = [
    _post(_PATH, post_group_type, 202, "Make a group type", policy=f"{_T}create", body=GroupTypeCreate),
    _get(_PATH, list_group_types, 200, "List group types", policy=f"{_T}get", query=_LIST),
    _get(_ONE, get_group_type, 200, "Show a group type", policy=f"{_T}get"),
    _put(_ONE, put_group_type, 200, "Change a group type", policy=f"{_T}update", body=GroupTypeUpdate),
    _delete(_ONE, delete_group_type, 202, "Remove a group type", policy=f"{_T}delete"),
    _get(_SPECS, list_group_specs, 200, "Show a group type's specs", policy=f"{_S}get_all"),
    _post(_SPECS, post_group_specs, 202, "Set specs of a group type", policy=f"{_S}create", body=GroupSpecsBody),
    _get(_SPEC, get_group_spec, 200, "Show one spec of a group type", policy=f"{_S}get"),
    _put(_SPEC, put_group_spec, 200, "Set one spec of a group type", policy=f"{_S}update"),
    _delete(_SPEC, delete_group_spec, 202, "Remove one spec of a group type", policy=f"{_S}delete"),
]
