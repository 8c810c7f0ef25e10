"""Asking an external Keystone: here a small one that answers from a table. `tests/parity` has the real one."""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from openevs.compose import Application
from openevs.domain.errors import Unavailable
from openevs.identity.keystone import KeystoneVerifier, parse_roles
from openevs.settings import Identity, SettingsError, load
from openevs.testing.clock import ManualClock

WORK = {"project": {"id": "p1", "name": "work"}}


class Table:
    """What the small Keystone knows, and how often it was asked."""

    def __init__(self) -> None:
        self.tokens: dict[str, dict[str, Any]] = {}
        self.own = "own-1"
        self.password = "right"
        self.logins = 0
        self.questions = 0
        self.broken: int | None = None
        self.hold = threading.Event()
        self.hold.set()

    def put(self, token: str, *roles: str, **scope: Any) -> None:
        """Know a token."""
        self.tokens[token] = {
            "user": {"id": "u1", "name": "jo", "domain": {"id": "default"}},
            "expires_at": "2030-01-01T01:00:00.000000Z",
            "issued_at": "2030-01-01T00:00:00.000000Z",
            "methods": ["password"],
            "audit_ids": ["audit"],
            "roles": [{"id": name, "name": name} for name in roles],
            **scope,
        }


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
def url(table: Table) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            table.logins += 1
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            password = asked["auth"]["identity"]["password"]["user"]["password"]
            if password != table.password:
                return self.answer(401, {})
            table.own = f"own-{table.logins}"
            described = {"token": {"user": {"id": "s"}, "expires_at": "2030-01-01T01:00:00Z", "issued_at": "2030-01-01T00:00:00Z"}}  # fmt: skip  # noqa: E501
            return self.answer(201, described, {"x-subject-token": table.own})

        def do_GET(self) -> None:
            table.questions += 1
            table.hold.wait(10)
            if table.broken:
                return self.answer(table.broken, {})
            if self.headers["X-Auth-Token"] != table.own:
                return self.answer(401, {})
            found = table.tokens.get(self.headers["X-Subject-Token"])
            return self.answer(404, {}) if found is None else self.answer(200, {"token": found})

        def answer(self, status: int, body: object, headers: dict[str, str] | None = None) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            for name, value in {**(headers or {}), "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v3"
    server.shutdown()
    thread.join()
    server.server_close()


def asking(url: str, work: Callable[[KeystoneVerifier, ManualClock], Awaitable[None]], **more: Any) -> None:
    """Run something with a verifier, at the time at which the table's tokens are good."""
    clock = ManualClock(datetime(2030, 1, 1, tzinfo=UTC))

    async def scenario() -> None:
        verifier = KeystoneVerifier(
            Identity(kind="keystone", keystone_url=url, **{"keystone_password": "right", **more}), clock
        )
        try:
            await work(verifier, clock)
        finally:
            verifier.close()

    asyncio.run(scenario())


def test_a_token_stands_for_what_keystone_says(table: Table, url: str) -> None:
    table.put("t", "member", "stranger", **WORK)
    table.put("unscoped")
    table.put("boss", "admin", domain={"id": "default", "name": "Default"})
    table.put("system", "admin", system={"all": True})
    table.put("manager", "manager", **WORK)

    async def work(verifier: KeystoneVerifier, clock: ManualClock) -> None:
        grant = await verifier.verify("t")
        assert grant is not None
        assert (grant.user_id, grant.user_name, grant.project_id, grant.project_name) == ("u1", "jo", "p1", "work")
        assert grant.roles == {"member", "reader"}
        assert (grant.methods, grant.audit_id, grant.domain_scoped) == (("password",), "audit", False)
        for token, roles, domain in (
            ("unscoped", frozenset[str](), False),
            ("boss", frozenset({"admin", "member", "reader"}), True),
            ("system", frozenset[str](), False),
            ("manager", frozenset({"member", "reader"}), False),
        ):
            found = await verifier.verify(token)
            assert found is not None
            assert (found.roles, found.domain_scoped) == (roles, domain)
        assert await verifier.verify("unknown") is None
        assert await verifier.verify("no\nheader") is None

    asking(url, work)


def test_keystone_is_asked_once_in_a_while(table: Table, url: str) -> None:
    table.put("t", "member", **WORK)

    async def work(verifier: KeystoneVerifier, clock: ManualClock) -> None:
        table.hold.clear()
        many = [asyncio.create_task(verifier.verify("t")) for _ in range(20)]
        await asyncio.sleep(0.05)
        many[0].cancel()  # a client that hangs up must not take the others' answer along
        table.hold.set()
        found = await asyncio.gather(*many, return_exceptions=True)
        assert all(one is not None for one in found[1:])
        assert (table.questions, table.logins) == (1, 1)
        await verifier.verify("bad")
        await verifier.verify("bad")
        assert table.questions == 2

        del table.tokens["t"]  # revoked
        clock.advance(29)
        assert await verifier.verify("t") is not None
        clock.advance(1)
        assert await verifier.verify("t") is None
        assert (table.questions, table.logins) == (3, 1)

    asking(url, work)


def test_a_token_ends_when_it_expires(table: Table, url: str) -> None:
    table.put("t", "member", **WORK)

    async def work(verifier: KeystoneVerifier, clock: ManualClock) -> None:
        assert await verifier.verify("t") is not None
        clock.advance(3600)
        del table.tokens["t"]
        assert await verifier.verify("t") is None
        assert table.logins == 2  # its own had expired too

    asking(url, work, keystone_cache_seconds=86400)


def test_its_own_token_is_renewed_when_it_is_refused(table: Table, url: str) -> None:
    table.put("t", "member", **WORK)

    async def work(verifier: KeystoneVerifier, clock: ManualClock) -> None:
        assert await verifier.verify("t") is not None
        table.own = "another"
        table.put("u", "member", **WORK)
        assert await verifier.verify("u") is not None
        assert table.logins == 2

    asking(url, work)


@pytest.mark.parametrize("status", [401, 403, 500, 503])
def test_what_keystone_does_not_say_is_not_known(table: Table, url: str, status: int) -> None:
    table.put("t", "member", **WORK)

    async def work(verifier: KeystoneVerifier, clock: ManualClock) -> None:
        table.broken = status
        with pytest.raises(Unavailable, match="identity service"):
            await verifier.verify("t")
        table.broken = None
        assert await verifier.verify("t") is not None

    asking(url, work)


def test_a_wrong_password_is_the_operators_matter(table: Table, url: str) -> None:
    async def work(verifier: KeystoneVerifier, clock: ManualClock) -> None:
        with pytest.raises(Unavailable, match="own user"):
            await verifier.verify("t")

    asking(url, work, keystone_password="wrong")


def test_nobody_there() -> None:
    async def work(verifier: KeystoneVerifier, clock: ManualClock) -> None:
        with pytest.raises(Unavailable, match="does not answer"):
            await verifier.verify("t")

    asking("http://127.0.0.1:9/v3", work)


def test_the_service_with_it(table: Table, url: str, tmp_path: Path) -> None:
    table.put("t", "member", project={"id": "a" * 32, "name": "work"})
    environ = {
        "OPENEVS_IDENTITY_KIND": "keystone",
        "OPENEVS_IDENTITY_KEYSTONE_URL": url,
        "OPENEVS_IDENTITY_KEYSTONE_PASSWORD": "right",
        "OPENEVS_DATA_FOLDER": str(tmp_path),
        "OPENEVS_ENGINE_KIND": "memory",
    }

    async def work() -> None:
        app = Application(load(environ=environ)[0], clock=ManualClock())
        made = await app.start("http://test")
        assert not made.is_new
        assert not (tmp_path / "clouds.yaml").exists()
        try:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app.asgi), base_url="http://test") as http:

                async def status(path: str, **headers: str) -> int:
                    sent = {name.replace("_", "-"): value for name, value in headers.items()}
                    return (await http.get(path, headers=sent)).status_code

                assert await status("/v3/volumes", X_Auth_Token="t") == 200
                assert await status(f"/v3/{'b' * 32}/volumes", X_Auth_Token="t") in {400, 403, 404}
                assert await status("/v3/volumes", X_Auth_Token="x") == 401
                assert await status("/v3/volumes") == 401
                signed = "SDK-HMAC-SHA256 Access=A, SignedHeaders=host, Signature=" + "0" * 64
                assert await status("/v3/volumes", Authorization=signed, X_Sdk_Date="20300101T000000Z") == 401
                for path in ("/identity/v3/projects", "/v3/auth/tokens", "/identity"):
                    assert await status(path, X_Auth_Token="t") == 404
                table.broken = 500
                table.put("u", "member", **WORK)
                assert await status("/v3/volumes", X_Auth_Token="u") == 503
        finally:
            await app.stop()

    asyncio.run(work())


def test_settings() -> None:
    assert parse_roles(" cloud_admin=admin, member ,") == {"cloud_admin": "admin", "member": "member"}
    with pytest.raises(SettingsError, match=r"identity\.keystone_url must be given"):
        load(environ={"OPENEVS_IDENTITY_KIND": "keystone"})
    with pytest.raises(SettingsError, match=r"identity\.keystone_url"):
        load(environ={"OPENEVS_IDENTITY_KEYSTONE_URL": "controller:5000"})
