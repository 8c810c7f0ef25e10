"""Volume types: list and show for everybody, create, update and delete for administrators (spec 4.6)."""

from functools import partial
from typing import Final

from openevs.api.call import Call, Reply, Route
from openevs.api.wire.bodies import flag, parse
from openevs.api.wire.lists import list_query, page_reply
from openevs.api.wire.types import (
    TYPE_LIST,
    TypeCreate,
    TypeList,
    TypeShown,
    TypeUpdate,
    changed_type_view,
    made_type_view,
    type_view,
)
from openevs.service import types as service


async def list_types(call: Call) -> Reply:
    """List the types that the project may use."""
    query = list_query(call, TYPE_LIST)
    rows = await service.list_types(call.deps, call.caller, query)
    views = [type_view(call, found) for found in rows]
    return page_reply(call, query, "volume_types", views, None, links_name="volume_type_links")


async def get_type(call: Call) -> Reply:
    """Show a type."""
    return Reply({"volume_type": type_view(call, await service.get_type(call.deps, call.caller, call.path["type_id"]))})


async def post_type(call: Call) -> Reply:
    """Make a type."""
    body = parse(call, "volume_type", TypeCreate)
    made = await service.create_type(
        call.deps,
        call.caller,
        body.name,
        body.description,
        is_public=flag("os-volume-type-access:is_public", body.is_public),
        specs=body.extra_specs or {},
    )
    return Reply({"volume_type": made_type_view(call, made)})


async def put_type(call: Call) -> Reply:
    """Change a type."""
    body = parse(call, "volume_type", TypeUpdate)
    public = None if body.is_public is None else flag("is_public", body.is_public)
    changes = {"name": body.name, "description": body.description, "is_public": public}
    changed = await service.update_type(call.deps, call.path["type_id"], changes)
    return Reply({"volume_type": changed_type_view(call, changed)})


async def delete_type(call: Call) -> Reply:
    """Remove a type that no volume is of."""
    await service.delete_type(call.deps, call.path["type_id"])
    return Reply()


_ALL: Final = "{project_id}/types"
_ONE: Final = "{project_id}/types/{type_id}"
_LIST = ("limit", "offset", "marker", "sort", "sort_key", "sort_dir", *TYPE_LIST.filters, "extra_specs")
_route = partial(Route, tag="Types")

ROUTES = [
    _route("GET", _ALL, list_types, 200, "List the volume types",
           policy="volume_extension:type_get_all", reply=TypeList, query=_LIST),
    _route("GET", _ONE, get_type, 200, "Show a volume type", policy="volume_extension:type_get", reply=TypeShown),
    _route("POST", _ALL, post_type, 200, "Make a volume type",
           policy="volume_extension:type_create", body=TypeCreate, reply=TypeShown),
    _route("PUT", _ONE, put_type, 200, "Change a volume type",
           policy="volume_extension:type_update", body=TypeUpdate, reply=TypeShown),
    _route("DELETE", _ONE, delete_type, 202, "Delete a volume type", policy="volume_extension:type_delete"),
]  # fmt: skip
