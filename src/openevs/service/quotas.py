"""What can be asked of quotas. Names and meaning: spec 4.7."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from openevs.domain.errors import InvalidInput
from openevs.domain.model import Caller
from openevs.domain.quota import COUNTED, STATED, UNLIMITED
from openevs.service.deps import Deps
from openevs.store import quotas as store
from openevs.store.database import Tx

MOST: Final = 2**31 - 1


class Quota(NamedTuple):
    """One resource: its limit (-1: none) and what is used of it."""

    limit: int
    in_use: int


def quota_names(deps: Deps) -> list[str]:
    """Return every resource that has a quota."""
    return [*COUNTED, *STATED, *(f"{name}_{deps.volume_type}" for name in COUNTED)]


async def get_quotas(deps: Deps, project_id: str) -> dict[str, Quota]:
    """Return the quotas of a project."""

    def read_quotas(tx: Tx) -> tuple[dict[str, int], dict[str, int]]:
        return store.limits_of(tx, project_id), store.usage_of(tx, project_id)

    limits, usage = await deps.db.read(read_quotas)
    limits = {**deps.quota_defaults, **limits}
    return {name: Quota(limits.get(name, UNLIMITED), usage.get(name, 0)) for name in quota_names(deps)}


def default_quotas(deps: Deps) -> dict[str, Quota]:
    """Return the quotas of a project for which none were set."""
    return {name: Quota(deps.quota_defaults.get(name, UNLIMITED), 0) for name in quota_names(deps)}


async def set_quotas(
    deps: Deps, caller: Caller, project_id: str, limits: Mapping[str, int], *, check: bool = False
) -> dict[str, Quota]:
    """Set limits of a project (administrators); with `check`, none below what is used. Raises InvalidInput."""
    known = quota_names(deps)
    for name, limit in limits.items():
        if name not in known:
            raise InvalidInput(name[:64], f"there is no such quota; there are {', '.join(known)}.")
        if not UNLIMITED <= limit <= MOST:
            raise InvalidInput(name, f"{limit} is not a limit: it must be from -1 (none) to {MOST}.")

    def set_limits(tx: Tx) -> None:
        usage = store.usage_of(tx, project_id) if check else {}
        for name, limit in limits.items():
            if limit != UNLIMITED and usage.get(name, 0) > limit:
                raise InvalidInput(name, f"{limit} is less than the {usage[name]} that are in use.")
        store.set_limits(tx, project_id, limits)

    await deps.db.write(set_limits)
    return await get_quotas(deps, project_id)


async def reset_quotas(deps: Deps, caller: Caller, project_id: str) -> None:
    """Return a project to the defaults (administrators)."""
    await deps.db.write(store.reset_limits, project_id)
