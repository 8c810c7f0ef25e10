"""What can be asked of volume types: there is one, made at the first start."""

from openevs.domain.ids import volume_type_id
from openevs.domain.model import VolumeType
from openevs.service.deps import Deps
from openevs.store import types as store

DEFAULT = "default"
"""In place of an id: the type of volumes for which none was asked."""


async def ensure_types(deps: Deps) -> None:
    """Make the one type, if this is the first start."""
    name = deps.volume_type
    made = VolumeType(
        id=volume_type_id(name),
        name=name,
        description="Copy-on-write layers: snapshots and clones take constant time.",
        is_public=True,
        extra_specs={"volume_backend_name": name},
    )
    await deps.db.write(store.ensure_type, made)


async def list_types(deps: Deps) -> list[VolumeType]:
    """Return every type."""
    return await deps.db.read(store.list_types)


async def get_type(deps: Deps, type_id: str) -> VolumeType:
    """Return a type by its id, or the default one. Raises NotFound."""
    if type_id == DEFAULT:
        return await deps.db.read(store.find_type_by_name, deps.volume_type)
    return await deps.db.read(store.find_type, type_id)
