"""Consistency groups: groups of the reserved type, under their older names (`service/consistency.py`)."""

from functools import partial
from typing import Final

from openevs.api.call import Call, Reply, Route
from openevs.api.handlers.groups import change_of
from openevs.api.wire.bodies import flag, json_object, parse
from openevs.api.wire.consistency import (
    CONSISTENCY_GROUP_LIST,
    ConsistencyGroupCopy,
    ConsistencyGroupCreate,
    ConsistencyGroupDelete,
    ConsistencyGroupUpdate,
    consistency_group_detail,
)
from openevs.api.wire.groups import group_summary
from openevs.api.wire.lists import list_query, page_reply
from openevs.domain.errors import InvalidInput
from openevs.domain.group import RESERVED_TYPE_ID
from openevs.service import groups as service
from openevs.service.copying import NewCopy, copy_group
from openevs.service.groups import NewGroup

LENIENT: Final = 10**6
"""No microversion refuses unknown fields here: clients send what they know of themselves along."""
_BLANK_SINCE: Final = 6
"""Microversion from which a name or description may be made empty."""


async def post_consistency_group(call: Call) -> Reply:
    """Make a consistency group."""
    body = parse(call, "consistencygroup", ConsistencyGroupCreate, strict_since=LENIENT)
    types = [word.strip() for word in body.volume_types.rstrip(",").split(",")]
    if not all(types):
        raise InvalidInput("volume_types", "it must have ids or names of volume types, with commas between them.")
    new = NewGroup(RESERVED_TYPE_ID, types, body.name, body.description, body.availability_zone or None)
    made = await service.create_group(call.deps, call.caller, new)
    return Reply({"consistencygroup": group_summary(made)})


async def post_consistency_group_from_source(call: Call) -> Reply:
    """Make a consistency group from another, or from a snapshot of one."""
    body = parse(call, "consistencygroup-from-src", ConsistencyGroupCopy, strict_since=LENIENT)
    new = NewCopy(body.cgsnapshot_id or None, body.source_cgid or None, body.name, body.description)
    if (new.group_snapshot_id is None) == (new.source_group_id is None):
        raise InvalidInput("consistencygroup-from-src", "it must have one of cgsnapshot_id and source_cgid.")
    return Reply({"consistencygroup": group_summary(await copy_group(call.deps, call.caller, new))})


async def list_consistency_groups(call: Call, *, detailed: bool = False) -> Reply:
    """List consistency groups."""
    query = list_query(call, CONSISTENCY_GROUP_LIST)
    rows, _, _ = await service.list_groups(call.deps, call.caller, query)
    views = [consistency_group_detail(row) if detailed else group_summary(row) for row in rows]
    return page_reply(call, query, "consistencygroups", views, None, links_name="consistencygroup_links")


async def list_consistency_groups_detail(call: Call) -> Reply:
    """List consistency groups with details."""
    return await list_consistency_groups(call, detailed=True)


async def get_consistency_group(call: Call) -> Reply:
    """Show a consistency group."""
    group, _ = await service.get_group(call.deps, call.caller, call.path["consistencygroup_id"])
    return Reply({"consistencygroup": consistency_group_detail(group)})


async def put_consistency_group(call: Call) -> Reply:
    """Change name or description; let volumes join or leave."""
    body = parse(call, "consistencygroup", ConsistencyGroupUpdate, strict_since=LENIENT)
    blank = call.at_least(_BLANK_SINCE)
    given = {name: getattr(body, name) for name in ("name", "description")}
    texts = {name: value for name, value in given.items() if isinstance(value, str) and (value or blank)}
    change = change_of("consistencygroup", body, texts)
    await service.update_group(call.deps, call.caller, call.path["consistencygroup_id"], change)
    return Reply()


async def delete_consistency_group(call: Call) -> Reply:
    """Delete a consistency group, with its volumes if the body says so by `force`."""
    force = False
    if call.body and json_object(call):
        given = parse(call, "consistencygroup", ConsistencyGroupDelete, strict_since=LENIENT)
        force = flag("force", given.force)
    await service.delete_group(call.deps, call.caller, call.path["consistencygroup_id"], with_volumes=force)
    return Reply()


_PATH: Final = "{project_id}/consistencygroups"
_ONE: Final = _PATH + "/{consistencygroup_id}"
_LIST = CONSISTENCY_GROUP_LIST.parameters()
_route = partial(Route, apis=("v3",), tag="Consistency groups")

ROUTES = [
    _route("POST", _PATH, post_consistency_group, 202, "Make a consistency group",
           policy="group:create", body=ConsistencyGroupCreate),
    _route("POST", _PATH + "/create_from_src", post_consistency_group_from_source, 202,
           "Make a consistency group from another or from a snapshot",
           policy="group:create", body=ConsistencyGroupCopy),
    _route("GET", _PATH, list_consistency_groups, 200, "List consistency groups", policy="group:get_all", query=_LIST),
    _route("GET", _PATH + "/detail", list_consistency_groups_detail, 200, "List consistency groups with details",
           policy="group:get_all", query=_LIST),
    _route("GET", _ONE, get_consistency_group, 200, "Show a consistency group", policy="group:get"),
    *(_route("PUT", path, put_consistency_group, 202, "Change a consistency group and its volumes",
             policy="group:update", body=ConsistencyGroupUpdate) for path in (_ONE, _ONE + "/update")),
    _route("POST", _ONE + "/delete", delete_consistency_group, 202, "Delete a consistency group",
           policy="group:delete", body=ConsistencyGroupDelete),
    _route("DELETE", _ONE, delete_consistency_group, 202, "Delete an empty consistency group", policy="group:delete"),
]  # fmt: skip
