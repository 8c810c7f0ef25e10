"""Volume types, read only (spec 4.6)."""

from functools import partial
from typing import Any

from openevs.api.call import Call, Reply, Route
from openevs.api.wire.types import ExtraSpecs, TypeList, TypeShown
from openevs.domain.errors import NotFound
from openevs.domain.model import VolumeType
from openevs.service import types as service


async def list_types(call: Call) -> Reply:
    """List the types."""
    return Reply({"volume_types": [_view(call, found) for found in await service.list_types(call.deps)]})


async def get_type(call: Call) -> Reply:
    """Show a type."""
    return Reply({"volume_type": _view(call, await _find(call))})


async def list_extra_specs(call: Call) -> Reply:
    """Show what a type's volumes are like."""
    return Reply({"extra_specs": _extra_specs(call, await _find(call))})


async def get_extra_spec(call: Call) -> Reply:
    """Show one property of a type's volumes."""
    key = call.path["key"]
    specs = _extra_specs(call, await _find(call))
    if key not in specs:
        raise NotFound("extra spec", key)
    return Reply({key: specs[key]})


async def _find(call: Call) -> VolumeType:
    return await service.get_type(call.deps, call.path["type_id"])


def _extra_specs(call: Call, found: VolumeType) -> dict[str, str]:
    """Return a type's properties and where it is to be had, in the words of Huawei's clients."""
    return {
        **found.extra_specs,
        "RESKEY:availability_zones": call.deps.settings.api.availability_zone,
        "os-vendor-extended:sold_out_availability_zones": "",
    }


def _view(call: Call, found: VolumeType) -> dict[str, Any]:
    return {
        "id": found.id,
        "name": found.name,
        "description": found.description,
        "is_public": found.is_public,
        "os-volume-type-access:is_public": found.is_public,
        "qos_specs_id": None,
        "extra_specs": _extra_specs(call, found),
    }


_show = partial(Route, "GET", tag="Types")
_ONE = "{project_id}/types/{type_id}"

ROUTES = [
    _show(
        "{project_id}/types",
        list_types,
        200,
        "List the volume types",
        policy="volume_extension:type_get_all",
        reply=TypeList,
    ),
    _show(_ONE, get_type, 200, "Show a volume type", policy="volume_extension:type_get", reply=TypeShown),
    _show(
        _ONE + "/extra_specs",
        list_extra_specs,
        200,
        "Show a volume type's properties",
        policy="volume_extension:types_extra_specs:index",
        reply=ExtraSpecs,
    ),
    _show(
        _ONE + "/extra_specs/{key}",
        get_extra_spec,
        200,
        "Show a volume type's property",
        policy="volume_extension:types_extra_specs:show",
        reply=dict[str, str],
    ),
]
