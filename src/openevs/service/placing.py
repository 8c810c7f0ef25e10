"""On which backend a volume is put. There is one engine, under one name or several; what a volume type's extra specs
ask of it is compared with what it says of itself, as a scheduler would, and what an operator has switched off takes
nothing new."""

from collections.abc import Callable, Mapping
from typing import Final

from openevs.domain.backends import PROTOCOL, VENDOR, VOLUME, backend_host
from openevs.domain.errors import InvalidInput
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


def check_zone(deps: Deps, zone: str | None, code: str | None = None) -> None:
    """Refuse another availability zone than the one there is; None: it is not said. Raises InvalidInput."""
    known = deps.settings.api.availability_zone
    if zone not in (None, known):
        raise InvalidInput("availability_zone", f"there is no zone {zone!r}; the only one is {known!r}.", code)


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
    wanted = _wanted(volume_type)
    if wanted in deps.backends:
        return (str(wanted),)
    # The default type names the engine, whatever its backends are called.
    return deps.backends[:1] if wanted == deps.volume_type else deps.backends


def _wanted(volume_type: VolumeType) -> str | None:
    specs = volume_type.extra_specs
    return specs.get(_NAME, specs.get(f"capabilities:{_NAME}"))


def may_be_on(deps: Deps, volume_type: VolumeType, backend: str) -> bool:
    """Say whether a volume of a type may be put on a backend by hand: unless the type names another one."""
    return backend in fitting(deps, volume_type) or _wanted(volume_type) not in deps.backends


def switched_off(tx: Tx, deps: Deps) -> frozenset[str]:
    """Return the backends that take nothing new, since an operator has disabled or frozen them."""
    off = {part.host for part in known_parts(tx).values() if part.binary == VOLUME and (part.disabled or part.frozen)}
    return frozenset(backend for backend in deps.backends if backend_host(backend) in off)


def place(tx: Tx, deps: Deps, volume_type: VolumeType, now_on: str | None = None) -> tuple[str, str | None]:
    """Return the backend for a volume of this type and, as a sentence, why it cannot be there after all. One that is
    on a backend already (`now_on`) stays there if that fits."""
    found = fitting(deps, volume_type)
    if not found:
        return deps.backends[0], no_backend(deps, volume_type)
    if now_on in found:
        return now_on, None
    off = switched_off(tx, deps)
    for backend in found:
        if backend not in off:
            return backend, None
    return found[0], f"No valid backend was found: {' and '.join(found)} is disabled or frozen by an operator."
