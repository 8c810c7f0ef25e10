"""The first start: roles, an administrator, a project to begin with.

The passwords, and an access key for clients that sign their requests, are made here. The passwords exist in
clear only in what `bootstrap` returns and in the files that `credentials.write_credentials` makes of it; the database
keeps hashes.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Final, NamedTuple

from openevs.domain.ids import new_hex
from openevs.identity.access_keys import NewKey, make_access_key
from openevs.identity.passwords import make_hash, new_password
from openevs.identity.port import ADMIN, DOMAIN_ID, MEMBER, READER, SERVICE
from openevs.settings import Identity
from openevs.store.database import Database, Tx
from openevs.store.identity.access_keys import AccessKey, insert_access_key
from openevs.store.identity.projects import Project, find_project, insert_project
from openevs.store.identity.roles import Assignment, Role, insert_assignment, insert_role, list_roles
from openevs.store.identity.users import User, insert_user

DEMO_USER: Final = "demo"
ADMIN_PROJECT: Final = "admin"


class Bootstrap(NamedTuple):
    """What the first start made, or what is there since then."""

    admin_user: str
    demo_user: str
    demo_project: str
    demo_project_id: str | None
    """None when a later start finds the project renamed or deleted."""
    admin_password: str | None
    """None unless this start made the user; likewise `demo_password`."""
    demo_password: str | None
    access_key: AccessKey | None = None
    """The demo user's, on the demo project."""

    @property
    def is_new(self) -> bool:
        """Say whether this was the first start."""
        return self.admin_password is not None

    def __repr__(self) -> str:
        """Without the passwords: this may be logged."""
        return f"Bootstrap(is_new={self.is_new}, demo_project_id={self.demo_project_id!r})"


NOTHING: Final = Bootstrap("", "", "", None, None, None)
"""Where identity is an external Keystone's, there is nothing to make."""


class _Made(NamedTuple):
    roles: list[Role]
    projects: list[Project]
    users: list[User]
    assignments: list[Assignment]
    access_key: AccessKey


def _nothing(made: Bootstrap) -> None:
    return None


async def bootstrap(
    db: Database,
    settings: Identity,
    clock: Callable[[], datetime],
    keep: Callable[[Bootstrap], object] = _nothing,
) -> Bootstrap:
    """Fill an empty identity service; change nothing in one that was filled before.

    `keep` is called with the passwords just before they take effect. Whoever writes them down does it there: a crash
    between the two can then leave a file whose passwords are not valid yet, which the next start overwrites, but never
    valid passwords that nobody knows.
    """
    present = await db.read(_present, settings)
    if present is not None:
        return present
    admin_password, demo_password = new_password(), new_password()
    # On this thread: nothing else happens yet in a service that starts for the first time.
    made = _make(settings, clock(), admin_password, demo_password)
    result = Bootstrap(
        settings.admin_user,
        _demo_user(settings),
        settings.demo_project,
        made.projects[0].id,
        admin_password,
        demo_password,
        made.access_key,
    )
    return await db.write(_fill, settings, made, result, keep)


def _present(tx: Tx, settings: Identity) -> Bootstrap | None:
    if not list_roles(tx):
        return None
    demo = find_project(tx, settings.demo_project)
    return Bootstrap(
        settings.admin_user, _demo_user(settings), settings.demo_project, demo.id if demo else None, None, None
    )


def _fill(tx: Tx, settings: Identity, made: _Made, result: Bootstrap, keep: Callable[[Bootstrap], object]) -> Bootstrap:
    present = _present(tx, settings)
    if present is not None:
        return present
    for role in made.roles:
        insert_role(tx, role)
    for project in made.projects:
        insert_project(tx, project)
    for user in made.users:
        insert_user(tx, user)
    for assignment in made.assignments:
        insert_assignment(tx, assignment)
    insert_access_key(tx, made.access_key)
    keep(result)
    return result


def _make(settings: Identity, now: datetime, admin_password: str, demo_password: str) -> _Made:
    roles = {name: Role(new_hex(), name) for name in (ADMIN, MEMBER, READER, SERVICE)}
    projects = {
        name: Project(new_hex(), name, description, enabled=True)
        for name, description in (
            (settings.demo_project, "Made by the first start, to begin with."),
            (ADMIN_PROJECT, "Made by the first start, for the administrator."),
        )
    }
    demo, admin_project = projects[settings.demo_project], projects[ADMIN_PROJECT]

    def user(name: str, password: str, project: Project) -> User:
        kept = make_hash(password, settings.password_hash_mib)
        return User(new_hex(), name, kept, None, None, project.id, enabled=True, password_changed_at=now)

    admin = user(settings.admin_user, admin_password, admin_project)
    member = user(_demo_user(settings), demo_password, demo)
    assignments = [
        *(Assignment(admin.id, "project", project.id, roles[ADMIN].id) for project in projects.values()),
        Assignment(admin.id, "domain", DOMAIN_ID, roles[ADMIN].id),
        Assignment(member.id, "project", demo.id, roles[MEMBER].id),
    ]
    access_key = make_access_key(NewKey(member.id, "Made by the first start.", demo.id), now)
    return _Made(list(roles.values()), list(projects.values()), [admin, member], assignments, access_key)


def _demo_user(settings: Identity) -> str:
    # An administrator may be called anything, this too.
    return DEMO_USER if settings.admin_user != DEMO_USER else f"{DEMO_USER}-member"
