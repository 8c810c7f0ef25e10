"""A whole OpenEVS inside a test: the real API, store, operations and identity, over any engine, without a network."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec

from openevs.compose import Application, utc_now
from openevs.engine.port import Engine
from openevs.identity.bootstrap import Bootstrap
from openevs.settings import Settings, load
from openevs.testing.exporting import ExportingMemoryEngine, ExportingMemoryStorage

BASE_URL = "http://openevs.test"
FAST: Mapping[tuple[str, str], str] = {
    ("identity", "password_hash_mib"): "1",
    ("operations", "retry_seconds"): "0.01",
    ("operations", "scan_seconds"): "0.2",
    ("engine", "kind"): "memory",
}
"""Settings under which a test need not wait."""


def settings_for(folder: Path, overrides: Mapping[tuple[str, str], str] | None = None) -> Settings:
    """Return settings for a test that keeps everything below `folder`."""
    given = {**FAST, ("data", "folder"): str(folder), **(overrides or {})}
    return load(environ={}, overrides=given)[0]


@dataclass
class Client:
    """A client with a token, as one user on one project."""

    http: httpx.AsyncClient
    token: str
    project_id: str
    headers: dict[str, str] = field(default_factory=dict)
    version: str | None = None
    """Microversion to ask for, such as `3.66`."""

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """Send one request. `{p}` in the path stands for the project; header names are written with underscores."""
        sent = {"X-Auth-Token": self.token, **self.headers}
        wanted = "openevs 1" if self.version is None else f"volume {self.version}, openevs 1"
        sent["OpenStack-API-Version"] = wanted
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        content = None
        if body is not None:
            content = body if isinstance(body, bytes) else msgspec.json.encode(body)
            sent.setdefault("Content-Type", "application/json")
        url = path.replace("{p}", self.project_id)
        return await self.http.request(method, url, content=content, headers=sent)

    async def get(self, path: str) -> Any:
        """Return the body of a GET that must succeed."""
        reply = await self.call("GET", path)
        assert reply.status_code == 200, reply.text  # noqa: S101 - a test's own check
        return reply.json()

    async def volume(self, size: int = 1, **fields: Any) -> dict[str, Any]:
        """Return a new volume that has become available."""
        reply = await self.call("POST", "/v3/{p}/volumes", {"volume": {"size": size, **fields}})
        assert reply.status_code == 202, reply.text  # noqa: S101
        return await self.until("volume", reply.json()["volume"]["id"], "available")

    async def snapshot(self, volume_id: str, **fields: Any) -> dict[str, Any]:
        """Return a new snapshot that has become available."""
        reply = await self.call("POST", "/v3/{p}/snapshots", {"snapshot": {"volume_id": volume_id, **fields}})
        assert reply.status_code == 202, reply.text  # noqa: S101
        return await self.until("snapshot", reply.json()["snapshot"]["id"], "available")

    async def until(self, kind: str, resource_id: str, status: str, seconds: float = 20.0) -> dict[str, Any]:
        """Wait until a volume or snapshot has a status (`gone`: until it is 404) and return it."""
        found: dict[str, Any] = {}
        async with asyncio.timeout(seconds):
            while True:
                reply = await self.call("GET", f"/v3/{{p}}/{kind}s/{resource_id}")
                if reply.status_code == 404 and status == "gone":
                    return found
                assert reply.status_code == 200, reply.text  # noqa: S101
                found = reply.json()[kind]
                if found["status"] == status:
                    return found
                if found["status"].startswith("error") and not status.startswith("error"):
                    raise AssertionError(found)
                await asyncio.sleep(0.005)


async def log_in(http: httpx.AsyncClient, user: str, password: str, project: str) -> Client:
    """Return a client for a user on a project, both by name."""
    scope = {"project": {"name": project, "domain": {"id": "default"}}}
    login = {"user": {"name": user, "domain": {"id": "default"}, "password": password}}
    body = {"auth": {"identity": {"methods": ["password"], "password": login}, "scope": scope}}
    reply = await http.post("/identity/v3/auth/tokens", json=body)
    assert reply.status_code == 201, reply.text  # noqa: S101 - a test's own check
    return Client(http, reply.headers["X-Subject-Token"], reply.json()["token"]["project"]["id"])


@dataclass
class Running:
    """A running application and ways to talk to it."""

    app: Application
    made: Bootstrap
    http: httpx.AsyncClient

    async def client(self, user: str = "demo", password: str | None = None, project: str | None = None) -> Client:
        """Return a client for a user; by default the demo user on the demo project."""
        if password is None:
            password = self.made.demo_password if user == self.made.demo_user else self.made.admin_password
        return await log_in(self.http, user, password or "", project or self.made.demo_project)

    async def person(self, name: str, project: str, *roles: str) -> Client:
        """Return a client for a new user with these roles on a project, which is made if it is not there."""
        admin = await self.client("admin", project="admin")
        found = (await admin.get("/identity/v3/projects"))["projects"]
        ids = {one["name"]: one["id"] for one in found}
        if project not in ids:
            made = await admin.call("POST", "/identity/v3/projects", {"project": {"name": project}})
            ids[project] = made.json()["project"]["id"]
        password = f"{name}-0-Password"
        user = await admin.call("POST", "/identity/v3/users", {"user": {"name": name, "password": password}})
        known = {one["name"]: one["id"] for one in (await admin.get("/identity/v3/roles"))["roles"]}
        for role in roles:
            of_user = f"/identity/v3/projects/{ids[project]}/users/{user.json()['user']['id']}/roles/{known[role]}"
            granted = await admin.call("PUT", of_user)
            assert granted.status_code == 204, granted.text  # noqa: S101
        return await self.client(name, password, project)


@asynccontextmanager
async def running(
    folder: Path,
    engine: Engine | None = None,
    overrides: Mapping[tuple[str, str], str] | None = None,
    clock: Callable[[], datetime] = utc_now,
) -> AsyncIterator[Running]:
    """Start an application on `folder`, over a memory engine that really serves its volumes unless another is given."""
    app = Application(
        settings_for(folder, overrides), engine or ExportingMemoryEngine(ExportingMemoryStorage(folder)), clock
    )
    made = await app.start(BASE_URL)
    transport = httpx.ASGITransport(app=app.asgi, raise_app_exceptions=True)
    try:
        async with httpx.AsyncClient(transport=transport, base_url=BASE_URL) as http:
            yield Running(app, made, http)
    finally:
        await app.stop()
