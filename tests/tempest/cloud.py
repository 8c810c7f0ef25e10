"""What Tempest runs against, and who it is there: an administrator and, where it may not make accounts itself, the
projects and users that it finds. Made through the identity API, so that the cloud need not be an OpenEVS."""

import secrets
from typing import Any, Final, NamedTuple

import httpx
import yaml

from openevs.demo.service import Service

PROJECTS: Final = 8
"""Each of two workers uses two at a time: there are always some that nobody uses."""
ADMINS: Final = 4
BACKENDS: Final = ("layers", "layers-2")
"""Names under which the service offers its pool: some tests choose between backends."""


class Account(NamedTuple):
    """A user with one role on a project."""

    user: str
    password: str
    project: str
    role: str


class Cloud(NamedTuple):
    """Where the services are, and what Tempest must be told since it cannot ask."""

    auth_url: str
    admin: Account
    region: str = "RegionOne"
    backends: tuple[str, ...] = BACKENDS
    manage_volume_ref: tuple[str, str] = ("source-name", "volume-%s")
    manage_snapshot_ref: tuple[str, str] = ("source-name", "snapshot-%s")


def cloud_of(service: Service) -> Cloud:
    """Return a running service as Tempest sees it."""
    auth = yaml.safe_load((service.folder / "clouds.yaml").read_text())["clouds"]["openevs-admin"]["auth"]
    return Cloud(auth["auth_url"], Account(auth["username"], auth["password"], auth["project_name"], "admin"))


def make_accounts(cloud: Cloud) -> list[Account]:
    """Make projects with a member and a reader each, and administrators, and return them in the order in which
    Tempest needs them: what is asked for without a role is the first free one, and must be able to make a volume."""
    with _Identity(cloud) as identity:
        projects = [f"parity-{number}" for number in range(PROJECTS)]
        wanted = [Account(f"{project}-member", secrets.token_urlsafe(), project, "member") for project in projects]
        wanted += [Account(f"{project}-reader", secrets.token_urlsafe(), project, "reader") for project in projects]
        wanted += [
            Account(f"parity-admin-{number}", secrets.token_urlsafe(), cloud.admin.project, "admin")
            for number in range(ADMINS)
        ]
        ids = {cloud.admin.project: identity.project(cloud.admin.project)}
        ids |= {name: identity.make("project", name) for name in projects}
        for account in wanted:
            user = identity.make("user", account.user, password=account.password)
            identity.assign(ids[account.project], user, account.role)
    return wanted


class _Identity:
    def __init__(self, cloud: Cloud) -> None:
        self._http = httpx.Client(timeout=60)
        self._url = cloud.auth_url
        domain = {"id": "default"}
        user = {"name": cloud.admin.user, "password": cloud.admin.password, "domain": domain}
        scope = {"project": {"name": cloud.admin.project, "domain": domain}}
        body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}}
        answer = self._http.post(f"{self._url}/auth/tokens", json=body)
        answer.raise_for_status()
        self._http.headers["X-Auth-Token"] = answer.headers["X-Subject-Token"]
        self._roles = {role["name"]: role["id"] for role in self._get("roles")}

    def __enter__(self) -> "_Identity":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def project(self, name: str) -> str:
        return str(self._get("projects", name=name)[0]["id"])

    def make(self, kind: str, name: str, **more: Any) -> str:
        answer = self._http.post(f"{self._url}/{kind}s", json={kind: {"name": name, "domain_id": "default", **more}})
        answer.raise_for_status()
        return str(answer.json()[kind]["id"])

    def assign(self, project_id: str, user_id: str, role: str) -> None:
        path = f"projects/{project_id}/users/{user_id}/roles/{self._roles[role]}"
        self._http.put(f"{self._url}/{path}").raise_for_status()

    def _get(self, path: str, **query: str) -> Any:
        answer = self._http.get(f"{self._url}/{path}", params=query)
        answer.raise_for_status()
        return answer.json()[path]
