"""Users in the database."""

from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from openevs.store.database import Tx
from openevs.store.tables import user


class User(NamedTuple):
    """A user, in the order of the table's columns."""

    id: str
    name: str
    password_hash: str
    email: str | None
    description: str | None
    default_project_id: str | None
    enabled: bool
    password_changed_at: datetime


def insert_user(tx: Tx, new: User) -> bool:
    """Insert `new` and return True, or return False when its name is taken."""
    values = sa.select(*(sa.literal(value, column.type) for value, column in zip(new, user.c, strict=True)))
    free = ~sa.exists().where(user.c.name == new.name)
    return tx.execute(user.insert().from_select(list(user.c), values.where(free))).rowcount == 1


def get_user(tx: Tx, user_id: str) -> User | None:
    """Return the user of that id."""
    return _one(tx, user.c.id == user_id)


def find_user(tx: Tx, name: str) -> User | None:
    """Return the user of that name."""
    return _one(tx, user.c.name == name)


def list_users(tx: Tx, name: str | None = None, enabled: bool | None = None) -> list[User]:
    """Return the users that fit, by name."""
    query = sa.select(user).order_by(user.c.name)
    if name is not None:
        query = query.where(user.c.name == name)
    if enabled is not None:
        query = query.where(user.c.enabled == enabled)
    return [User(*row) for row in tx.execute(query)]


def update_user(tx: Tx, user_id: str, changes: dict[str, Any]) -> bool:
    """Change columns of one user and return True, or return False when the new name belongs to another."""
    if not changes:
        return True
    statement = user.update().where(user.c.id == user_id).values(**changes)
    if "name" in changes:
        other = user.alias()
        statement = statement.where(~sa.exists().where(other.c.name == changes["name"], other.c.id != user_id))
    return tx.execute(statement).rowcount == 1


def change_password(tx: Tx, user_id: str, old_hash: str, new_hash: str, now: datetime) -> bool:
    """Replace a password hash that is still `old_hash`; return False when it is not, or the user is gone."""
    statement = user.update().where(user.c.id == user_id, user.c.password_hash == old_hash)
    return tx.execute(statement.values(password_hash=new_hash, password_changed_at=now)).rowcount == 1


def delete_user(tx: Tx, user_id: str) -> bool:
    """Delete a user with its tokens and assignments; return False when there was none."""
    return tx.execute(user.delete().where(user.c.id == user_id)).rowcount == 1


def _one(tx: Tx, condition: sa.ColumnElement[bool]) -> User | None:
    row = tx.execute(sa.select(user).where(condition)).one_or_none()
    return None if row is None else User(*row)
