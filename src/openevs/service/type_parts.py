"""What an administrator attaches to volume types: access of projects, encryption, and whose default a type is."""

from collections.abc import Mapping
from typing import Any

from openevs.domain.errors import InUse, InvalidInput, NotFound
from openevs.domain.ids import new_uuid
from openevs.domain.model import Caller, VolumeType
from openevs.domain.rules import NAME_MAX_BYTES, byte_length
from openevs.service.deps import Deps, accept
from openevs.service.types import unused_type
from openevs.store import types as store
from openevs.store.database import Tx

# Access ---------------------------------------------------------------------------------------------------------


async def list_access(deps: Deps, type_id: str) -> list[str]:
    """Return the projects that may use a type that is not public. Raises NotFound: one that is has no such list."""

    def read(tx: Tx) -> list[str]:
        _private(tx, type_id)
        return store.projects_of_type(tx, type_id)

    return await deps.db.read(read)


async def add_access(deps: Deps, caller: Caller, type_id: str, project_id: str) -> None:
    """Let a project use a type that is not public. Raises InvalidInput, NotFound, InUse (it is), Conflict."""
    if not 1 <= byte_length("project", project_id) <= NAME_MAX_BYTES:
        raise InvalidInput("project", f"it must have 1 to {NAME_MAX_BYTES} bytes.")

    def add(tx: Tx) -> tuple[None, None]:
        _check_private(tx, type_id)
        store.add_access(tx, type_id, project_id)
        return None, None

    await accept(deps, caller, type(None), add)


async def remove_access(deps: Deps, type_id: str, project_id: str) -> None:
    """Take a project's access to a type away; its volumes stay what they are. Raises NotFound, InUse (it is public)."""

    def remove(tx: Tx) -> None:
        _check_private(tx, type_id)
        store.remove_access(tx, type_id, project_id)

    await deps.db.write(remove)


def _check_private(tx: Tx, type_id: str) -> None:
    if store.find_type(tx, type_id).is_public:
        raise InUse("volume type", f"{type_id} is public: every project has access to it.")


def _private(tx: Tx, type_id: str) -> VolumeType:
    found = store.find_type(tx, type_id)
    if found.is_public:
        raise NotFound("access list of volume type", type_id)
    return found


# Encryption -----------------------------------------------------------------------------------------------------


async def get_encryption(deps: Deps, type_id: str) -> dict[str, Any] | None:
    """Return how volumes of a type are to be encrypted. Raises NotFound (type)."""
    return (await deps.db.read(store.find_type, type_id)).encryption


async def set_encryption(
    deps: Deps, caller: Caller, type_id: str, given: Mapping[str, Any], *, encryption_id: str | None = None
) -> dict[str, Any]:
    """Note (or, with an id, change) how volumes of a type are to be encrypted. A note is all it is: volumes of such a
    type are refused, since nothing here encrypts. Raises NotFound, Conflict, InUse."""

    def change(tx: Tx) -> tuple[dict[str, Any], None]:
        found = unused_type(tx, type_id, "their encryption")
        if encryption_id is None and found.encryption is not None:
            raise InUse("volume type", f"{type_id} has an encryption already.")
        # A type has one, so its id is not looked at: python-cinderclient sends the word "provider" in its place.
        if encryption_id is not None and found.encryption is None:
            raise NotFound("encryption of volume type", type_id)
        empty = {"encryption_id": new_uuid(), "provider": None, "cipher": None, "key_size": None}
        changed = {"created_at" if encryption_id is None else "updated_at": deps.clock().isoformat()}
        noted = {**empty, "control_location": "front-end", **(found.encryption or {}), **given, **changed}
        store.update_type(tx, type_id, {"encryption": noted})
        return noted, None

    return await accept(deps, caller, dict[str, Any], change)


async def delete_encryption(deps: Deps, type_id: str) -> None:
    """Forget how volumes of a type are to be encrypted. Raises NotFound, InUse."""

    def change(tx: Tx) -> None:
        found = unused_type(tx, type_id, "their encryption")
        if found.encryption is None:
            raise NotFound("encryption of volume type", type_id)
        store.update_type(tx, type_id, {"encryption": None})

    await deps.db.write(change)


# Defaults of projects -------------------------------------------------------------------------------------------


async def list_defaults(deps: Deps) -> dict[str, str]:
    """Return project → id of its default type, for those that have one of their own."""
    return await deps.db.read(store.default_types)


async def get_default(deps: Deps, project_id: str) -> str:
    """Return the id of a project's own default type. Raises NotFound."""
    found = await deps.db.read(store.default_types, project_id)
    if project_id not in found:
        raise NotFound("default type of project", project_id)
    return found[project_id]


async def set_default(deps: Deps, project_id: str, word: str) -> str:
    """Make a type (by id or name) a project's default; return its id. Raises InvalidInput."""

    def change(tx: Tx) -> str:
        try:
            found = store.find_type_named(tx, word, project_id)
        except NotFound as error:
            raise InvalidInput("volume_type", str(error)) from None
        store.set_default_type(tx, project_id, found.id)
        return found.id

    return await deps.db.write(change)


async def unset_default(deps: Deps, project_id: str) -> None:
    """Return a project to everybody's default type."""
    await deps.db.write(store.set_default_type, project_id, None)
