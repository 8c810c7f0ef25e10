"""What can be asked of the metadata of a volume or a snapshot: one logic for both (spec 2.8, 4.1)."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple, Protocol

from openevs.domain.errors import NotFound
from openevs.domain.model import Caller
from openevs.domain.rules import check_metadata, check_volume_metadata
from openevs.service.deps import Deps
from openevs.store.database import Tx
from openevs.store.snapshots import find_snapshot, update_snapshot
from openevs.store.volumes import find_volume, update_volume


class HasMetadata(Protocol):
    """A record with metadata."""

    @property
    def metadata(self) -> dict[str, str]: ...


class _Check(Protocol):
    def __call__(self, metadata: Mapping[str, object], *, slash: bool) -> dict[str, str]: ...


class Kept(NamedTuple):
    """One kind of record that has metadata."""

    find: Callable[[Tx, str, str | None], HasMetadata]
    update: Callable[[Tx, str, str | None, datetime, Mapping[str, Any]], object]
    check: _Check
    """Returns what was given as it will be stored. Raises InvalidInput."""


OF_SNAPSHOTS: Final = Kept(find_snapshot, update_snapshot, check_metadata)
OF_VOLUMES: Final = Kept(find_volume, update_volume, check_volume_metadata)


async def get_metadata(deps: Deps, caller: Caller, kept: Kept, record_id: str) -> dict[str, str]:
    """Return a record's metadata. Raises NotFound."""
    return deps.db.look_up(kept.find, record_id, caller.scope).metadata


async def change_metadata(
    deps: Deps,
    caller: Caller,
    kept: Kept,
    record_id: str,
    metadata: Mapping[str, object],
    *,
    replace: bool,
    expect: Callable[[dict[str, str]], None],
) -> dict[str, str]:
    """Merge into, or replace, a record's metadata; return all of it. `expect` is shown what is there before, and
    refuses what it did not expect. Raises InvalidInput, NotFound."""
    given = kept.check(metadata, slash=False)

    def change_metadata(tx: Tx) -> dict[str, str]:
        found = kept.find(tx, record_id, caller.scope)
        expect(found.metadata)
        merged = given if replace else {**found.metadata, **given}
        check_metadata(merged)
        kept.update(tx, record_id, caller.scope, deps.clock(), {"metadata": merged})
        return merged

    return await deps.db.write(change_metadata)


async def delete_metadata(deps: Deps, caller: Caller, kept: Kept, record_id: str, key: str) -> None:
    """Remove one key. Raises NotFound (record, key)."""

    def delete_metadata(tx: Tx) -> None:
        found = kept.find(tx, record_id, caller.scope)
        if key not in found.metadata:
            raise NotFound("metadata key", key)
        left = {name: value for name, value in found.metadata.items() if name != key}
        kept.update(tx, record_id, caller.scope, deps.clock(), {"metadata": left})

    await deps.db.write(delete_metadata)
