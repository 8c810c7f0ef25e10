"""On which backend a volume is put. There is one engine, under one name or several; what a volume type's extra specs
ask of it is compared with what it says of itself, as a scheduler would, and what an operator has switched off takes
nothing new."""

from collections.abc import Callable, Mapping
from typing import Final

from openevs.domain.backends import PROTOCOL, VENDOR, VOLUME, backend_host
from openevs.domain.model import VolumeType
from openevs.service.deps import Deps
from openevs.store.database import Tx
from openevs.store.parts import known_parts

_NAME: Final = "volume_backend_name"
_ASKS: Final[Mapping[str, Callable[[Deps], tuple[str, ...]]]] = {
    _NAME: lambda deps: (*deps.backends, deps.volume_type),
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


def fitting(deps: Deps, volume_type: VolumeType) -> tuple[str, ...]:
    """Return the backends that a type may be on; none if it asks for what none has."""
    if no_backend(deps, volume_type) is not None:
        return ()
    specs = volume_type.extra_specs
    wanted = specs.get(_NAME, specs.get(f"capabilities:{_NAME}"))
    if wanted in deps.backends:
        return (str(wanted),)
    # The default type names the engine, whatever its backends are called.
    return deps.backends[:1] if wanted == deps.volume_type else deps.backends


def place(tx: Tx, deps: Deps, volume_type: VolumeType, now_on: str | None = None) -> tuple[str, str | None]:
    """Return the backend for a volume of this type and, as a sentence, why it cannot be there after all. One that is
    on a backend already (`now_on`) stays there if that fits."""
    found = fitting(deps, volume_type)
    if not found:
        return deps.backends[0], no_backend(deps, volume_type)
    if now_on in found:
        return now_on, None
    off = {part.host for part in known_parts(tx).values() if part.binary == VOLUME and (part.disabled or part.frozen)}
    for backend in found:
        if backend_host(backend) not in off:
            return backend, None
    return found[0], f"No valid backend was found: {' and '.join(found)} is disabled or frozen by an operator."
