"""What can be asked of the metadata of a volume, of its image, or of a snapshot: one logic for all (spec 2.8, 4.1)."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Final, NamedTuple

from openevs.domain.errors import NotFound
from openevs.domain.model import Caller, Snapshot, Volume
from openevs.domain.rules import IMAGE_VALUE_MAX_BYTES, check_metadata, check_volume_metadata
from openevs.service.deps import Deps
from openevs.store.database import Tx
from openevs.store.snapshots import find_snapshot, update_snapshot
from openevs.store.volumes import find_volume, update_volume


class Kept(NamedTuple):
    """One kind of metadata that records have."""

    find: Callable[[Tx, str, str | None], Volume | Snapshot]
    update: Callable[[Tx, str, str | None, datetime, Mapping[str, Any]], object]
    check: Callable[[Mapping[str, object]], dict[str, str]]
    """Returns what a client gives as it will be stored. Raises InvalidInput."""
    check_all: Callable[[Mapping[str, object]], dict[str, str]] = check_metadata
    """The same for all that a record is to have, which may hold what clients cannot give."""
    field: str = "metadata"
    """Of the record."""

    def find_metadata(self, tx: Tx, record_id: str, project_id: str | None) -> dict[str, str]:
        """Return what a record has. Raises NotFound."""
        found: dict[str, str] = getattr(self.find(tx, record_id, project_id), self.field)
        return found


_check_image = partial(check_metadata, value_max=IMAGE_VALUE_MAX_BYTES)
OF_SNAPSHOTS: Final = Kept(find_snapshot, update_snapshot, partial(check_metadata, slash=False))
OF_VOLUMES: Final = Kept(find_volume, update_volume, partial(check_volume_metadata, slash=False))
OF_IMAGES: Final = Kept(find_volume, update_volume, _check_image, _check_image, "image_metadata")
"""What is known of the image that a volume holds. There are no images here: it is what clients have written down."""


async def get_metadata(deps: Deps, caller: Caller, kept: Kept, record_id: str) -> dict[str, str]:
    """Return a record's metadata. Raises NotFound."""
    return deps.db.look_up(kept.find_metadata, record_id, caller.scope)


async def change_metadata(
    deps: Deps,
    caller: Caller,
    kept: Kept,
    record_id: str,
    metadata: Mapping[str, object],
    *,
    replace: bool,
    expect: Callable[[dict[str, str]], None] = lambda found: None,
) -> dict[str, str]:
    """Merge into, or replace, a record's metadata; return all of it. `expect` is shown what is there before, and
    refuses what it did not expect. Raises InvalidInput, NotFound."""
    given = kept.check(metadata)

    def change_metadata(tx: Tx) -> dict[str, str]:
        found = kept.find_metadata(tx, record_id, caller.scope)
        expect(found)
        merged = kept.check_all(given if replace else {**found, **given})
        kept.update(tx, record_id, caller.scope, deps.clock(), {kept.field: merged})
        return merged

    return await deps.db.write(change_metadata)


async def delete_metadata(deps: Deps, caller: Caller, kept: Kept, record_id: str, key: str) -> None:
    """Remove one key. Raises NotFound (record, key)."""

    def delete_metadata(tx: Tx) -> None:
        found = kept.find_metadata(tx, record_id, caller.scope)
        if key not in found:
            raise NotFound(f"{kept.field.replace('_', ' ')} key", key)
        left = {name: value for name, value in found.items() if name != key}
        kept.update(tx, record_id, caller.scope, deps.clock(), {kept.field: left})

    await deps.db.write(delete_metadata)
