"""Volume types as the API writes them."""

from typing import Any, Final

from msgspec import UNSET, Struct, UnsetType, field

from openevs.api.call import Call
from openevs.api.policy import allowed
from openevs.api.wire.bodies import FALSE, TRUE
from openevs.api.wire.lists import Listing, same
from openevs.domain.errors import InvalidInput
from openevs.domain.model import VolumeType
from openevs.service.types import VISIBLE_SPECS


def _public(name: str, text: str) -> bool | None:
    """`none` stands for all types, public or not."""
    word = text.strip().lower()
    if word in TRUE or word in FALSE:
        return word in TRUE
    if word == "none":
        return None
    raise InvalidInput(name, f"{text[:32]!r} is none of true, false, none.")


TYPE_LIST: Final = Listing(
    filters=same("is_public name description"),
    sort_keys=same("id name created_at description"),
    parse={"is_public": _public},
    documents={"extra_specs": 52},
    strict_since=52,
)


class TypeView(Struct):
    """A volume type."""

    id: str
    name: str
    description: str | None
    is_public: bool
    extra_specs: dict[str, str]
    access: bool | UnsetType = field(default=UNSET, name="os-volume-type-access:is_public")
    qos_specs_id: str | UnsetType | None = UNSET


class TypeList(Struct):
    """A list of volume types."""

    volume_types: list[TypeView]


class TypeShown(Struct):
    """One volume type."""

    volume_type: TypeView


class ExtraSpecs(Struct):
    """The properties of a volume type."""

    extra_specs: dict[str, str]


class TypeCreate(Struct):
    """The body of a create, in its envelope `volume_type`."""

    name: str
    description: str | None = None
    extra_specs: dict[str, Any] | None = None
    is_public: bool | str | int = field(name="os-volume-type-access:is_public", default=True)


class TypeUpdate(Struct):
    """The body of an update, in its envelope `volume_type`."""

    name: str | None = None
    description: str | None = None
    is_public: bool | str | int | None = None


def changed_type_view(call: Call, found: VolumeType) -> dict[str, Any]:
    """Return a type as the answer to an update does."""
    return {
        "id": found.id,
        "name": found.name,
        "description": found.description,
        "is_public": found.is_public,
        "extra_specs": specs_view(call, found),
    }


def made_type_view(call: Call, found: VolumeType) -> dict[str, Any]:
    """Return a type as the answer to a create does."""
    return {**changed_type_view(call, found), "os-volume-type-access:is_public": found.is_public}


def type_view(call: Call, found: VolumeType) -> dict[str, Any]:
    """Return a type; its QoS specs are for administrators."""
    view = made_type_view(call, found)
    if call.api == "v2" or allowed(call.caller, "volume_extension:qos_specs_manage:get"):
        view["qos_specs_id"] = found.qos_specs_id
    return view


def specs_view(call: Call, found: VolumeType) -> dict[str, str]:
    """Return a type's properties: all of them to administrators. In v2 also where it is to be had, in the words of
    Huawei's clients."""
    specs = {key: value for key, value in found.extra_specs.items() if call.caller.is_admin or key in VISIBLE_SPECS}
    if call.api != "v2":
        return specs
    zone = call.deps.settings.api.availability_zone
    return {**specs, "RESKEY:availability_zones": zone, "os-vendor-extended:sold_out_availability_zones": ""}
