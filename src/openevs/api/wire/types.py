"""Volume types as the API writes them."""

from msgspec import Struct, field


class TypeView(Struct):
    """A volume type."""

    id: str
    name: str
    description: str | None
    is_public: bool
    access: bool = field(name="os-volume-type-access:is_public")
    qos_specs_id: None
    extra_specs: dict[str, str]


class TypeList(Struct):
    """A list of volume types."""

    volume_types: list[TypeView]


class TypeShown(Struct):
    """One volume type."""

    volume_type: TypeView


class ExtraSpecs(Struct):
    """The properties of a volume type."""

    extra_specs: dict[str, str]
