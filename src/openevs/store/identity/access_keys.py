"""Access keys in the database."""

from datetime import datetime
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from openevs.store.database import Tx
from openevs.store.identity.roles import names_of_roles
from openevs.store.tables import access_key, project, user


class AccessKey(NamedTuple):
    """A key to sign requests with, in the order of the table's columns."""

    access: str
    """Its id, which every request shows."""
    secret: str
    user_id: str
    project_id: str | None
    """The project of a request that names none."""
    description: str
    enabled: bool
    created_at: datetime

    def __repr__(self) -> str:
        """Without the secret."""
        return f"AccessKey(access={self.access!r}, user_id={self.user_id!r}, enabled={self.enabled})"


class KeyFacts(NamedTuple):
    """A key and the present state of its user."""

    key: AccessKey
    user_name: str
    user_enabled: bool


class ProjectFacts(NamedTuple):
    """A project as a user sees it."""

    name: str
    roles: frozenset[str]
    """Names of the user's roles on it, without implied ones."""


# Made once, as they are on the path of every signed request.
_BY_ACCESS: Final = (
    sa.select(access_key, user.c.name, user.c.enabled)
    .select_from(access_key.join(user, user.c.id == access_key.c.user_id))
    .where(access_key.c.access == sa.bindparam("wanted"))
)
_PROJECT_NAME: Final = sa.select(project.c.name).where(project.c.id == sa.bindparam("wanted"), project.c.enabled)


def insert_access_key(tx: Tx, new: AccessKey) -> None:
    """Insert a key."""
    tx.execute(access_key.insert().values(new._asdict()))


def find_access_key(tx: Tx, access: str) -> KeyFacts | None:
    """Return a key by its id, enabled or not."""
    row = tx.execute(_BY_ACCESS, {"wanted": access}).one_or_none()
    return None if row is None else KeyFacts(AccessKey(*row[:7]), *row[7:])


def find_project_facts(tx: Tx, project_id: str, user_id: str) -> ProjectFacts | None:
    """Return an enabled project as a user sees it."""
    name = tx.execute(_PROJECT_NAME, {"wanted": project_id}).scalar_one_or_none()
    return None if name is None else ProjectFacts(name, names_of_roles(tx, user_id, "project", project_id))


def list_access_keys(tx: Tx, user_id: str) -> list[AccessKey]:
    """Return a user's keys, oldest first."""
    query = sa.select(access_key).where(access_key.c.user_id == user_id)
    return [AccessKey(*row) for row in tx.execute(query.order_by(access_key.c.created_at, access_key.c.access))]


def update_access_key(tx: Tx, access: str, changes: dict[str, Any]) -> bool:
    """Change columns of one key; return False when there is none."""
    query = access_key.update().where(access_key.c.access == access)
    return tx.execute(query.values(**changes)).rowcount == 1


def delete_access_key(tx: Tx, access: str) -> bool:
    """Delete a key; return False when there was none."""
    return tx.execute(access_key.delete().where(access_key.c.access == access)).rowcount == 1
