"""The first start, later starts, and the files that let clients in."""

import asyncio
import shlex
import stat
from pathlib import Path

import pytest
import yaml

from openevs.identity.bootstrap import Bootstrap, bootstrap
from openevs.identity.credentials import write_credentials
from openevs.settings import Identity
from openevs.store.database import Database
from openevs.store.identity.projects import list_projects
from openevs.store.identity.roles import list_assignments, list_roles
from openevs.store.identity.users import list_users
from openevs.testing.clock import ManualClock

SETTINGS = Identity(password_hash_mib=1)


def test_first_start_makes_what_is_needed_and_later_ones_change_nothing(db: Database) -> None:
    first = asyncio.run(bootstrap(db, SETTINGS, ManualClock()))
    assert first.is_new
    assert first.demo_password != first.admin_password
    state = [db.read_now(fn) for fn in (list_users, list_projects, list_roles, list_assignments)]
    assert {role.name for role in db.read_now(list_roles)} == {"admin", "member", "reader", "service"}
    assert {(a.user_name, a.role_name, a.project_name) for a in db.read_now(list_assignments)} == {
        ("admin", "admin", "admin"),
        ("admin", "admin", "demo"),
        ("admin", "admin", None),
        ("demo", "member", "demo"),
    }

    second = asyncio.run(bootstrap(db, SETTINGS, ManualClock()))
    assert not second.is_new
    assert second.demo_project_id == first.demo_project_id
    assert [db.read_now(fn) for fn in (list_users, list_projects, list_roles, list_assignments)] == state


@pytest.mark.parametrize(
    "settings",
    [
        Identity(password_hash_mib=1, demo_project="admin"),
        Identity(password_hash_mib=1, admin_user="demo"),
    ],
)
def test_names_from_the_settings_may_coincide_with_ours(db: Database, settings: Identity) -> None:
    made = asyncio.run(bootstrap(db, settings, ManualClock()))
    assert made.admin_user != made.demo_user
    assert len(db.read_now(list_users)) == 2


def test_passwords_that_could_not_be_written_down_never_take_effect(db: Database) -> None:
    def fail(made: Bootstrap) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        asyncio.run(bootstrap(db, SETTINGS, ManualClock(), keep=fail))
    assert asyncio.run(bootstrap(db, SETTINGS, ManualClock())).is_new


def test_credentials_are_readable_by_their_owner_alone_and_by_every_yaml_parser(tmp_path: Path) -> None:
    made = Bootstrap('ad"min', "demo", "x: 'y' # ü\U0001f600", "p", "secret-a", "secret-d")
    paths = write_credentials(tmp_path, "http://evs.test:8776/", "RegionOne", made)
    assert [path.name for path in paths] == ["clouds.yaml", "openrc"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o600}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clouds.yaml", "openrc"]
    clouds = yaml.safe_load(paths[0].read_text())["clouds"]
    assert clouds["openevs"]["auth"] == {
        "auth_url": "http://evs.test:8776/identity/v3",
        "username": "demo",
        "password": "secret-d",
        "project_name": made.demo_project,
        "user_domain_name": "Default",
        "project_domain_name": "Default",
    }
    assert clouds["openevs-admin"]["auth"]["username"] == 'ad"min'
    assert clouds["openevs-admin"]["auth"]["password"] == "secret-a"
    words = shlex.split(paths[1].read_text())
    assert f"OS_PROJECT_NAME={made.demo_project}" in words
    assert "secret" not in repr(made)
    with pytest.raises(ValueError, match="no passwords"):
        write_credentials(tmp_path, "http://evs.test", "RegionOne", made._replace(demo_password=None))
