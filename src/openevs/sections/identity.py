"""Settings of who may do what."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta


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
