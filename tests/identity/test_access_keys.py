"""Access keys and signed requests over HTTP, through the real application, with the clock in the test's hand."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from openevs.identity.signing import SignedRequest, claim_of, signature
from openevs.store.identity.access_keys import AccessKey, find_access_key, insert_access_key
from openevs.store.identity.users import find_user
from openevs.testing.application import BASE_URL, Running, running
from openevs.testing.clock import ManualClock

KEYS = "/v3.0/OS-CREDENTIAL/credentials"
OVERRIDES = {("identity", "access_keys"): "3", ("api", "region"): "here"}


class Key(NamedTuple):
    """A key, and the clock of who signs with it."""

    access: str
    secret: str
    clock: ManualClock


async def send(it: Running, key: Key, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
    """Send a request signed as Huawei's SDKs do."""
    data = b"" if body is None else json.dumps(body).encode()
    sent = {
        "host": BASE_URL.partition("//")[2],
        "content-type": "application/json",
        "x-sdk-date": f"{key.clock():%Y%m%dT%H%M%SZ}",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    names = ";".join(sorted(sent))
    begin = f"SDK-HMAC-SHA256 Access={key.access}, SignedHeaders={names}, Signature="
    url = httpx.URL(BASE_URL + path)
    raw = [(name.encode(), value.encode()) for name, value in sent.items()]
    request = SignedRequest(
        method,
        url.raw_path.partition(b"?")[0],
        url.query,
        [*raw, (b"authorization", (begin + "0" * 64).encode())],
        data,
    )
    claim = claim_of(request)
    assert claim is not None
    sent["authorization"] = begin + signature(request, claim, key.secret)
    return await it.http.request(method, path, content=data, headers=sent)


def run(folder: Path, scenario: Callable[[Running, Key], Awaitable[None]]) -> None:
    """Run a scenario with a service and the key that its first start has made."""

    async def with_service() -> None:
        clock = ManualClock()
        async with running(folder, overrides=OVERRIDES, clock=clock) as it:
            assert it.made.access_key is not None
            await scenario(it, Key(it.made.access_key.access, it.made.access_key.secret, clock))

    asyncio.run(with_service())


def check_refused(reply: httpx.Response, words: str) -> None:
    """Check the gateway's refusal."""
    assert reply.status_code == 401, reply.text
    body = reply.json()
    assert body.keys() == {"error_msg", "error_code", "request_id"}
    assert body["error_code"] == "APIGW.0301"
    assert body["error_msg"].startswith("Incorrect IAM authentication information: ")
    assert words in body["error_msg"], body
    assert body["request_id"] == reply.headers["X-Request-Id"]


def test_signed_requests_find_their_project(tmp_path: Path) -> None:
    async def scenario(it: Running, key: Key) -> None:
        project = it.made.demo_project_id or ""
        for path in (
            f"/v2/{project}/cloudsnapshots/detail?limit=5",
            f"/v3/{project}/volumes",
            "/v3/volumes?name=a%20b",
        ):
            reply = await send(it, key, "GET", path)
            assert reply.status_code == 200, reply.text
            assert (await send(it, key, "GET", path, x_project_id=project)).status_code == 200
        made = await send(it, key, "POST", f"/v3/{project}/volumes", {"volume": {"size": 1, "name": "ü"}})
        assert made.status_code == 202, made.text
        other = "0" * 32
        check_refused(await send(it, key, "GET", f"/v3/{other}/volumes"), f"no role on project {other}")
        check_refused(await send(it, key, "GET", "/v3/volumes", x_project_id=other), "no role on project")
        # Both are given, and differ: the URL is not that of the project of the request.
        reply = await send(it, key, "GET", f"/v2/{other}/cloudsnapshots/detail", x_project_id=project)
        assert reply.status_code == 400, reply.text
        assert reply.json()["error"]["code"] == "EVS.0001"

    run(tmp_path, scenario)


def test_a_key_can_do_what_its_user_may_do_now(tmp_path: Path) -> None:
    async def scenario(it: Running, key: Key) -> None:
        admin = await it.client("admin")
        project = it.made.demo_project_id
        user = it.app.db.read_now(find_user, "demo")
        assert user is not None
        roles = {role["name"]: role["id"] for role in (await admin.get("/v3/roles"))["roles"]}
        of_user = f"/v3/projects/{project}/users/{user.id}/roles"
        assert (await send(it, key, "GET", f"/v3/{project}/volumes")).status_code == 200
        await admin.call("PUT", f"{of_user}/{roles['reader']}")
        await admin.call("DELETE", f"{of_user}/{roles['member']}")
        assert (await send(it, key, "GET", f"/v3/{project}/volumes")).status_code == 200
        assert (await send(it, key, "POST", f"/v3/{project}/volumes", {"volume": {"size": 1}})).status_code == 403
        await admin.call("DELETE", f"{of_user}/{roles['reader']}")
        check_refused(await send(it, key, "GET", f"/v3/{project}/volumes"), "no role")
        await admin.call("PATCH", f"/v3/users/{user.id}", {"user": {"enabled": False}})
        check_refused(await send(it, key, "GET", f"/v3/{project}/volumes"), "cannot be fetched")
        await admin.call("DELETE", f"/v3/users/{user.id}")
        assert it.app.db.read_now(find_access_key, key.access) is None

    run(tmp_path, scenario)


def test_refusals_are_the_gateways(tmp_path: Path) -> None:
    async def scenario(it: Running, key: Key) -> None:
        path = f"/v2/{it.made.demo_project_id}/cloudsnapshots/detail"
        check_refused(await it.http.get(path), "no X-Auth-Token")
        check_refused(
            await it.http.get(path, headers={"authorization": "SDK-HMAC-SHA256 nonsense"}), "has not the form"
        )
        check_refused(await send(it, key._replace(access="AKNOBODY"), "GET", path), "cannot be fetched")
        wrong = await send(it, key._replace(secret="x"), "GET", path)
        check_refused(wrong, "verify aksk signature fail")
        assert key.secret not in wrong.text
        # Also in front of identity, whose own errors look otherwise.
        check_refused(await send(it, key._replace(secret="x"), "GET", "/v3/projects"), "verify aksk signature fail")
        check_refused(await send(it, key, "GET", path, x_security_token="t"), "temporary")
        for seconds, good in ((-899, True), (-901, False), (899, True), (901, False)):
            other = ManualClock(key.clock() + timedelta(seconds=seconds))
            reply = await send(it, key._replace(clock=other), "GET", path)
            assert (reply.status_code == 200) is good, (seconds, reply.text)
            if not good:
                check_refused(reply, "signature expired")
        assert (await it.http.get("/identity/v3/nowhere")).json()["error"]["code"] == 404
        assert (await it.http.get("/v3/x/y/z/w")).json()["itemNotFound"]["code"] == 404

    run(tmp_path, scenario)


def test_a_key_is_locked_after_more_than_five_wrong_signatures(tmp_path: Path) -> None:
    async def scenario(it: Running, key: Key) -> None:
        path = f"/v2/{it.made.demo_project_id}/cloudsnapshots/detail"
        wrong = key._replace(secret="x")
        for _ in range(5):
            check_refused(await send(it, wrong, "GET", path), "verify aksk")
        assert (await send(it, key, "GET", path)).status_code == 200  # which ends the row
        for _ in range(6):
            check_refused(await send(it, wrong, "GET", path), "verify aksk")
        check_refused(await send(it, key, "GET", path), "locked")
        key.clock.advance(299)
        check_refused(await send(it, key, "GET", path), "locked")
        key.clock.advance(2)
        assert (await send(it, key, "GET", path)).status_code == 200
        check_refused(await send(it, wrong, "GET", path), "verify aksk")

    run(tmp_path, scenario)


def test_the_region_is_a_project_to_signed_requests(tmp_path: Path) -> None:
    async def scenario(it: Running, key: Key) -> None:
        demo, admin = await it.client(), await it.client("admin")
        own = it.made.demo_project_id

        async def found(name: str) -> list[str]:
            reply = await send(it, key, "GET", f"/v3/projects?name={name}")
            assert reply.status_code == 200, reply.text
            return [project["id"] for project in reply.json()["projects"]]

        assert await found("here") == [own]
        assert await found("demo") == [own]
        assert await found("elsewhere") == []
        assert (await demo.get("/v3/projects?name=here"))["projects"] == []
        # A project that really has that name, and is the user's, goes before.
        made = (await admin.call("POST", "/v3/projects", {"project": {"name": "here"}})).json()["project"]["id"]
        assert await found("here") == [own]
        user = it.app.db.read_now(find_user, "demo")
        assert user is not None
        role = (await admin.get("/v3/roles?name=member"))["roles"][0]["id"]
        await admin.call("PUT", f"/v3/projects/{made}/users/{user.id}/roles/{role}")
        assert await found("here") == [made]

    run(tmp_path, scenario)


@pytest.mark.parametrize("mount", ["", "/identity"])
def test_life_of_a_key(tmp_path: Path, mount: str) -> None:
    async def scenario(it: Running, first: Key) -> None:
        demo = await it.client()
        user = it.app.db.read_now(find_user, "demo")
        assert user is not None
        url = mount + KEYS
        reply = await demo.call("POST", url, {"credential": {"user_id": user.id, "description": "mine"}})
        assert reply.status_code == 201, reply.text
        made = reply.json()["credential"]
        assert made.keys() == {"access", "secret", "user_id", "description", "status", "create_time"}
        assert (made["user_id"], made["description"], made["status"]) == (user.id, "mine", "active")
        assert (len(made["access"]), len(made["secret"])) == (20, 40)
        key = Key(made["access"], made["secret"], first.clock)
        assert (await send(it, key, "GET", "/v3/volumes")).status_code == 200

        shown = (await demo.get(f"{url}/{key.access}"))["credential"]
        assert shown == {name: value for name, value in made.items() if name != "secret"}
        for query in ("", f"?user_id={user.id}"):
            listed = (await demo.get(url + query))["credentials"]
            assert {one["access"] for one in listed} == {first.access, key.access}
            assert all("secret" not in one for one in listed)

        reply = await demo.call("PUT", f"{url}/{key.access}", {"credential": {"status": "inactive"}})
        assert (reply.status_code, reply.json()["credential"]["status"]) == (200, "inactive")
        check_refused(await send(it, key, "GET", "/v3/volumes"), "cannot be fetched")
        reply = await demo.call("PUT", f"{url}/{key.access}", {"credential": {"status": "active", "description": "d"}})
        assert reply.json()["credential"]["description"] == "d"
        assert (await send(it, key, "GET", "/v3/volumes")).status_code == 200

        assert (await demo.call("POST", url, {"credential": {"user_id": user.id}})).status_code == 201
        full = await demo.call("POST", url, {"credential": {"user_id": user.id}})
        assert full.status_code == 400
        assert "akSkNumExceed" in full.json()["error"]["message"]

        assert (await demo.call("DELETE", f"{url}/{key.access}")).status_code == 204
        assert (await demo.call("DELETE", f"{url}/{key.access}")).status_code == 404
        check_refused(await send(it, key, "GET", "/v3/volumes"), "cannot be fetched")

    run(tmp_path, scenario)


def test_keys_of_others(tmp_path: Path) -> None:
    async def scenario(it: Running, key: Key) -> None:
        demo, admin = await it.client(), await it.client("admin")
        boss, user = (it.app.db.read_now(find_user, name) for name in ("admin", "demo"))
        assert boss is not None
        assert user is not None
        assert (await demo.call("POST", KEYS, {"credential": {"user_id": boss.id}})).status_code == 403
        assert (await demo.call("GET", f"{KEYS}?user_id={boss.id}")).status_code == 403
        made = (await admin.call("POST", KEYS, {"credential": {"user_id": boss.id}})).json()["credential"]["access"]
        for method in ("GET", "DELETE"):
            assert (await demo.call(method, f"{KEYS}/{made}")).status_code == 404
        assert (await demo.call("PUT", f"{KEYS}/{made}", {"credential": {"status": "inactive"}})).status_code == 404
        assert (await admin.get(f"{KEYS}/{key.access}"))["credential"]["user_id"] == user.id
        assert (await admin.call("POST", KEYS, {"credential": {"user_id": "nobody"}})).status_code == 404
        # A key's user may manage keys with it, too.
        assert (await send(it, key, "GET", KEYS)).status_code == 200
        assert (await send(it, key, "DELETE", f"{KEYS}/{key.access}")).status_code == 204

    run(tmp_path, scenario)


def test_the_project_of_a_key_may_go(tmp_path: Path) -> None:
    async def scenario(it: Running, key: Key) -> None:
        admin = await it.client("admin", project="admin")
        assert (await admin.call("DELETE", f"/v3/projects/{it.made.demo_project_id}")).status_code == 204
        assert (await send(it, key, "GET", "/v3/auth/projects")).json()["projects"] == []
        assert (await send(it, key, "GET", "/v3/volumes")).status_code == 403

    run(tmp_path, scenario)


def test_no_repr_shows_a_secret(tmp_path: Path) -> None:
    async def scenario(it: Running, key: Key) -> None:
        facts = it.app.db.read_now(find_access_key, key.access)
        assert facts is not None
        for value in (facts, facts.key, it.made, [facts.key]):
            assert key.secret not in repr(value)
            assert key.secret not in f"{value}"

    run(tmp_path, scenario)


def test_ids_are_unique(tmp_path: Path) -> None:
    async def scenario(it: Running, key: Key) -> None:
        user = it.app.db.read_now(find_user, "demo")
        assert user is not None
        twin = AccessKey(key.access, "s", user.id, None, "", enabled=True, created_at=key.clock())
        with pytest.raises(Exception, match="UNIQUE"):
            await it.app.db.write(insert_access_key, twin)

    run(tmp_path, scenario)
