"""Whether a volume type asks for something that no backend has. There is one engine, under one name or several; what a
type's extra specs ask of it is compared with what it says of itself, as a scheduler would."""

from collections.abc import Callable, Mapping
from typing import Final

from openevs.domain.backends import PROTOCOL, VENDOR
from openevs.domain.model import VolumeType
from openevs.service.deps import Deps

_ASKS: Final[Mapping[str, Callable[[Deps], tuple[str, ...]]]] = {
    "volume_backend_name": lambda deps: (*deps.backends, deps.volume_type),
    "vendor_name": lambda deps: (VENDOR,),
    "storage_protocol": lambda deps: (PROTOCOL,),
}
"""Extra spec (also with `capabilities:` before it) → what may stand there. Others ask nothing of a backend."""


def no_backend(deps: Deps, volume_type: VolumeType) -> str | None:
    """Return why no backend can hold a volume of this type, as a sentence; None if one can."""
    for key, value in volume_type.extra_specs.items():
        offered = _ASKS.get(key.removeprefix("capabilities:"))
        if offered is not None and value not in offered(deps):
            has = " or ".join(offered(deps))
            return f"No valid backend was found: the type {volume_type.name!r} wants {key} {value!r}, but it is {has}."
    return None
