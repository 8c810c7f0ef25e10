"""What clients send to the identity API: Keystone v3's bodies, with envelopes, so that errors name whole paths."""

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType


class DomainRef(Struct):
    """A domain, by id or name."""

    id: str | None = None
    name: str | None = None


class UserLogin(Struct):
    """A user, by id or by name in a domain, with a password."""

    password: str
    id: str | None = None
    name: str | None = None
    domain: DomainRef | None = None


class ProjectRef(Struct):
    """A project, by id or by name in a domain."""

    id: str | None = None
    name: str | None = None
    domain: DomainRef | None = None


class PasswordMethod(Struct):
    """What the method `password` needs."""

    user: UserLogin


class TokenMethod(Struct):
    """What the method `token` needs."""

    id: str


class IdentityPart(Struct):
    """Who the caller is, and how that is proved."""

    methods: list[str]
    password: PasswordMethod | None = None
    token: TokenMethod | None = None


class ScopePart(Struct):
    """What the token is to be for; one of these."""

    project: ProjectRef | None = None
    domain: DomainRef | None = None
    unscoped: dict[str, Any] | None = None
    system: dict[str, Any] | None = None


class AuthPart(Struct):
    """A request for a token."""

    identity: IdentityPart
    scope: ScopePart | str | None = None


class AuthBody(Struct):
    """Body of POST auth/tokens."""

    auth: AuthPart


class ProjectCreate(Struct):
    """A new project. Domain and parent may be named, but there is only one."""

    name: str
    description: str | None = None
    enabled: bool = True
    domain_id: str | None = None
    parent_id: str | None = None
    is_domain: bool = False


class ProjectCreateBody(Struct):
    """Body of POST projects."""

    project: ProjectCreate


class ProjectUpdate(Struct):
    """Changes of a project."""

    name: str | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET
    domain_id: str | None = None
    parent_id: str | None = None
    is_domain: bool = False


class ProjectUpdateBody(Struct):
    """Body of PATCH projects/{id}."""

    project: ProjectUpdate


class UserCreate(Struct):
    """A new user."""

    name: str
    password: str | None = None
    email: str | None = None
    description: str | None = None
    default_project_id: str | None = None
    enabled: bool = True
    domain_id: str | None = None


class UserCreateBody(Struct):
    """Body of POST users."""

    user: UserCreate


class UserUpdate(Struct):
    """Changes of a user by an administrator."""

    name: str | UnsetType = UNSET
    password: str | UnsetType = UNSET
    email: str | UnsetType | None = UNSET
    description: str | UnsetType | None = UNSET
    default_project_id: str | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET
    domain_id: str | None = None


class UserUpdateBody(Struct):
    """Body of PATCH users/{id}."""

    user: UserUpdate


class CredentialCreate(Struct):
    """A new access key."""

    user_id: str
    description: str | None = None
    project_id: str | None = None
    """Ours: the project of requests that name none; the caller's own if it is left out."""


class CredentialCreateBody(Struct):
    """Body of POST OS-CREDENTIAL/credentials."""

    credential: CredentialCreate


class CredentialUpdate(Struct):
    """Changes of an access key."""

    status: Literal["active", "inactive"] | UnsetType = UNSET
    description: str | UnsetType | None = UNSET


class CredentialUpdateBody(Struct):
    """Body of PUT OS-CREDENTIAL/credentials/{access}."""

    credential: CredentialUpdate


class PasswordChange(Struct):
    """A user's own change of password."""

    password: str
    original_password: str


class PasswordChangeBody(Struct):
    """Body of POST users/{id}/password."""

    user: PasswordChange
