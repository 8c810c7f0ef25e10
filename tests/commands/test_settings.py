"""Settings: where values come from, and what is said of those that cannot be used."""

from pathlib import Path

import pytest

from openevs.commands.config import render
from openevs.settings import SECRETS, SettingsError, load


def test_later_sources_win(tmp_path: Path) -> None:
    config = tmp_path / "openevs.toml"
    config.write_text('[server]\nport = 1000\nhost = "127.0.0.2"\n[api]\nregion = "here"\n')
    environ = {"OPENEVS_SERVER_PORT": "2000", "OPENEVS_API_REGION": "there"}
    settings, origins = load(config, environ, {("server", "port"): "3000"})
    assert (settings.server.host, settings.server.port, settings.api.region) == ("127.0.0.2", 3000, "there")
    assert origins["server", "host"] == str(config)
    assert origins["server", "port"] == "command line"
    assert origins["api", "region"] == "environment variable OPENEVS_API_REGION"
    assert ("server", "wait_seconds") not in origins


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[server]\nprot = 1", "there is no setting server.prot. Did you mean server.port?"),
        ("[servr]\nport = 1", "there is no section [servr]. Did you mean server?"),
        ("server = 1", "server must be a section"),
        ("[server]\nport = 'x'", "The setting server.port cannot be 'x'"),
        ("[server]\nport = 70000", "The setting server.port cannot be 70000"),
        ("[api]\nprofile = 'clod'", "The setting api.profile cannot be 'clod': it may be 'service' or 'cloud'."),
        ("[server", "is not valid TOML"),
    ],
)
def test_unusable_file_names_the_setting(tmp_path: Path, text: str, said: str) -> None:
    config = tmp_path / "openevs.toml"
    config.write_text(text)
    with pytest.raises(SettingsError) as error:
        load(config, {})
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("OPENEVS_SERVER_PROT", "Did you mean OPENEVS_SERVER_PORT?"),
        ("OPENEVS_SERVER__PORT", "Did you mean OPENEVS_SERVER_PORT?"),
        ("OPENEVS_SEVER_PORT", "Did you mean OPENEVS_SERVER_PORT?"),
    ],
)
def test_unknown_variable_names_the_nearest(variable: str, said: str) -> None:
    with pytest.raises(SettingsError) as error:
        load(None, {variable: "1"})
    assert said in str(error.value)


def test_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load(tmp_path / "none.toml", {})


def test_profile_cloud_has_the_documented_quotas_unless_set() -> None:
    environ = {"OPENEVS_API_PROFILE": "cloud", "OPENEVS_QUOTAS_VOLUMES": "77"}
    settings, origins = load(None, environ)
    assert (settings.quotas.volumes, settings.quotas.snapshots, settings.quotas.gigabytes) == (77, 10, 1000)
    assert origins["quotas", "snapshots"] == "profile cloud"
    assert origins["quotas", "volumes"] == "environment variable OPENEVS_QUOTAS_VOLUMES"


def test_show_config_masks_secrets_and_names_origins() -> None:
    environ = {
        "OPENEVS_DATA_DATABASE_URL": "postgresql://openevs:hunter2@db.example/openevs",
        "OPENEVS_BACKUPS_S3_SECRET_KEY": "hunter2",
    }
    text = render(*load(None, environ))
    assert "hunter2" not in text
    assert "postgresql://openevs:***@db.example/openevs" in text
    assert "# environment variable OPENEVS_DATA_DATABASE_URL" in text
    assert "port = 8776" in text


def test_a_secret_of_the_wrong_kind_is_not_repeated(tmp_path: Path) -> None:
    config = tmp_path / "openevs.toml"
    for section, name in sorted(SECRETS):
        config.write_text(f"[{section}]\n{name} = 271828182845\n")
        with pytest.raises(SettingsError) as error:
            load(config, environ={})
        assert f"{section}.{name}" in str(error.value)
        assert "271828" not in str(error.value)
