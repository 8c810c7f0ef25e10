"""The identity API over HTTP, through the real application."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from openevs.testing.application import BASE_URL, Client, Running, running

OVERRIDES = {("identity", "login_failures"): "3", ("api", "region"): "here"}
NOWHERE = "0" * 32
Scenario = Callable[[Running, Client, Client], Awaitable[None]]


@asynccontextmanager
async def service(folder: Path) -> AsyncIterator[tuple[Running, Client, Client]]:
    """Start a service and log its administrator and its demo user in."""
    async with running(folder, overrides=OVERRIDES) as it:
        yield it, await it.client("admin"), await it.client()


def run(folder: Path, scenario: Scenario) -> None:
    """Run a scenario with a service, its administrator and its demo user."""

    async def with_service() -> None:
        async with service(folder) as (it, admin, demo):
            await scenario(it, admin, demo)

    asyncio.run(with_service())


def login_body(it: Running, scope: Any = None, **user: Any) -> dict[str, Any]:
    """Return a request for a token for the demo user, with changes."""
    who = {"name": "demo", "domain": {"name": "Default"}, "password": it.made.demo_password, **user}
    auth: dict[str, Any] = {"identity": {"methods": ["password"], "password": {"user": who}}}
    return {"auth": auth if scope is None else {**auth, "scope": scope}}


def check_error(reply: httpx.Response, status: int, words: str = "") -> None:
    """Check an error of Keystone's form."""
    assert reply.status_code == status, reply.text
    error = reply.json()["error"]
    assert error.keys() == {"message", "code", "title"}
    assert error["code"] == status
    assert re.search(words, error["message"]), error["message"]


@pytest.mark.parametrize("mount", ["/identity/v3", "/v3"])
def test_token_issue_check_revoke(tmp_path: Path, mount: str) -> None:
    async def scenario(it: Running, admin: Client, demo: Client) -> None:
        url = f"{mount}/auth/tokens"
        project = {"project": {"name": "demo", "domain": {"id": "default"}}}
        issued = await it.http.post(url, json=login_body(it, project))
        assert issued.status_code == 201
        token = issued.json()["token"]
        time = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
        assert time.fullmatch(token["issued_at"])
        assert time.fullmatch(token["expires_at"])
        domain = {"id": "default", "name": "Default"}
        assert token["project"] == {"id": demo.project_id, "name": "demo", "domain": domain}
        assert token["user"]["name"] == "demo"
        assert token["user"]["domain"] == domain
        assert token["user"]["password_expires_at"] is None
        assert token["methods"] == ["password"]
        assert {role["name"] for role in token["roles"]} == {"member", "reader"}
        volume = next(entry for entry in token["catalog"] if entry["type"] == "volumev3")
        assert {e["interface"] for e in volume["endpoints"]} == {"public", "internal", "admin"}
        assert {(e["url"], e["region"], e["region_id"]) for e in volume["endpoints"]} == {
            (f"{BASE_URL}/v3/{demo.project_id}", "here", "here")
        }

        subject = issued.headers["X-Subject-Token"]
        checked = await demo.call("GET", url, X_Subject_Token=subject)
        assert checked.status_code == 200
        assert checked.json() == issued.json()
        short = await admin.call("GET", url + "?nocatalog", X_Subject_Token=subject)
        assert "catalog" not in short.json()["token"]
        head = await demo.call("HEAD", url, X_Subject_Token=subject)
        assert (head.status_code, head.content) == (200, b"")
        check_error(await demo.call("GET", url), 400, "X-Subject-Token")
        check_error(await demo.call("GET", url, X_Subject_Token=admin.token), 403)
        check_error(await demo.call("DELETE", url, X_Subject_Token=admin.token), 403)

        assert (await demo.call("DELETE", url, X_Subject_Token=subject)).status_code == 204
        check_error(await demo.call("GET", url, X_Subject_Token=subject), 404)
        check_error(await it.http.get(f"{mount}/auth/projects", headers={"X-Auth-Token": subject}), 401)
        check_error(await it.http.get(f"{mount}/auth/projects"), 401, "X-Auth-Token")

    run(tmp_path, scenario)


def test_scopes(tmp_path: Path) -> None:
    async def scenario(it: Running, admin: Client, demo: Client) -> None:
        async def token(scope: Any, **user: Any) -> dict[str, Any]:
            reply = await it.http.post("/v3/auth/tokens", json=login_body(it, scope, **user))
            assert reply.status_code == 201, reply.text
            found: dict[str, Any] = reply.json()["token"]
            return found

        boss = {"name": "admin", "password": it.made.admin_password}
        assert (await token(None))["project"]["name"] == "demo"
        assert (await token({"project": {"id": demo.project_id}}))["project"]["name"] == "demo"
        nothing: list[Any] = ["unscoped", {"unscoped": {}}]
        for unscoped in nothing:
            bare = await token(unscoped)
            assert not bare.keys() & {"project", "domain", "roles", "catalog"}
        whole = await token({"domain": {"name": "Default"}}, **boss)
        assert whole["domain"] == {"id": "default", "name": "Default"}
        assert [entry["type"] for entry in whole["catalog"]] == ["identity"]
        check_error(await it.http.post("/v3/auth/tokens", json=login_body(it, {"domain": {"id": "default"}})), 401)

        exchange = {"identity": {"methods": ["token"], "token": {"id": demo.token}}, "scope": "unscoped"}
        reply = await it.http.post("/v3/auth/tokens", json={"auth": exchange})
        assert reply.status_code == 201
        assert reply.json()["token"]["methods"] == ["token", "password"]
        # An unscoped token finds its projects, and gets a scoped one.
        bare_client = Client(it.http, reply.headers["X-Subject-Token"], "")
        projects = (await bare_client.get("/identity/v3/auth/projects"))["projects"]
        assert [project["name"] for project in projects] == ["demo"]
        exchange = {
            "identity": {"methods": ["token"], "token": {"id": bare_client.token}},
            "scope": {"project": {"id": projects[0]["id"]}},
        }
        assert (await it.http.post("/v3/auth/tokens", json={"auth": exchange})).status_code == 201

    run(tmp_path, scenario)


def bad_logins(it: Running) -> list[tuple[Any, int, str]]:
    """Bodies that get no token, with the status and a word of the answer."""
    good = login_body(it)
    methods = {"auth": {"identity": {**good["auth"]["identity"], "methods": ["totp"]}}}
    return [
        ({}, 400, "auth: it is required"),
        ([], 400, "JSON object"),
        (b"{", 400, "JSON"),
        ({"auth": {}}, 400, r"auth\.identity: it is required"),
        ({"auth": {"identity": {"methods": "password"}}}, 400, r"auth\.identity\.methods"),
        (methods, 400, r"auth\.identity\.methods"),
        ({"auth": {"identity": {"methods": ["password"]}}}, 400, r"auth\.identity\.password: it is required"),
        ({"auth": {"identity": {"methods": ["token"]}}}, 400, r"auth\.identity\.token: it is required"),
        (login_body(it, name=5), 400, r"auth\.identity\.password\.user\.name"),
        (login_body(it, name=None), 400, r"auth\.identity\.password\.user: it must have an id"),
        (login_body(it, {}), 400, r"auth\.scope"),
        (login_body(it, "all"), 400, r"auth\.scope"),
        (login_body(it, {"system": {"all": True}}), 400, "no system scope"),
        (login_body(it, {"domain": {}}), 400, r"auth\.scope\.domain"),
        (login_body(it, {"project": {}}), 400, r"auth\.scope\.project"),
        (login_body(it, {"project": {"id": NOWHERE}}), 401, "no role"),
        (login_body(it, password=""), 401, "wrong"),
        (login_body(it, name="nobody"), 401, "wrong"),
        (login_body(it, domain={"id": "other"}), 401, "wrong"),
        (login_body(it, name="\x00"), 401, "wrong"),
    ]


def test_refused_logins_name_the_field_and_never_the_password(tmp_path: Path) -> None:
    async def scenario(it: Running, admin: Client, demo: Client) -> None:
        for body, status, words in bad_logins(it):
            sent = body if isinstance(body, bytes) else httpx.Request("POST", BASE_URL, json=body).content
            reply = await it.http.post("/v3/auth/tokens", content=sent, headers={"Content-Type": "application/json"})
            check_error(reply, status, words)
            assert it.made.demo_password is not None
            assert it.made.demo_password not in reply.text
        for _ in range(3):
            check_error(await it.http.post("/v3/auth/tokens", json=login_body(it, password="x")), 401)
        check_error(await it.http.post("/v3/auth/tokens", json=login_body(it)), 401, "try again in")

    run(tmp_path, scenario)


def test_documents_for_clients_that_look_around(tmp_path: Path) -> None:
    async def scenario(it: Running, admin: Client, demo: Client) -> None:
        for path in ("/identity", "/identity/"):
            versions = await it.http.get(path)
            assert versions.status_code == 300
            assert [v["id"][:2] for v in versions.json()["versions"]["values"]] == ["v3"]
        version = (await it.http.get("/identity/v3")).json()["version"]
        assert version["links"][0] == {"rel": "self", "href": f"{BASE_URL}/identity/v3/"}

        domains = (await demo.get("/v3/auth/domains"))["domains"]
        assert [(domain["id"], domain["name"], domain["enabled"]) for domain in domains] == [
            ("default", "Default", True)
        ]
        assert (await demo.get("/v3/domains?name=Default"))["domains"] == domains
        assert (await demo.get("/v3/domains?name=other"))["domains"] == []
        assert (await demo.get("/v3/domains/default"))["domain"] == domains[0]
        check_error(await demo.call("GET", "/v3/domains/other"), 404)

        assert [region["id"] for region in (await demo.get("/v3/regions"))["regions"]] == ["here"]
        assert (await demo.get("/v3/regions/here"))["region"]["id"] == "here"
        services = (await demo.get("/v3/services"))["services"]
        assert (await demo.get("/v3/services?type=volumev3"))["services"] == [services[1]]
        assert (await demo.get(f"/v3/services/{services[0]['id']}"))["service"] == services[0]
        endpoints = (await demo.get(f"/v3/endpoints?interface=public&service_id={services[0]['id']}"))["endpoints"]
        assert [endpoint["url"] for endpoint in endpoints] == [f"{BASE_URL}/v3/$(project_id)s"]
        assert (await demo.get(f"/v3/endpoints/{endpoints[0]['id']}"))["endpoint"] == endpoints[0]
        for kind in ("regions", "services", "endpoints"):
            check_error(await demo.call("GET", f"/v3/{kind}/none"), 404)
        assert len((await demo.get("/v3/auth/catalog"))["catalog"]) == 5

    run(tmp_path, scenario)


def test_projects(tmp_path: Path) -> None:
    async def scenario(it: Running, admin: Client, demo: Client) -> None:
        made = await admin.call("POST", "/v3/projects", {"project": {"name": "p", "domain_id": "default"}})
        assert made.status_code == 201
        project = made.json()["project"]
        assert re.fullmatch("[0-9a-f]{32}", project["id"])
        assert project["links"] == {"self": f"{BASE_URL}/identity/v3/projects/{project['id']}"}
        assert (project["domain_id"], project["parent_id"], project["is_domain"]) == ("default", "default", False)
        path = f"/v3/projects/{project['id']}"
        assert await admin.get(path) == {"project": project}
        check_error(await demo.call("GET", path), 404)

        async def names(client: Client, query: str) -> list[str]:
            return [found["name"] for found in (await client.get("/v3/projects" + query))["projects"]]

        assert await names(admin, "") == ["admin", "demo", "p"]
        assert await names(demo, "") == ["demo"]
        assert await names(demo, "?name=p") == []
        assert await names(admin, "?name=p&domain_id=default&enabled=true&is_domain=false&parent_id=default") == ["p"]
        for empty in ("?domain_id=x", "?parent_id=x", "?enabled=0", "?is_domain=1"):
            assert await names(admin, empty) == []
        first = await admin.get("/v3/projects?page=1&per_page=2")
        assert [found["name"] for found in first["projects"]] == ["admin", "demo"]
        assert first["links"]["previous"] is None
        second = await admin.get(first["links"]["next"].removeprefix(BASE_URL))
        assert [found["name"] for found in second["projects"]] == ["p"]
        assert second["links"]["next"] is None
        assert second["links"]["previous"].endswith("?per_page=2&page=1")
        for bad in ("?page=1", "?per_page=1", "?page=0&per_page=1", "?page=1&per_page=5001", "?page=x&per_page=1"):
            check_error(await admin.call("GET", "/v3/projects" + bad), 400, "page")
        check_error(await admin.call("GET", "/v3/projects?enabled=perhaps"), 400, "enabled")

        changed = await admin.call("PATCH", path, {"project": {"name": "q", "description": None, "enabled": False}})
        assert changed.json()["project"] == {**project, "name": "q", "description": "", "enabled": False}
        check_error(await admin.call("PATCH", path, {"project": {"name": "demo"}}), 409, "demo")
        check_error(await admin.call("PATCH", path, {"project": {"enabled": "no"}}), 400, r"project\.enabled")
        for field, value in (("domain_id", "x"), ("parent_id", "x"), ("is_domain", True), ("name", ""), ("name", 1)):
            body = {"project": {"name": "r", field: value}}
            check_error(await admin.call("POST", "/v3/projects", body), 400, rf"project\.{field}")
        check_error(await demo.call("POST", "/v3/projects", {"project": {"name": "r"}}), 403)
        assert (await admin.call("DELETE", path)).status_code == 204
        check_error(await admin.call("DELETE", path), 404)
        check_error(await admin.call("PUT", path), 405)

    run(tmp_path, scenario)


def test_users_and_passwords(tmp_path: Path) -> None:
    async def scenario(it: Running, admin: Client, demo: Client) -> None:
        body = {"user": {"name": "anna", "password": "one", "email": "a@b", "extra": 1}}
        made = await admin.call("POST", "/v3/users", body)
        assert made.status_code == 201
        assert "one" not in made.text
        user = made.json()["user"]
        path = f"/v3/users/{user['id']}"
        assert await admin.get(path) == {"user": user}
        assert "default_project_id" not in user
        assert (await admin.get("/v3/users?name=anna"))["users"] == [user]
        assert (await admin.get("/v3/users?domain_id=x"))["users"] == []
        check_error(await demo.call("GET", "/v3/users"), 403)
        check_error(await demo.call("GET", path), 403)
        check_error(await admin.call("POST", "/v3/users", body), 409, "anna")
        for field, value in (("password", ""), ("default_project_id", "x"), ("domain_id", "x"), ("enabled", 1)):
            bad = {"user": {"name": "b", field: value}}
            check_error(await admin.call("POST", "/v3/users", bad), 400, rf"user\.{field}")

        changes = {"password": "two", "default_project_id": demo.project_id, "description": "x", "email": None}
        changed = await admin.call("PATCH", path, {"user": changes})
        assert changed.status_code == 200
        assert changed.json()["user"]["default_project_id"] == demo.project_id

        def change(old: str, new: str) -> dict[str, Any]:
            return {"user": {"original_password": old, "password": new}}

        who = {"id": user["id"], "name": None}
        token = (await it.http.post("/v3/auth/tokens", json=login_body(it, password="two", **who))).headers
        anna = Client(it.http, token["X-Subject-Token"], "")
        assert (await anna.get(path))["user"]["name"] == "anna"
        assert (await anna.get(f"{path}/projects"))["projects"] == []
        check_error(await anna.call("POST", f"{path}/password", change("one", "three")), 401)
        check_error(await anna.call("POST", f"{path}/password", {"user": {"password": "x"}}), 400, "original_password")
        assert (await anna.call("POST", f"{path}/password", change("two", "three"))).status_code == 204
        check_error(await anna.call("GET", path), 401)
        reply = await it.http.post("/v3/auth/tokens", json=login_body(it, password="three", **who))
        assert reply.status_code == 201
        assert (await admin.call("DELETE", path)).status_code == 204
        check_error(await admin.call("GET", path), 404)

    run(tmp_path, scenario)


def test_roles_and_assignments(tmp_path: Path) -> None:
    async def scenario(it: Running, admin: Client, demo: Client) -> None:
        roles = {role["name"]: role for role in (await demo.get("/v3/roles"))["roles"]}
        assert roles.keys() == {"admin", "member", "reader", "service"}
        assert (await demo.get("/v3/roles?name=member"))["roles"] == [roles["member"]]
        assert (await demo.get(f"/v3/roles/{roles['member']['id']}"))["role"] == roles["member"]
        check_error(await demo.call("GET", "/v3/roles/member"), 404)

        users = {user["name"]: user["id"] for user in (await admin.get("/v3/users"))["users"]}
        made = await admin.call("POST", "/v3/projects", {"project": {"name": "p"}})
        project_id = made.json()["project"]["id"]
        for target in (f"projects/{project_id}", "domains/default"):
            given = f"/v3/{target}/users/{users['demo']}/roles"
            one = f"{given}/{roles['reader']['id']}"
            check_error(await demo.call("PUT", one), 403)
            assert (await admin.call("HEAD", one)).status_code == 404
            for _ in range(2):
                assert (await admin.call("PUT", one)).status_code == 204
            assert (await admin.call("HEAD", one)).status_code == 204
            assert [role["name"] for role in (await demo.get(given))["roles"]] == ["reader"]
            assert (await admin.call("DELETE", one)).status_code == 204
            check_error(await admin.call("DELETE", one), 404)

        mine = f"/v3/role_assignments?user.id={users['demo']}"
        plain = (await demo.get(mine))["role_assignments"]
        assert [(one["role"]["id"], one["scope"]) for one in plain] == [
            (roles["member"]["id"], {"project": {"id": demo.project_id}})
        ]
        named = (await demo.get(f"{mine}&include_names&effective&scope.project.id={demo.project_id}"))[
            "role_assignments"
        ]
        assert [one["role"]["name"] for one in named] == ["member", "reader"]
        assert {(one["user"]["name"], one["scope"]["project"]["name"]) for one in named} == {("demo", "demo")}
        on_domain = await admin.get("/v3/role_assignments?scope.domain.id=default&include_names=True")
        assert [one["scope"]["domain"]["name"] for one in on_domain["role_assignments"]] == ["Default"]
        assert (await admin.get(f"{mine.replace('user.id', 'group.id')}"))["role_assignments"] == []
        check_error(await demo.call("GET", "/v3/role_assignments"), 403)

    run(tmp_path, scenario)


def test_no_secret_gets_into_the_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async def scenario(it: Running, admin: Client, demo: Client) -> None:
        await it.http.post("/v3/auth/tokens", json=login_body(it))
        await demo.call("DELETE", "/v3/auth/tokens", X_Subject_Token=demo.token)
        written = "".join(capfd.readouterr())
        for secret in (it.made.demo_password, it.made.admin_password, demo.token, admin.token):
            assert secret is not None
            assert secret not in written

    run(tmp_path, scenario)
