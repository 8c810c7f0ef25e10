"""Every setting: one frozen struct per section, each default with its reason.

Sources, later ones win: the default, a TOML file (`--config`, or OPENEVS_CONFIG), an environment variable
`OPENEVS_SECTION_NAME`, the command line. `openevs show-config` prints what is in force and where it came from.
The texts here are the ones in docs/configuration.md; a test fails when one is missing.
"""

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

SECRET = "secret"  # noqa: S105 - a marker, not a password


class SettingsError(Exception):
    """A setting is unknown or has an unusable value; the message names it and what to write instead."""


class Server(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The HTTP server."""

    host: Annotated[
        str, Meta(description="Address to listen on. Loopback: passwords travel in clear without a TLS proxy in front.")
    ] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="Port to listen on; Cinder's own. 0 takes a free one.")] = (
        8776
    )
    public_url: Annotated[
        str, Meta(description="Base URL that links and the catalog show; empty: taken from each request's Host header.")
    ] = ""
    max_body_bytes: Annotated[
        int,
        Meta(
            ge=1024,
            description="Largest request body; room for 1 MiB of metadata, the API's own limit, and its JSON escapes.",
        ),
    ] = 2_097_152
    request_timeout_seconds: Annotated[
        float, Meta(gt=0, description="Time a client has to send its whole body; slower ones get 408.")
    ] = 30.0
    wait_seconds: Annotated[
        float,
        Meta(
            gt=0,
            description="How long a call that must answer with a result (a connection, say) waits for the work behind it.",
        ),
    ] = 30.0


class Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where things are kept."""

    folder: Annotated[str, Meta(description="Everything OpenEVS keeps, unless a setting below says otherwise.")] = (
        "data"
    )
    database_url: Annotated[str, Meta(description="SQLAlchemy URL; empty: SQLite in the data folder.")] = ""
    pool_folder: Annotated[
        str, Meta(description="The pool of layers; empty: `pool` in the data folder. Any file system will do.")
    ] = ""
    run_folder: Annotated[
        str,
        Meta(
            description="Sockets and process ids; empty: `run` in the data folder. The path must be short: a socket's may have 107 bytes."
        ),
    ] = ""


class Api(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the API says."""

    profile: Annotated[
        Literal["service", "cloud"],
        Meta(
            description="`service`: generous limits. `cloud`: limits and refusals as the public cloud documents them (7 snapshots per disk, its default quotas)."
        ),
    ] = "service"
    region: Annotated[str, Meta(description="Region in the catalog.")] = "RegionOne"
    availability_zone: Annotated[
        str,
        Meta(
            description="The one availability zone; Cinder's usual default, so that clients that name it work unchanged."
        ),
    ] = "nova"
    max_list_items: Annotated[
        int, Meta(ge=1, le=1000, description="Most items in one page; the API's own limit is 1000.")
    ] = 1000
    max_volume_gib: Annotated[int, Meta(ge=1, description="Largest volume; 16 TiB is the largest that is tested.")] = (
        16384
    )
    snapshots_per_volume: Annotated[
        int,
        Meta(ge=1, description="Most snapshots of one volume in profile `service`; in `cloud` it is 7, as documented."),
    ] = 1024
    volume_types: Annotated[
        str,
        Meta(
            pattern=r"^([\w.-]+(,[\w.-]+)*)?$",
            description="Volume types that a start makes beside the default one, separated by commas: names of the public cloud, so that what asks for them works as it is. Empty: none.",
        ),
    ] = "SATA,SAS,SSD,GPSSD,ESSD,GPSSD2,ESSD2"
    client_token_hours: Annotated[
        float, Meta(gt=0, description="How long an X-Client-Token is remembered; the public cloud's 8 hours.")
    ] = 8.0
    default_group_type: Annotated[
        str, Meta(description="Name of the group type that `group_types/default` shows; empty: there is none.")
    ] = ""


class Engine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What holds the bytes."""

    kind: Annotated[
        Literal["layers", "memory"],
        Meta(
            description="`layers`: qcow2 layers served by qemu-storage-daemon. `memory`: nothing survives a restart; for tests."
        ),
    ] = "layers"
    backends: Annotated[
        str,
        Meta(
            pattern=r"^([\w.-]+(,[\w.-]+)*)?$",
            description="Names under which the pool is offered (`volume_backend_name` of volume types), separated by commas; empty: the kind. Several are for automation that chooses between backends: the pool is one.",
        ),
    ] = ""
    call_timeout_seconds: Annotated[
        float,
        Meta(
            gt=0, description="An engine call that takes longer counts as having an unknown outcome and is made again."
        ),
    ] = 120.0
    merge: Annotated[
        bool,
        Meta(description="Merge layers that nothing needs any more, in the background. Off only to look into a pool."),
    ] = True
    transport: Annotated[
        Literal["unix", "tcp"],
        Meta(
            description="How attached volumes are served unless the connector asks otherwise: a unix socket, or TCP with TLS-PSK."
        ),
    ] = "unix"
    nbd_host: Annotated[str, Meta(description="Address on which volumes are served over TCP.")] = "127.0.0.1"
    nbd_ports: Annotated[
        str, Meta(pattern=r"^\d+-\d+$", description="Ports for volumes served over TCP; one each.")
    ] = "10809-11833"


class Backups(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where backups are kept."""

    kind: Annotated[
        Literal["folder", "s3"],
        Meta(description="`folder`: files, on any file system. `s3`: a bucket of any S3-compatible store."),
    ] = "folder"
    folder: Annotated[
        str,
        Meta(
            description="Folder of backups; empty: `backups` in the data folder. Another one must be there: if it is not, a disk is not mounted. Better on another disk than the pool's."
        ),
    ] = ""
    compression_level: Annotated[
        int,
        Meta(ge=1, le=19, description="zstd's level; its own default. 1 is half as much work for a tenth more room."),
    ] = 3
    key_file: Annotated[
        str,
        Meta(
            description="File with the key that backups are encrypted with, 64 hexadecimal digits (`openssl rand -hex 32`); empty: not encrypted. Who loses it loses the backups."
        ),
    ] = ""
    s3_endpoint: Annotated[str, Meta(description="URL of the S3 store; empty: Amazon's own for the region.")] = ""
    s3_bucket: Annotated[str, Meta(description="Bucket; it must be there.")] = ""
    s3_prefix: Annotated[
        str, Meta(description="What the names of all objects begin with, so that a bucket can be shared.")
    ] = "openevs/"
    s3_region: Annotated[str, Meta(description="Region of the bucket; what most stores accept that have none.")] = (
        "us-east-1"
    )
    s3_access_key: Annotated[
        str,
        Meta(description="Access key; empty: from where S3 clients usually take it (AWS_ACCESS_KEY_ID, a profile)."),
    ] = ""
    s3_secret_key: Annotated[
        str, Meta(description="Secret key. Never shown or logged; rather in the environment than in a file.")
    ] = ""


class Operations(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Durable work."""

    workers: Annotated[int, Meta(ge=1, description="Operations at a time; they mostly wait for storage.")] = 16
    lease_seconds: Annotated[
        float,
        Meta(gt=0, description="A node that does not renew for this long has lost its work; renewed at a third of it."),
    ] = 30.0
    scan_seconds: Annotated[
        float, Meta(gt=0, description="Pause between two looks for work that no bell announced.")
    ] = 2.0
    retry_seconds: Annotated[
        float,
        Meta(gt=0, description="Pause before the first repeat of a failed step; doubled each time, up to a minute."),
    ] = 0.5
    attempts: Annotated[
        int, Meta(ge=1, description="Tries of a step before the operation fails (forward-only kinds never give up).")
    ] = 8
    sweep_seconds: Annotated[
        float, Meta(gt=0, description="Pause between two comparisons of storage with the database.")
    ] = 300.0
    keep_days: Annotated[
        float,
        Meta(
            gt=0,
            description="How long finished operations are kept. What a sweep may delete it must find here, so rather longer than anybody is away.",
        ),
    ] = 30.0
    keep_events_days: Annotated[
        float, Meta(gt=0, description="How long the history of resources is kept: a quarter, for whoever looks back.")
    ] = 90.0


class Identity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who may do what: the embedded Keystone-compatible identity service, or an external Keystone."""

    kind: Annotated[
        Literal["embedded", "keystone"],
        Meta(
            description="`embedded`: projects, users and tokens are OpenEVS's own. `keystone`: they are an existing Keystone's, and only the settings `keystone_…` count. Embedded is what runs without anything else."
        ),
    ] = "embedded"
    keystone_url: Annotated[
        str,
        Meta(
            pattern=r"^(https?://[^/\s]+(/\S*)?)?$",
            description="URL of the external Keystone with its version, as `http://controller:5000/v3`.",
        ),
    ] = ""
    keystone_user: Annotated[
        str, Meta(description="User as whom OpenEVS asks; it needs the role `service` or `admin` to validate tokens.")
    ] = "openevs"
    keystone_password: Annotated[str, Meta(description="Its password; better in the environment than in a file.")] = ""
    keystone_project: Annotated[str, Meta(description="Its project; `service` is what installers call it.")] = "service"
    keystone_user_domain: Annotated[str, Meta(description="Name of the user's domain; Keystone's first one.")] = (
        "Default"
    )
    keystone_project_domain: Annotated[str, Meta(description="Name of the project's domain; as above.")] = "Default"
    keystone_ca_file: Annotated[
        str, Meta(description="Certificates by which an https Keystone is trusted; empty: the system's.")
    ] = ""
    keystone_roles: Annotated[
        str,
        Meta(
            description="Keystone's roles that count, each with the role that it is here if it has another name: `cloud_admin=admin,member`. The default has those of Keystone's own bootstrap; its `manager` may here what a `member` may."
        ),
    ] = "admin,manager=member,member,reader,service"
    keystone_cache_seconds: Annotated[
        float,
        Meta(
            ge=0,
            description="How long an answer about a token is kept: a revoked token is refused after this at the latest. Half a minute makes one question of a busy client's hundreds.",
        ),
    ] = 30.0
    keystone_timeout_seconds: Annotated[
        float, Meta(gt=0, description="How long Keystone may take to answer; then the client gets 503.")
    ] = 10.0
    token_hours: Annotated[float, Meta(gt=0, description="Lifetime of a token; the public cloud's 24 hours.")] = 24.0
    admin_user: Annotated[
        str, Meta(min_length=1, description="Name of the administrator that the first start makes.")
    ] = "admin"
    demo_project: Annotated[str, Meta(min_length=1, description="Name of the project that the first start makes.")] = (
        "demo"
    )
    login_failures: Annotated[
        int, Meta(ge=1, description="Failed logins of one user in a row before further ones are made to wait.")
    ] = 5
    login_wait_seconds: Annotated[float, Meta(ge=0, description="How long they are made to wait at most.")] = 300.0
    password_hash_mib: Annotated[
        int, Meta(ge=1, le=1024, description="Memory that one password check takes (scrypt): what makes guessing dear.")
    ] = 32
    access_keys: Annotated[
        int, Meta(ge=1, description="Access keys (AK/SK) that a user may have; the public cloud allows 2.")
    ] = 10


class Quotas(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Default quotas of a project; -1 is no limit. In profile `cloud` the documented defaults apply to those left out."""

    volumes: Annotated[
        int, Meta(ge=-1, description="Volumes. Generous: a quota should stop a runaway loop, not a test suite.")
    ] = 10_000
    snapshots: Annotated[int, Meta(ge=-1, description="Snapshots. As above.")] = 200_000
    gigabytes: Annotated[
        int, Meta(ge=-1, description="GiB of volumes and snapshots, by their full size. As above.")
    ] = 100_000_000
    per_volume_gigabytes: Annotated[
        int, Meta(ge=-1, description="GiB of one volume; -1 leaves it to `api.max_volume_gib`.")
    ] = -1
    backups: Annotated[int, Meta(ge=-1, description="Backups.")] = 10_000
    backup_gigabytes: Annotated[int, Meta(ge=-1, description="GiB of backups.")] = 10_000_000
    groups: Annotated[int, Meta(ge=-1, description="Groups.")] = 1_000


CLOUD_QUOTAS = Quotas(
    volumes=10, snapshots=10, gigabytes=1000, per_volume_gigabytes=-1, backups=10, backup_gigabytes=1000, groups=10
)
"""Cinder's and the cloud's documented defaults (spec 3.5: the example limit is 10)."""
CLOUD_SNAPSHOTS_PER_VOLUME = 7


class Log(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Logging, to standard error."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="Least severity that is written.")
    ] = "info"
    format: Annotated[
        Literal["auto", "text", "json"], Meta(description="`auto`: text on a terminal, JSON otherwise.")
    ] = "auto"


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
            known = [
                f"OPENEVS_{s}_{f.name}".upper()
                for s, struct in SECTIONS.items()
                for f in msgspec.structs.fields(struct)
            ]
            raise SettingsError(
                f"There is no setting for the environment variable {variable}.{_nearest(variable, known)}"
            )
        _check_name(section, name, f"environment variable {variable}")
        given[section][name] = value
        origins[section, name] = f"environment variable {variable}"


def _check_name(section: str, name: str, where: str) -> None:
    names = [field.name for field in msgspec.structs.fields(SECTIONS[section])]
    if name not in names:
        raise SettingsError(f"{where}: there is no setting {section}.{name}.{_nearest(name, names, section + '.')}")


def _nearest(word: str, known: Any, prefix: str = "") -> str:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" Did you mean {prefix}{close[0]}?" if close else ""


def _convert(section: str, values: dict[str, Any]) -> Any:
    fields = {field.name: field.type for field in msgspec.structs.fields(SECTIONS[section])}
    converted: dict[str, Any] = {}
    for name, value in values.items():
        try:
            converted[name] = msgspec.convert(value, fields[name], strict=not isinstance(value, str))
        except msgspec.ValidationError as error:
            raise SettingsError(f"The setting {section}.{name} cannot be {value!r}: {error}.") from None
    return SECTIONS[section](**converted)
