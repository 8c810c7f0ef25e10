"""What can be asked of volume types. An administrator makes them; a project uses those that are public, and those that
it was given access to. All volumes are on one engine: what sets types apart are their limits (QoS specs), whether
their volumes may have several attachments, and their quotas."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from openevs.domain.errors import InUse, InvalidInput, NotFound
from openevs.domain.ids import new_uuid, volume_type_id
from openevs.domain.model import Caller, VolumeType
from openevs.domain.rules import NAME_MAX_BYTES, check_name, check_text
from openevs.service.deps import Deps, accept
from openevs.service.queries import ListQuery
from openevs.store import types as store
from openevs.store.database import Tx
from openevs.store.listing import Condition, metadata_condition
from openevs.store.tables import volume_type as table

DEFAULT: Final = "default"
"""In place of an id: the type of volumes for which none was asked."""
MULTIATTACH: Final = "multiattach"
YES: Final = "<is> True"
"""How an extra spec says yes, in the scheduler's language."""
VISIBLE_SPECS: Final = frozenset({"RESKEY:availability_zones", MULTIATTACH, "replication_enabled"})
"""Extra specs that others than administrators see."""


def made_type(name: str, description: str | None, specs: Mapping[str, str], now: datetime) -> VolumeType:
    """Return a public type whose id is made from its name: one that every installation has."""
    return VolumeType(volume_type_id(name), name, description, True, dict(specs), None, None, now)


async def ensure_types(deps: Deps) -> None:
    """Make the default type, and those that the settings name, unless they are there."""
    name, now = deps.volume_type, deps.clock()
    text = "Copy-on-write layers: snapshots and clones take constant time."
    others = [other for other in deps.settings.api.volume_types.split(",") if other not in ("", name)]
    types = [made_type(name, text, {"volume_backend_name": name}, now)]
    types += [
        made_type(other, "A name of the public cloud; the same as the default type.", {}, now) for other in others
    ]

    def ensure(tx: Tx) -> None:
        for wanted in types:
            store.ensure_type(tx, wanted)

    await deps.db.write(ensure)


async def list_types(deps: Deps, caller: Caller, query: ListQuery) -> list[VolumeType]:
    """Return one page of types. Filters: `is_public` (administrators; None: all), `name`, `description`, `extra_specs`.
    Raises InvalidInput, NotFound (marker)."""
    filters = dict(query.filters)
    public = filters.pop("is_public", True)
    if not caller.is_admin:
        public = True
    # The first condition is the one that a marker must fulfil, too.
    where: list[Condition] = [store.usable_by(caller.project_id) if public else sa.true()]
    if public is False:
        where.append(sa.not_(table.c.is_public))
    specs = filters.pop("extra_specs", {})
    if not caller.is_admin and not specs.keys() <= VISIBLE_SPECS:
        return []
    where.append(metadata_condition(table, specs, "extra_specs"))
    where += [table.c[name] == value for name, value in filters.items()]
    return await deps.db.read(store.page_of_types, where, query.page)


async def get_type(deps: Deps, caller: Caller, type_id: str) -> VolumeType:
    """Return a type by its id, or the caller's default one. Raises NotFound."""

    def find(tx: Tx) -> VolumeType:
        if type_id == DEFAULT:
            return default_type_of(tx, deps, caller)
        return store.find_type(tx, type_id, caller.scope)

    return await deps.db.read(find)


def default_type_of(tx: Tx, deps: Deps, caller: Caller) -> VolumeType:
    """Return the type of the caller's volumes for which none was asked: the project's own, or everybody's."""
    own = store.default_types(tx, caller.project_id).get(caller.project_id)
    return store.find_type(tx, own) if own else store.find_type(tx, volume_type_id(deps.volume_type))


def type_for(tx: Tx, deps: Deps, caller: Caller, wanted: str | None) -> VolumeType:
    """Return the type that was asked for by id or name, or the default one, for a volume that is to be made.
    Raises NotFound, InvalidInput."""
    if wanted is None:
        found = default_type_of(tx, deps, caller)
    else:
        try:
            found = store.find_type_named(tx, wanted, caller.scope)
        except NotFound as error:
            raise error.with_code("EVS.1020") from None
    if found.encryption is not None:
        raise InvalidInput(
            "volume_type", f"volumes of type {found.name!r} are to be encrypted, which this service does not do."
        )
    return found


def type_like(tx: Tx, deps: Deps, caller: Caller, name: str | None) -> VolumeType:
    """Return the type of a source, for a volume that is to be made from it; the default one if that type is no more: a
    snapshot keeps the name of the type that its volume had. Raises NotFound (one that the caller may not use),
    InvalidInput."""
    gone = name is not None and not store.is_type(tx, name)
    return type_for(tx, deps, caller, None if gone else name)


def wants_multiattach(found: VolumeType) -> bool:
    """Say whether volumes of a type may have several attachments."""
    return found.extra_specs.get(MULTIATTACH) == YES


async def create_type(
    deps: Deps, caller: Caller, name: str, description: str | None, *, is_public: bool, specs: Mapping[str, Any]
) -> VolumeType:
    """Make a type. Raises InvalidInput, Conflict."""
    made = VolumeType(
        id=new_uuid(),
        name=check_name(name),
        description=check_text("description", description),
        is_public=is_public,
        extra_specs=check_specs("extra_specs", specs),
        qos_specs_id=None,
        encryption=None,
        created_at=deps.clock(),
    )

    def create(tx: Tx) -> tuple[VolumeType, None]:
        return store.insert_type(tx, made), None

    return await accept(deps, caller, VolumeType, create)


async def update_type(deps: Deps, type_id: str, changes: Mapping[str, Any]) -> VolumeType:
    """Change name, description or `is_public` (keys of `changes`, None: left as it is). Raises InvalidInput, NotFound,
    Conflict."""
    values = {field: value for field, value in changes.items() if value is not None}
    if not values:
        raise InvalidInput("volume_type", "it must have a name, a description or is_public.")
    if "name" in values:
        values["name"] = check_name(values["name"])
    if "description" in values:
        values["description"] = check_text("description", values["description"])
    if type_id == volume_type_id(deps.volume_type) and values.get("name", deps.volume_type) != deps.volume_type:
        raise InvalidInput("name", f"the default type keeps its name, {deps.volume_type!r}.")
    return await deps.db.write(store.update_type, type_id, values)


async def delete_type(deps: Deps, type_id: str) -> None:
    """Remove a type that no volume is of. Raises NotFound, InUse."""
    if type_id == volume_type_id(deps.volume_type):
        raise InUse("volume type", "it is the default type, which cannot be deleted.")
    await deps.db.write(store.delete_type_row, type_id)


def check_specs(field: str, specs: Mapping[str, Any]) -> dict[str, str]:
    """Return specs as they will be stored: keys of 1 to 255 letters, digits or `- _ : .`, values of at most 255 bytes.
    Raises InvalidInput."""
    checked: dict[str, str] = {}
    for key, value in specs.items():
        if not 1 <= len(key) <= NAME_MAX_BYTES or not all(c.isascii() and (c.isalnum() or c in "-_:.") for c in key):
            raise InvalidInput(field, f"the key {key[:64]!r} must be 1 to 255 letters, digits or any of - _ : .")
        text = "" if value is None else value
        if not isinstance(text, str):
            raise InvalidInput(f"{field}[{key!r}]", "the value must be a string.")
        checked[key] = check_text(f"{field}[{key!r}]", text) or ""
    return checked


async def set_specs(deps: Deps, type_id: str, specs: Mapping[str, Any]) -> dict[str, str]:
    """Add or change extra specs of a type that no volume is of; return those that were given.
    Raises InvalidInput, NotFound, InUse."""
    checked = check_specs("extra_specs", specs)

    def change(tx: Tx) -> dict[str, str]:
        found = unused_type(tx, type_id)
        store.update_type(tx, type_id, {"extra_specs": {**found.extra_specs, **checked}})
        return checked

    return await deps.db.write(change)


async def delete_spec(deps: Deps, type_id: str, key: str) -> None:
    """Remove an extra spec of a type that no volume is of. Raises NotFound, InUse."""

    def change(tx: Tx) -> None:
        left = dict(unused_type(tx, type_id).extra_specs)
        if left.pop(key, None) is None:
            raise NotFound("extra spec", key)
        store.update_type(tx, type_id, {"extra_specs": left})

    await deps.db.write(change)


def unused_type(tx: Tx, type_id: str, what: str = "what they are like") -> VolumeType:
    """Return a type, of which `what` is to change. Raises NotFound, InUse (there are volumes of it)."""
    found = store.find_type(tx, type_id)
    if store.count_volumes_of_type(tx, type_id):
        raise InUse("volume type", f"{found.name!r} is the type of volumes, so {what} cannot change.")
    return found
