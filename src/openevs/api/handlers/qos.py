"""QoS specs (administrators): what the volumes of a type may do."""

from functools import partial
from typing import Any, Final

from msgspec import Struct

from openevs.api.call import Call, Reply, Route
from openevs.api.wire.bodies import flag, json_object
from openevs.api.wire.lists import Listing, list_query, page_reply, same
from openevs.domain.errors import InvalidInput
from openevs.domain.qos import QosSpecs
from openevs.service import qos as service

QOS_LIST: Final = Listing(filters={}, sort_keys=same("id name consumer created_at"))


class Keys(Struct):
    """The body of a removal of keys."""

    keys: list[str]


def _view(found: QosSpecs) -> dict[str, Any]:
    return {"id": found.id, "name": found.name, "consumer": found.consumer, "specs": found.specs}


def _shown(call: Call, found: QosSpecs) -> Reply:
    return Reply({"qos_specs": _view(found), "links": call.links(call.caller.project_id, "qos-specs", found.id)})


def _given(call: Call) -> dict[str, Any]:
    given = json_object(call).get("qos_specs")
    if not isinstance(given, dict):
        raise InvalidInput("qos_specs", "an object is required.")
    return dict(given)


async def list_qos(call: Call) -> Reply:
    """List the specs."""
    query = list_query(call, QOS_LIST)
    rows = await service.list_qos(call.deps, query.page)
    return page_reply(call, query, "qos_specs", [_view(row) for row in rows], None)


async def post_qos(call: Call) -> Reply:
    """Make specs: every key but `name` and `consumer` is one of theirs."""
    given = _given(call)
    name, consumer = given.pop("name", None), given.pop("consumer", None)
    if not isinstance(name, str):
        raise InvalidInput("name", "a string is required.")
    if not isinstance(consumer, str | None):
        raise InvalidInput("consumer", "it must be a string.")
    specs = given.pop("specs", None) or given
    if not isinstance(specs, dict):
        raise InvalidInput("specs", "it must be an object.")
    return _shown(call, await service.create_qos(call.deps, call.caller, name, consumer, specs))


async def get_qos(call: Call) -> Reply:
    """Show specs."""
    return _shown(call, await service.get_qos(call.deps, call.path["qos_id"]))


async def put_qos(call: Call) -> Reply:
    """Add or change keys."""
    return Reply({"qos_specs": await service.set_keys(call.deps, call.caller, call.path["qos_id"], _given(call))})


async def put_delete_keys(call: Call) -> Reply:
    """Remove keys."""
    keys = _keys(call)
    await service.delete_keys(call.deps, call.caller, call.path["qos_id"], keys)
    return Reply()


def _keys(call: Call) -> list[str]:
    keys = json_object(call).get("keys")
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise InvalidInput("keys", "a list of strings is required.")
    return keys


async def delete_qos(call: Call) -> Reply:
    """Remove specs; with `force`, also those that types have."""
    force = flag("force", call.query.get("force", "false"))
    await service.delete_qos(call.deps, call.caller, call.path["qos_id"], force=force)
    return Reply()


async def list_associations(call: Call) -> Reply:
    """List the types that have these specs."""
    rows = await service.list_associations(call.deps, call.path["qos_id"])
    found = [{"association_type": "volume_type", "name": row.name, "id": row.id} for row in rows]
    return Reply({"qos_associations": found})


async def associate(call: Call) -> Reply:
    """Give a type these specs."""
    await service.associate(call.deps, call.caller, call.path["qos_id"], _type_id(call))
    return Reply()


async def disassociate(call: Call) -> Reply:
    """Take these specs from a type."""
    await service.disassociate(call.deps, call.caller, call.path["qos_id"], _type_id(call))
    return Reply()


async def disassociate_all(call: Call) -> Reply:
    """Take these specs from every type."""
    await service.disassociate(call.deps, call.caller, call.path["qos_id"], None)
    return Reply()


def _type_id(call: Call) -> str:
    type_id = call.query.get("vol_type_id")
    if not type_id:
        raise InvalidInput("vol_type_id", "it is required in the query.")
    return type_id


_ALL: Final = "{project_id}/qos-specs"
_ONE: Final = _ALL + "/{qos_id}"
_GET: Final = "volume_extension:qos_specs_manage:get"
_UPDATE: Final = "volume_extension:qos_specs_manage:update"
_route = partial(Route, tag="QoS")
_typed = partial(Route, "GET", tag="QoS", policy=_UPDATE, query=("vol_type_id",))

ROUTES = [
    _route("GET", _ALL, list_qos, 200, "List QoS specs", policy="volume_extension:qos_specs_manage:get_all",
           query=("limit", "offset", "marker", "sort", "sort_key", "sort_dir")),
    _route("POST", _ALL, post_qos, 200, "Make QoS specs", policy="volume_extension:qos_specs_manage:create"),
    _route("GET", _ONE, get_qos, 200, "Show QoS specs", policy=_GET),
    _route("PUT", _ONE, put_qos, 200, "Change QoS specs", policy=_UPDATE),
    _route("PUT", _ONE + "/delete_keys", put_delete_keys, 202, "Remove keys of QoS specs", policy=_UPDATE, body=Keys),
    _route("DELETE", _ONE, delete_qos, 202, "Delete QoS specs",
           policy="volume_extension:qos_specs_manage:delete", query=("force",)),
    _route("GET", _ONE + "/associations", list_associations, 200, "List what has QoS specs", policy=_GET),
    _typed(_ONE + "/associate", associate, 202, "Give a volume type QoS specs"),
    _typed(_ONE + "/disassociate", disassociate, 202, "Take QoS specs from a volume type"),
    _route("GET", _ONE + "/disassociate_all", disassociate_all, 202, "Take QoS specs from every type", policy=_UPDATE),
]  # fmt: skip
