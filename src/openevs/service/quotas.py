"""What can be asked of quotas. Names and meaning: spec 4.7."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from openevs.domain.errors import InvalidInput
from openevs.domain.model import Caller
from openevs.domain.quota import COUNTED, STATED, UNLIMITED
from openevs.service.deps import Deps
from openevs.store import quotas as store
from openevs.store.database import Tx
from openevs.store.types import list_types

MOST: Final = 2**31 - 1
DEFAULT: Final = "default"
"""Name of the class that every project belongs to."""
CLASS_NAME_MAX: Final = 50


class Quota(NamedTuple):
    """One resource: its limit (-1: none) and what is used of it."""

    limit: int
    in_use: int


def _names(tx: Tx, scope: str | None = None) -> list[str]:
    """Return every resource that has a quota: in total, and of each type of volume; with a project as `scope`, of those
    that it may use: the others do not exist for it, nor do their names."""
    of_types = [f"{name}_{volume_type.name}" for volume_type in list_types(tx, scope) for name in COUNTED]
    return [*COUNTED, *STATED, *of_types]


def _quotas(tx: Tx, caller: Caller, limits: Mapping[str, int], usage: Mapping[str, int]) -> dict[str, Quota]:
    return {name: Quota(limits.get(name, UNLIMITED), usage.get(name, 0)) for name in _names(tx, caller.scope)}


async def get_quotas(deps: Deps, caller: Caller, project_id: str) -> dict[str, Quota]:
    """Return the quotas of a project."""

    def read_quotas(tx: Tx) -> dict[str, Quota]:
        limits = {**deps.quota_defaults, **store.limits_of(tx, project_id)}
        return _quotas(tx, caller, limits, store.usage_of(tx, project_id))

    return await deps.db.read(read_quotas)


async def class_quotas(deps: Deps, caller: Caller, name: str = DEFAULT) -> dict[str, Quota]:
    """Return the quotas of a class of projects: the default one is that of every project for which none were set, and
    goes for what a class says nothing of."""

    def read_class(tx: Tx) -> dict[str, Quota]:
        return _quotas(tx, caller, {**deps.quota_defaults, **store.limits_of(tx, store.class_key(name))}, {})

    return await deps.db.read(read_class)


async def set_quotas(
    deps: Deps, caller: Caller, project_id: str, limits: Mapping[str, int], *, check: bool = False
) -> dict[str, Quota]:
    """Set limits of a project (administrators); with `check`, none below what is used. Raises InvalidInput."""

    def set_limits(tx: Tx) -> None:
        _check_limits(tx, limits)
        usage = store.usage_of(tx, project_id) if check else {}
        for name, limit in limits.items():
            if limit != UNLIMITED and usage.get(name, 0) > limit:
                raise InvalidInput(name, f"{limit} is less than the {usage[name]} that are in use.")
        store.set_limits(tx, project_id, limits)

    await deps.db.write(set_limits)
    return await get_quotas(deps, caller, project_id)


async def set_class_quotas(deps: Deps, caller: Caller, name: str, limits: Mapping[str, int]) -> dict[str, Quota]:
    """Set limits of a class of projects (administrators). Raises InvalidInput."""
    if not 1 <= len(name) <= CLASS_NAME_MAX:
        raise InvalidInput("class", f"its name must have 1 to {CLASS_NAME_MAX} characters.")

    def set_limits(tx: Tx) -> None:
        _check_limits(tx, limits)
        store.set_limits(tx, store.class_key(name), limits)

    await deps.db.write(set_limits)
    return await class_quotas(deps, caller, name)


def _check_limits(tx: Tx, limits: Mapping[str, int]) -> None:
    known = _names(tx)
    for name, limit in limits.items():
        if name not in known:
            raise InvalidInput(name[:64], f"there is no such quota; there are {', '.join(known)}.")
        if not UNLIMITED <= limit <= MOST:
            raise InvalidInput(name, f"{limit} is not a limit: it must be from -1 (none) to {MOST}.")


async def reset_quotas(deps: Deps, caller: Caller, project_id: str) -> None:
    """Return a project to the defaults (administrators)."""
    await deps.db.write(store.reset_limits, project_id)
