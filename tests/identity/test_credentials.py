"""The files that let clients in, after the first start: another URL, another password, links and strangers' lines."""

import asyncio
import shlex
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from openevs.commands import reset_password
from openevs.commands.failure import Failure
from openevs.identity.bootstrap import Bootstrap
from openevs.identity.credentials import move_credentials, replace_password, write_credentials
from openevs.store.identity.access_keys import AccessKey
from openevs.testing.application import Running, running, settings_for

KEY = AccessKey("AK", "S'K", "u", "p", "", enabled=True, created_at=datetime(2026, 1, 1, tzinfo=UTC))
MADE = Bootstrap("admin", "demo", "demo", "p" * 32, "secret-a", "secret-d", KEY)


def clouds(folder: Path) -> Any:
    """Return what clouds.yaml says, by cloud."""
    return yaml.safe_load((folder / "clouds.yaml").read_text())["clouds"]


def variables(folder: Path) -> dict[str, str]:
    """Return what openrc exports."""
    words = shlex.split((folder / "openrc").read_text())
    return dict(word.split("=", 1) for word in words if "=" in word)


def test_what_huaweis_sdks_look_for(tmp_path: Path) -> None:
    write_credentials(tmp_path, "http://a.test:1/", "eu-de", MADE)
    found = {name: value for name, value in variables(tmp_path).items() if name.startswith("HUAWEICLOUD")}
    assert found == {
        "HUAWEICLOUD_SDK_AK": "AK",
        "HUAWEICLOUD_SDK_SK": "S'K",
        "HUAWEICLOUD_SDK_PROJECT_ID": "p" * 32,
        "HUAWEICLOUD_SDK_IAM_ENDPOINT": "http://a.test:1",
        "HUAWEICLOUD_SDK_REGION_EVS_EU_DE": "http://a.test:1",
        "HUAWEICLOUD_SDK_REGION_IAM_EU_DE": "http://a.test:1",
    }
    write_credentials(tmp_path, "http://a.test:1/", "a region; rm", MADE)
    assert not any("REGION" in name for name in variables(tmp_path))


def test_another_url(tmp_path: Path) -> None:
    write_credentials(tmp_path, "http://a.test:1", "eu-de-1", MADE)
    with (tmp_path / "clouds.yaml").open("a") as file:
        file.write('  other:\n    auth:\n      auth_url: "http://other.test/identity/v3"\n')
    with (tmp_path / "openrc").open("a") as file:
        file.write("export HUAWEICLOUD_SDK_STS_ENDPOINT=http://other.test\nexport OURS=http://a.test:1\n")
    before = clouds(tmp_path), variables(tmp_path)
    assert move_credentials(tmp_path, "http://a.test:1/") == []
    assert move_credentials(tmp_path, "http://b.test:2/") == [tmp_path / "clouds.yaml", tmp_path / "openrc"]
    expected_clouds, expected_variables = before
    for name in ("openevs", "openevs-admin"):
        expected_clouds[name]["auth"]["auth_url"] = "http://b.test:2/identity/v3"
    expected_variables |= {
        "OS_AUTH_URL": "http://b.test:2/identity/v3",
        "HUAWEICLOUD_SDK_IAM_ENDPOINT": "http://b.test:2",
        "HUAWEICLOUD_SDK_REGION_EVS_EU_DE_1": "http://b.test:2",
        "HUAWEICLOUD_SDK_REGION_IAM_EU_DE_1": "http://b.test:2",
    }
    assert (clouds(tmp_path), variables(tmp_path)) == (expected_clouds, expected_variables)
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("clouds.yaml", "openrc")} == {0o600}


def test_another_password(tmp_path: Path) -> None:
    write_credentials(tmp_path, "http://a.test:1", "eu-de", MADE)
    assert replace_password(tmp_path, "nobody", "x") == []
    assert replace_password(tmp_path, "admin", r"\1 'new' \"one\"") == [tmp_path / "clouds.yaml"]
    assert replace_password(tmp_path, "demo", r"\1 'new' \"two\"") == [tmp_path / "clouds.yaml", tmp_path / "openrc"]
    assert clouds(tmp_path)["openevs-admin"]["auth"]["password"] == r"\1 'new' \"one\""
    assert clouds(tmp_path)["openevs"]["auth"]["password"] == r"\1 'new' \"two\""
    assert variables(tmp_path)["OS_PASSWORD"] == r"\1 'new' \"two\""


def test_links_and_missing_files_are_left_alone(tmp_path: Path) -> None:
    assert move_credentials(tmp_path, "http://b.test") == []
    (tmp_path / "real").mkdir()
    for path in write_credentials(tmp_path / "real", "http://a.test", "eu-de", MADE):
        (tmp_path / path.name).symlink_to(path)
    assert move_credentials(tmp_path, "http://b.test") == []
    assert replace_password(tmp_path, "demo", "x") == []
    (tmp_path / "real" / "openrc").write_text("export OS_AUTH_URL='unclosed\n")
    (tmp_path / "real" / "clouds.yaml").write_bytes(b"\xff\xfe")
    assert move_credentials(tmp_path / "real", "http://b.test") == []


def mode(path: Path) -> int:
    """Return the permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


def test_the_database_is_its_owners_alone(tmp_path: Path) -> None:
    async def start(it_folder: Path) -> Running:
        async with running(it_folder) as it:
            names = ("openevs.db", "openevs.db-wal", "openevs.db-shm")
            assert {mode(it_folder / name) for name in names} == {0o600}
            return it

    folder = tmp_path / "data"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    assert asyncio.run(start(folder)).made.is_new
    (folder / "openevs.db").chmod(0o644)
    assert not asyncio.run(start(folder)).made.is_new
    assert mode(folder) == 0o755
    asyncio.run(start(tmp_path / "new"))
    assert mode(tmp_path / "new") == 0o700


def test_reset_password(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    with pytest.raises(Failure, match="holds no service"):
        reset_password.run(settings, "demo")

    async def first() -> Bootstrap:
        async with running(tmp_path) as it:
            client = await it.client()
            with pytest.raises(Failure, match="is running"):
                reset_password.run(settings, "demo")
            assert (await client.call("GET", "/v3/{p}/volumes")).status_code == 200
            return it.made

    made = asyncio.run(first())
    with pytest.raises(Failure, match="no user named nobody"):
        reset_password.run(settings, "nobody")
    done = reset_password.run(settings, "demo")
    assert done.password not in repr(done)
    assert done.password == variables(tmp_path)["OS_PASSWORD"] == clouds(tmp_path)["openevs"]["auth"]["password"]
    assert done.password != made.demo_password

    async def then() -> None:
        async with running(tmp_path) as it:
            await it.client("demo", done.password)
            await it.client("admin", made.admin_password)

    asyncio.run(then())
