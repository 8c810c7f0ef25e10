"""All settings, and where they come from; each section is a struct in `openevs.sections`, with its defaults' reasons.

Sources, later ones win: the default, a TOML file (`--config`, or OPENEVS_CONFIG), an environment variable
`OPENEVS_SECTION_NAME`, the command line. `openevs show-config` prints what is in force and where it came from.
The texts there are the ones in docs/configuration.md; a test fails when one is missing.
"""

import difflib
import os
import tomllib
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec

from openevs.sections.identity import Identity
from openevs.sections.quotas import CLOUD_QUOTAS, CLOUD_SNAPSHOTS_PER_VOLUME, Quotas
from openevs.sections.serving import Api, Log, Server
from openevs.sections.storage import Backups, Data, Engine
from openevs.sections.work import Operations

__all__ = [
    "CLOUD_SNAPSHOTS_PER_VOLUME",
    "SECRETS",
    "SECTIONS",
    "Api",
    "Backups",
    "Data",
    "Engine",
    "Identity",
    "Log",
    "Operations",
    "Origins",
    "Quotas",
    "Server",
    "Settings",
    "SettingsError",
    "load",
]

SECRETS = frozenset({("backups", "s3_secret_key"), ("identity", "keystone_password")})
"""Settings whose values are shown nowhere."""


class SettingsError(Exception):
    """A setting is unknown or has an unusable value; the message names it and what to write instead."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All settings."""

    server: Server = msgspec.field(default_factory=Server)
    data: Data = msgspec.field(default_factory=Data)
    api: Api = msgspec.field(default_factory=Api)
    engine: Engine = msgspec.field(default_factory=Engine)
    backups: Backups = msgspec.field(default_factory=Backups)
    operations: Operations = msgspec.field(default_factory=Operations)
    identity: Identity = msgspec.field(default_factory=Identity)
    quotas: Quotas = msgspec.field(default_factory=Quotas)
    log: Log = msgspec.field(default_factory=Log)

    @property
    def data_folder(self) -> Path:
        """The data folder, absolute."""
        return Path(self.data.folder).expanduser().absolute()

    @property
    def database_url(self) -> str:
        """The database's URL, with its default filled in."""
        return self.data.database_url or f"sqlite:///{self.data_folder / 'openevs.db'}"

    @property
    def pool_folder(self) -> Path:
        """The pool's folder, with its default filled in."""
        return (
            Path(self.data.pool_folder).expanduser().absolute() if self.data.pool_folder else self.data_folder / "pool"
        )

    @property
    def run_folder(self) -> Path:
        """The folder of sockets and process ids, with its default filled in."""
        return Path(self.data.run_folder).expanduser().absolute() if self.data.run_folder else self.data_folder / "run"


SECTIONS: dict[str, type[msgspec.Struct]] = {field.name: field.type for field in msgspec.structs.fields(Settings)}
Origins = dict[tuple[str, str], str]
"""Where a setting's value came from, for those that are not the default: (section, name) → a phrase."""


def load(
    config: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    overrides: Mapping[tuple[str, str], str] | None = None,
) -> tuple[Settings, Origins]:
    """Return the settings in force and where each came from. Raises SettingsError, which names the setting."""
    given: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
    origins: Origins = {}
    if config is None and environ.get("OPENEVS_CONFIG"):
        config = Path(environ["OPENEVS_CONFIG"])
    if config is not None:
        _read_file(config, given, origins)
    _read_environment(environ, given, origins)
    for (section, name), value in (overrides or {}).items():
        given[section][name] = value
        origins[section, name] = "command line"
    settings = Settings(**{name: _convert(name, given[name]) for name in SECTIONS})
    if settings.identity.kind == "keystone":
        for name in ("keystone_url", "keystone_user", "keystone_password", "keystone_project"):
            if not getattr(settings.identity, name):
                raise SettingsError(f"The setting identity.{name} must be given when identity.kind is 'keystone'.")
    if settings.api.profile == "cloud":
        kept = {name: given["quotas"][name] for name in given["quotas"]}
        documented = {**msgspec.structs.asdict(CLOUD_QUOTAS), **kept}
        for name in documented.keys() - kept.keys():
            origins["quotas", name] = "profile cloud"
        settings = msgspec.structs.replace(settings, quotas=_convert("quotas", documented))
    return settings, origins


def _read_file(path: Path, given: dict[str, dict[str, Any]], origins: Origins) -> None:
    try:
        document = tomllib.loads(path.read_text())
    except OSError as error:
        raise SettingsError(f"The configuration file {path} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"The configuration file {path} is not valid TOML: {error}.") from None
    for section, values in document.items():
        if section not in SECTIONS:
            raise SettingsError(f"{path}: there is no section [{section}].{_nearest(section, SECTIONS)}")
        if not isinstance(values, dict):
            raise SettingsError(f"{path}: {section} must be a section, [{section}], not a value.")
        for name, value in values.items():
            _check_name(section, name, str(path))
            given[section][name] = value
            origins[section, name] = str(path)


def _read_environment(environ: Mapping[str, str], given: dict[str, dict[str, Any]], origins: Origins) -> None:
    for variable, value in sorted(environ.items()):
        if not variable.startswith("OPENEVS_") or variable == "OPENEVS_CONFIG":
            continue
        section, _, name = variable.removeprefix("OPENEVS_").lower().partition("_")
        if section not in SECTIONS:
            known = [_variable(s, f.name) for s, struct in SECTIONS.items() for f in msgspec.structs.fields(struct)]
            raise SettingsError(
                f"There is no setting for the environment variable {variable}.{_nearest(variable, known)}"
            )
        _check_name(section, name, f"environment variable {variable}", _variable)
        given[section][name] = value
        origins[section, name] = f"environment variable {variable}"


def _variable(section: str, name: str) -> str:
    return f"OPENEVS_{section}_{name}".upper()


def _check_name(section: str, name: str, where: str, written: Callable[[str, str], str] = "{}.{}".format) -> None:
    names = [field.name for field in msgspec.structs.fields(SECTIONS[section])]
    if name not in names:
        nearest = _nearest(name, names, partial(written, section))
        raise SettingsError(f"{where}: there is no setting {section}.{name}.{nearest}")


def _nearest(word: str, known: Iterable[str], written: Callable[[str], str] = str) -> str:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" Did you mean {written(close[0])}?" if close else ""


def _convert(section: str, values: dict[str, Any]) -> Any:
    fields = {field.name: field.type for field in msgspec.structs.fields(SECTIONS[section])}
    converted: dict[str, Any] = {}
    for name, value in values.items():
        try:
            converted[name] = msgspec.convert(value, fields[name], strict=not isinstance(value, str))
        except msgspec.ValidationError as error:
            given = "what is given" if (section, name) in SECRETS else repr(value)
            choices = _choices(fields[name])
            why = f"it may be {' or '.join(map(repr, choices))}" if choices else str(error)
            raise SettingsError(f"The setting {section}.{name} cannot be {given}: {why}.") from None
    return SECTIONS[section](**converted)


def _choices(kind: Any) -> tuple[str, ...]:
    """Return the only values that a setting of this type may have, if they are few."""
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    return get_args(kind) if get_origin(kind) is Literal else ()
