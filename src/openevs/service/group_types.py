"""What can be asked of group types and their specs (microversion 3.11). Only an administrator changes them, and sees
those that are not public."""

import re
from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa

from openevs.domain.errors import InUse, InvalidInput, NotFound
from openevs.domain.group import CONSISTENT, RESERVED_TYPE, RESERVED_TYPE_ID, YES, GroupType
from openevs.domain.ids import new_uuid
from openevs.domain.model import Caller
from openevs.domain.rules import NAME_MAX_BYTES, byte_length, check_name, check_text
from openevs.service.deps import Deps, accept
from openevs.store import group_types as store
from openevs.store.database import Tx
from openevs.store.groups import count_groups
from openevs.store.listing import Condition, Page
from openevs.store.tables import group as group_table
from openevs.store.tables import group_type as table

DEFAULT: Final = "default"
"""In place of an id: the type that the settings name."""
_KEY = re.compile(r"[a-zA-Z0-9\-_:. /]{1,255}")


async def ensure_group_types(deps: Deps) -> None:
    """Make the type of consistency groups, unless it is there."""
    wanted = GroupType(
        id=RESERVED_TYPE_ID,
        name=RESERVED_TYPE,
        description="The type of consistency groups.",
        is_public=True,
        group_specs={CONSISTENT: YES},
        created_at=deps.clock(),
        updated_at=None,
    )
    await deps.db.write(store.ensure_group_type, wanted)


async def create_group_type(
    deps: Deps,
    caller: Caller,
    name: str,
    description: str | None,
    specs: Mapping[str, object],
    *,
    is_public: bool,
) -> GroupType:
    """Make a group type. Raises InvalidInput, Conflict (there is one of that name)."""
    made = GroupType(
        id=new_uuid(),
        name=check_name(name),
        description=check_text("description", description),
        is_public=is_public,
        group_specs=check_specs(specs),
        created_at=deps.clock(),
        updated_at=None,
    )

    def create(tx: Tx) -> tuple[GroupType, None]:
        return store.insert_group_type(tx, made), None

    return await accept(deps, caller, GroupType, create)


async def update_group_type(deps: Deps, group_type_id: str, changes: Mapping[str, Any]) -> GroupType:
    """Change name, description or visibility (keys of `changes`). Raises InvalidInput, NotFound, Conflict."""
    values = dict(changes)
    if "name" in values:
        values["name"] = check_name(values["name"])
        if group_type_id == RESERVED_TYPE_ID and values["name"] != RESERVED_TYPE:
            raise InvalidInput("name", f"the type of consistency groups keeps its name, {RESERVED_TYPE!r}.")
    if "description" in values:
        values["description"] = check_text("description", values["description"])
    return await deps.db.write(store.update_group_type, group_type_id, deps.clock(), values)


async def delete_group_type(deps: Deps, group_type_id: str) -> None:
    """Remove a group type. Raises NotFound, InUse (there are groups of it, or it is that of consistency groups)."""
    if group_type_id == RESERVED_TYPE_ID:
        raise InUse("group type", "it is the type of consistency groups, which cannot be deleted.")

    def delete(tx: Tx) -> None:
        store.find_group_type(tx, group_type_id, hidden=True)
        if count_groups(tx, [group_table.c.group_type_id == group_type_id]):
            raise InUse("group type", f"there are groups of type {group_type_id}.")
        store.delete_group_type_row(tx, group_type_id)

    await deps.db.write(delete)


async def get_group_type(deps: Deps, caller: Caller, group_type_id: str) -> GroupType:
    """Return a group type by its id, or the default one. Raises NotFound."""
    default = deps.settings.api.default_group_type
    if group_type_id != DEFAULT:
        return await deps.db.read(lambda tx: store.find_group_type(tx, group_type_id, hidden=caller.is_admin))
    if not default:
        raise NotFound("group type", DEFAULT)
    return await deps.db.read(lambda tx: store.find_group_type_by_name(tx, default, hidden=True))


async def list_group_types(deps: Deps, caller: Caller, page: Page, is_public: bool | None) -> list[GroupType]:
    """Return one page of group types; `is_public` None: all (only an administrator's wish counts).
    Raises NotFound (marker)."""
    wanted = is_public if caller.is_admin else True
    where: list[Condition] = [sa.true() if wanted is None else table.c.is_public == wanted]
    return await deps.db.read(store.list_group_types, where, page)


async def set_specs(deps: Deps, group_type_id: str, specs: Mapping[str, object]) -> None:
    """Set some specs of a type. Raises InvalidInput, NotFound."""
    checked = check_specs(specs, blank=False)

    def change(tx: Tx) -> None:
        found = store.find_group_type(tx, group_type_id, hidden=True)
        store.update_group_type(tx, group_type_id, deps.clock(), {"group_specs": {**found.group_specs, **checked}})

    await deps.db.write(change)


async def delete_spec(deps: Deps, group_type_id: str, key: str) -> None:
    """Remove a spec of a type. Raises NotFound (type, key)."""

    def change(tx: Tx) -> None:
        found = store.find_group_type(tx, group_type_id, hidden=True)
        if key not in found.group_specs:
            raise NotFound("group spec", key)
        kept = {name: value for name, value in found.group_specs.items() if name != key}
        store.update_group_type(tx, group_type_id, deps.clock(), {"group_specs": kept})

    await deps.db.write(change)


def check_specs(specs: Mapping[str, object], *, blank: bool = True) -> dict[str, str | None]:
    """Return group specs as they will be stored; `blank`: keys may have blanks and slashes in them.
    Raises InvalidInput."""
    for key, value in specs.items():
        if not _KEY.fullmatch(key) or (not blank and (" " in key or "/" in key)):
            raise InvalidInput(
                "group_specs", f"the key {key[:64]!r} must be 1 to 255 letters, digits or any of - _ : ."
            )
        if value is not None and not isinstance(value, str):
            raise InvalidInput(f"group_specs[{key!r}]", "the value must be a string or null.")
        size = 0 if value is None else byte_length(f"group_specs[{key!r}]", value)
        if size > NAME_MAX_BYTES:
            raise InvalidInput(f"group_specs[{key!r}]", f"it has {size} bytes, but may have {NAME_MAX_BYTES}.")
    return {key: None if value is None else str(value) for key, value in specs.items()}
