"""Settings of what clients see: the server, the API, the log."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta


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
    settle_seconds: Annotated[
        float,
        Meta(
            ge=0,
            description="How long showing something that is being worked on waits for that work to end; 0: not at all.",
        ),
    ] = 0.25
    wait_seconds: Annotated[
        float,
        Meta(
            gt=0,
            description="How long a call that must answer with a result (a connection, say) waits for the work behind it.",
        ),
    ] = 30.0


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


class Log(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Logging, to standard error."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="Least severity that is written.")
    ] = "info"
    format: Annotated[
        Literal["auto", "text", "json"], Meta(description="`auto`: text on a terminal, JSON otherwise.")
    ] = "auto"
