"""Settings of where things are kept: the data folder, the engine, the backups."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta


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
