"""Roles, and who has which where."""

from typing import Final, Literal, NamedTuple

import sqlalchemy as sa

from openevs.store.database import Tx
from openevs.store.tables import project, role, role_assignment, user

TargetKind = Literal["project", "domain"]


class Role(NamedTuple):
    """A role, in the order of the table's columns."""

    id: str
    name: str


class Assignment(NamedTuple):
    """A user's role on a project or on the domain, in the order of the table's columns."""

    user_id: str
    target_kind: TargetKind
    target_id: str
    role_id: str


class NamedAssignment(NamedTuple):
    """An assignment with the names of what it ties."""

    assignment: Assignment
    user_name: str
    role_name: str
    project_name: str | None


# Made once, as it is part of finding out what a token stands for.
_NAMES: Final = sa.select(role.c.name).where(
    role.c.id == role_assignment.c.role_id,
    role_assignment.c.user_id == sa.bindparam("user"),
    role_assignment.c.target_kind == sa.bindparam("kind"),
    role_assignment.c.target_id == sa.bindparam("target"),
)


def insert_role(tx: Tx, new: Role) -> None:
    """Insert a role; its name must be free."""
    tx.execute(role.insert().values(new._asdict()))


def get_role(tx: Tx, role_id: str) -> Role | None:
    """Return the role of that id."""
    row = tx.execute(sa.select(role).where(role.c.id == role_id)).one_or_none()
    return None if row is None else Role(*row)


def list_roles(tx: Tx, name: str | None = None) -> list[Role]:
    """Return the roles that fit, by name."""
    query = sa.select(role).order_by(role.c.name)
    if name is not None:
        query = query.where(role.c.name == name)
    return [Role(*row) for row in tx.execute(query)]


def insert_assignment(tx: Tx, new: Assignment) -> None:
    """Record an assignment; one that is there already stays as it is."""
    values = sa.select(*(sa.literal(value, column.type) for value, column in zip(new, role_assignment.c, strict=True)))
    missing = ~sa.exists().where(_is(new))
    tx.execute(role_assignment.insert().from_select(list(role_assignment.c), values.where(missing)))


def delete_assignment(tx: Tx, assignment: Assignment) -> bool:
    """Delete an assignment; return False when there was none."""
    return tx.execute(role_assignment.delete().where(_is(assignment))).rowcount == 1


def names_of_roles(tx: Tx, user_id: str, target_kind: TargetKind, target_id: str) -> frozenset[str]:
    """Return the names of the roles that a user was given on a target, without implied ones."""
    names = tx.execute(_NAMES, {"user": user_id, "kind": target_kind, "target": target_id})
    return frozenset(names.scalars())


def list_assignments(
    tx: Tx,
    user_id: str | None = None,
    role_id: str | None = None,
    target_kind: TargetKind | None = None,
    target_id: str | None = None,
) -> list[NamedAssignment]:
    """Return the assignments that fit, in a fixed order."""
    has = role_assignment.c
    joined = (
        role_assignment.join(user, user.c.id == has.user_id)
        .join(role, role.c.id == has.role_id)
        .outerjoin(project, sa.and_(has.target_kind == "project", project.c.id == has.target_id))
    )
    query = sa.select(role_assignment, user.c.name, role.c.name, project.c.name).select_from(joined)
    wanted = {has.user_id: user_id, has.role_id: role_id, has.target_kind: target_kind, has.target_id: target_id}
    for column, value in wanted.items():
        if value is not None:
            query = query.where(column == value)
    query = query.order_by(user.c.name, has.target_kind, has.target_id, role.c.name)
    return [NamedAssignment(Assignment(*row[:4]), *row[4:]) for row in tx.execute(query)]


def _is(assignment: Assignment) -> sa.ColumnElement[bool]:
    return sa.and_(*(column == value for column, value in zip(role_assignment.c, assignment, strict=True)))
