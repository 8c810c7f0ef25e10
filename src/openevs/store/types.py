"""Volume types in the database: what they are, who may use them, and whose default they are.

A volume's row has its type's id and name; quotas are named after the name. Renaming a type renames it there too.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from openevs.domain.errors import Conflict, InUse, NotFound
from openevs.domain.model import VolumeType
from openevs.domain.quota import COUNTED
from openevs.store.database import Tx
from openevs.store.listing import Condition, Page, list_page
from openevs.store.prepared import insert_row
from openevs.store.tables import default_type, group, quota_limit, quota_usage, snapshot, type_access, volume
from openevs.store.tables import volume_type as table


def ensure_type(tx: Tx, wanted: VolumeType) -> None:
    """Add a type unless one of its name is there; that one stays as it is."""
    if tx.execute(sa.select(table.c.id).where(table.c.name == wanted.name)).first() is None:
        insert_row(tx, table, wanted._asdict())


def insert_type(tx: Tx, made: VolumeType) -> VolumeType:
    """Add a type. Raises Conflict if the name is taken."""
    try:
        insert_row(tx, table, made._asdict())
    except IntegrityError:
        raise _taken(made.name) from None
    return made


def find_type(tx: Tx, type_id: str, project_id: str | None = None) -> VolumeType:
    """Return a type; with a project, those that it may not use do not exist. Raises NotFound."""
    return _found(tx, table.c.id == type_id, type_id, project_id)


def find_type_by_name(tx: Tx, name: str, project_id: str | None = None) -> VolumeType:
    """Return a type; with a project, those that it may not use do not exist. Raises NotFound."""
    return _found(tx, table.c.name == name, name, project_id)


def find_type_named(tx: Tx, word: str, project_id: str | None = None) -> VolumeType:
    """Return a type by its id or its name, the id first. Raises NotFound."""
    by_id = tx.execute(sa.select(table.c.id).where(table.c.id == word)).first()
    return (find_type if by_id else find_type_by_name)(tx, word, project_id)


def is_type(tx: Tx, name: str) -> bool:
    """Say whether there is a type of that name, whoever may use it."""
    return tx.execute(sa.select(table.c.id).where(table.c.name == name)).first() is not None


def _found(tx: Tx, condition: Condition, word: str, project_id: str | None) -> VolumeType:
    where = [condition] if project_id is None else [condition, usable_by(project_id)]
    row = tx.execute(sa.select(*table.c).where(*where)).first()
    if row is None:
        raise NotFound("volume type", word)
    return VolumeType._make(row)


def usable_by(project_id: str) -> Condition:
    """Return the condition that a project may use a type."""
    granted = sa.select(type_access.c.type_id).where(type_access.c.project_id == project_id)
    return sa.or_(table.c.is_public, table.c.id.in_(granted))


def list_types(tx: Tx, project_id: str | None = None) -> list[VolumeType]:
    """Return every type, by name; with a project, those that it may use."""
    where = sa.true() if project_id is None else usable_by(project_id)
    return [VolumeType._make(row) for row in tx.execute(sa.select(*table.c).where(where).order_by(table.c.name))]


def page_of_types(tx: Tx, where: Sequence[Condition], page: Page) -> list[VolumeType]:
    """Return one page of types."""
    return list_page(tx, table, VolumeType._make, where, page)


def update_type(tx: Tx, type_id: str, values: Mapping[str, Any]) -> VolumeType:
    """Change a type. Raises NotFound; Conflict if the new name is taken."""
    found = find_type(tx, type_id)
    if not values:
        return found
    try:
        row = tx.execute(sa.update(table).where(table.c.id == type_id).values(**values).returning(*table.c)).first()
    except IntegrityError:
        raise _taken(values["name"]) from None
    changed = VolumeType._make(row or found)
    if changed.name != found.name:
        _rename(tx, found.name, changed.name)
    return changed


def _taken(name: str) -> Conflict:
    return Conflict(f"There is a volume type {name!r} already.")


def _rename(tx: Tx, was: str, name: str) -> None:
    for rows in (volume, snapshot):
        tx.execute(sa.update(rows).where(rows.c.volume_type == was).values(volume_type=name))
    for rows in (quota_usage, quota_limit):
        for counted in COUNTED:
            old, new = f"{counted}_{was}", f"{counted}_{name}"
            tx.execute(sa.delete(rows).where(rows.c.resource == new))  # of a type of that name that is no more
            tx.execute(sa.update(rows).where(rows.c.resource == old).values(resource=new))


def count_volumes_of_type(tx: Tx, type_id: str) -> int:
    """Return how many volumes are of a type."""
    query = sa.select(sa.func.count()).select_from(volume).where(volume.c.type_id == type_id)
    return tx.execute(query).scalar_one()


def delete_type_row(tx: Tx, type_id: str) -> None:
    """Remove a type. Raises NotFound, InUse."""
    found = find_type(tx, type_id)
    if count_volumes_of_type(tx, type_id):
        raise InUse("volume type", f"{found.name!r} is still the type of volumes.")
    # The ids stand in a list; none is a part of another.
    named_by = sa.select(group.c.id).where(sa.cast(group.c.volume_types, sa.Text).contains(type_id)).limit(1)
    group_id = tx.execute(named_by).scalar()
    if group_id is not None:
        raise InUse("volume type", f"group {group_id} is to have volumes of {found.name!r}.")
    projects = tx.execute(sa.select(default_type.c.project_id).where(default_type.c.type_id == type_id)).scalars().all()
    if projects:
        raise InUse("volume type", f"{found.name!r} is the default type of project {projects[0]}.")
    tx.execute(sa.delete(type_access).where(type_access.c.type_id == type_id))
    tx.execute(sa.delete(table).where(table.c.id == type_id))
    of_type = [f"{counted}_{found.name}" for counted in COUNTED]
    tx.execute(sa.delete(quota_limit).where(quota_limit.c.resource.in_(of_type)))


# Who may use it -------------------------------------------------------------------------------------------------


def projects_of_type(tx: Tx, type_id: str) -> list[str]:
    """Return the projects that were given access to a type."""
    query = sa.select(type_access.c.project_id).where(type_access.c.type_id == type_id)
    return list(tx.execute(query.order_by(type_access.c.project_id)).scalars())


def add_access(tx: Tx, type_id: str, project_id: str) -> None:
    """Let a project use a type. Raises Conflict if it may already."""
    try:
        insert_row(tx, type_access, {"type_id": type_id, "project_id": project_id})
    except IntegrityError:
        raise Conflict(f"Project {project_id} has access to volume type {type_id} already.") from None


def remove_access(tx: Tx, type_id: str, project_id: str) -> None:
    """Take a project's access to a type away. Raises NotFound if it has none."""
    where = sa.and_(type_access.c.type_id == type_id, type_access.c.project_id == project_id)
    if not tx.execute(sa.delete(type_access).where(where)).rowcount:
        raise NotFound("volume type access", project_id)


# Whose default it is --------------------------------------------------------------------------------------------


def default_types(tx: Tx, project_id: str | None = None) -> dict[str, str]:
    """Return project → id of its default type, for those that have one of their own (or for one of them)."""
    query = sa.select(default_type).order_by(default_type.c.project_id)
    if project_id is not None:
        query = query.where(default_type.c.project_id == project_id)
    return {row.project_id: row.type_id for row in tx.execute(query)}


def set_default_type(tx: Tx, project_id: str, type_id: str | None) -> None:
    """Give a project a default type, or none of its own."""
    tx.execute(sa.delete(default_type).where(default_type.c.project_id == project_id))
    if type_id is not None:
        insert_row(tx, default_type, {"project_id": project_id, "type_id": type_id})
