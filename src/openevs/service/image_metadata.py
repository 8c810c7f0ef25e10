"""What is known of the image that a volume holds. There are no images here: it is what clients have written down."""

from collections.abc import Mapping

from openevs.domain.errors import NotFound
from openevs.domain.model import Caller
from openevs.domain.rules import check_image_metadata
from openevs.service.deps import Deps
from openevs.store.database import Tx
from openevs.store.volumes import find_volume, update_volume


async def set_image_metadata(
    deps: Deps, caller: Caller, volume_id: str, metadata: Mapping[str, object]
) -> dict[str, str]:
    """Add to what is known; return all of it. Raises InvalidInput, NotFound."""
    given = check_image_metadata(metadata)

    def change(tx: Tx) -> dict[str, str]:
        merged = check_image_metadata({**find_volume(tx, volume_id, caller.scope).image_metadata, **given})
        update_volume(tx, volume_id, caller.scope, deps.clock(), {"image_metadata": merged})
        return merged

    return await deps.db.write(change)


async def unset_image_metadata(deps: Deps, caller: Caller, volume_id: str, key: str) -> None:
    """Forget one key. Raises NotFound (volume, key)."""

    def forget(tx: Tx) -> None:
        known = find_volume(tx, volume_id, caller.scope).image_metadata
        if key not in known:
            raise NotFound("image metadata key", key)
        kept = {name: value for name, value in known.items() if name != key}
        update_volume(tx, volume_id, caller.scope, deps.clock(), {"image_metadata": kept})

    await deps.db.write(forget)
