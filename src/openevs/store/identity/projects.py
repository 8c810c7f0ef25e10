"""Projects in the database."""

from typing import Any, NamedTuple

import sqlalchemy as sa

from openevs.store.database import Tx
from openevs.store.tables import access_key, project, role_assignment, token, user


class Project(NamedTuple):
    """A project, in the order of the table's columns."""

    id: str
    name: str
    description: str
    enabled: bool


def insert_project(tx: Tx, new: Project) -> bool:
    """Insert `new` and return True, or return False when its name is taken."""
    values = sa.select(*(sa.literal(value, column.type) for value, column in zip(new, project.c, strict=True)))
    free = ~sa.exists().where(project.c.name == new.name)
    return tx.execute(project.insert().from_select(list(project.c), values.where(free))).rowcount == 1


def get_project(tx: Tx, project_id: str) -> Project | None:
    """Return the project of that id."""
    return _one(tx, project.c.id == project_id)


def find_project(tx: Tx, name: str) -> Project | None:
    """Return the project of that name."""
    return _one(tx, project.c.name == name)


def list_projects(
    tx: Tx, name: str | None = None, enabled: bool | None = None, user_id: str | None = None
) -> list[Project]:
    """Return the projects that fit, by name; `user_id` leaves those on which that user has a role."""
    query = sa.select(project).order_by(project.c.name)
    if name is not None:
        query = query.where(project.c.name == name)
    if enabled is not None:
        query = query.where(project.c.enabled == enabled)
    if user_id is not None:
        query = query.where(
            sa.exists().where(
                role_assignment.c.user_id == user_id,
                role_assignment.c.target_kind == "project",
                role_assignment.c.target_id == project.c.id,
            )
        )
    return [Project(*row) for row in tx.execute(query)]


def update_project(tx: Tx, project_id: str, changes: dict[str, Any]) -> bool:
    """Change columns of one project and return True, or return False when the new name belongs to another."""
    if not changes:
        return True
    statement = project.update().where(project.c.id == project_id).values(**changes)
    if "name" in changes:
        other = project.alias()
        statement = statement.where(~sa.exists().where(other.c.name == changes["name"], other.c.id != project_id))
    return tx.execute(statement).rowcount == 1


def delete_project(tx: Tx, project_id: str) -> bool:
    """Delete a project with all that identity keeps of it: assignments, tokens, its being a user's or a key's default.
    Return False when there was none. What other tables hold of the project stays: they do not refer to it."""
    tx.execute(token.delete().where(token.c.project_id == project_id))
    tx.execute(
        role_assignment.delete().where(
            role_assignment.c.target_kind == "project", role_assignment.c.target_id == project_id
        )
    )
    tx.execute(user.update().where(user.c.default_project_id == project_id).values(default_project_id=None))
    tx.execute(access_key.update().where(access_key.c.project_id == project_id).values(project_id=None))
    return tx.execute(project.delete().where(project.c.id == project_id)).rowcount == 1


def _one(tx: Tx, condition: sa.ColumnElement[bool]) -> Project | None:
    row = tx.execute(sa.select(project).where(condition)).one_or_none()
    return None if row is None else Project(*row)
