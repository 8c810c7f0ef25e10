"""X-Client-Token: a creating request has its effect once, however often it is sent."""

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from openevs.domain.ids import new_uuid
from openevs.testing.application import Client, Running, running
from openevs.testing.exporting import ExportingMemoryEngine, ExportingMemoryStorage
from tests.api.asking import at_work

CREATES = pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/v3/{p}/snapshots", "snapshot"),
        ("/v2/{p}/snapshots", "snapshot"),
        ("/v2/{p}/cloudsnapshots", "snapshot"),
        ("/v3/{p}/volumes", "volume"),
        ("/v2/{p}/volumes", "volume"),
    ],
)


async def body_for(client: Client, kind: str, name: str = "once") -> dict[str, Any]:
    inner: dict[str, Any] = {"name": name}
    if kind == "volume":
        return {"volume": {**inner, "size": 1}}
    return {"snapshot": {**inner, "volume_id": (await client.volume(name="source"))["id"]}}


async def named(client: Client, kind: str, name: str = "once") -> list[str]:
    return [one["id"] for one in (await client.get(f"/v3/{{p}}/{kind}s?name={name}"))[f"{kind}s"]]


@CREATES
def test_the_same_request_again_gets_the_first_answer(tmp_path: Path, path: str, kind: str) -> None:
    async def work(run: Running, client: Client) -> None:
        body, token = await body_for(client, kind), new_uuid()
        first = await client.call("POST", path, body, X_Client_Token=token)
        assert first.status_code == 202
        made = first.json()[kind]["id"]
        await client.until(kind, made, "available")
        for _ in range(2):
            again = await client.call("POST", path, body, X_Client_Token=token)
            assert (again.status_code, again.json()) == (202, first.json())
        assert await named(client, kind) == [made]
        other = await client.call("POST", path, body, X_Client_Token=new_uuid())
        assert other.json()[kind]["id"] != made
        assert len(await named(client, kind)) == 2

    at_work(tmp_path, work)


@CREATES
def test_another_request_under_the_same_token_is_a_conflict(tmp_path: Path, path: str, kind: str) -> None:
    async def work(run: Running, client: Client) -> None:
        body, token = await body_for(client, kind), new_uuid()
        assert (await client.call("POST", path, body, X_Client_Token=token)).status_code == 202
        changed = {kind: {**body[kind], "name": "twice"}}
        reply = await client.call("POST", path, changed, X_Client_Token=token)
        assert reply.status_code == 409
        if "cloudsnapshots" in path:
            assert reply.json()["error"]["code"] == "EVS.2219"
        else:
            assert reply.json()["conflictingRequest"]["code"] == 409
            assert "X-Client-Token" in reply.json()["conflictingRequest"]["message"]
        assert await named(client, kind, "twice") == []

    at_work(tmp_path, work)


@CREATES
def test_requests_at_the_same_time_make_one(tmp_path: Path, path: str, kind: str) -> None:
    async def work(run: Running, client: Client) -> None:
        body, token = await body_for(client, kind), new_uuid()
        replies = await asyncio.gather(*(client.call("POST", path, body, X_Client_Token=token) for _ in range(20)))
        assert {reply.status_code for reply in replies} == {202}
        (made,) = {reply.json()[kind]["id"] for reply in replies}
        assert await named(client, kind) == [made]
        await client.until(kind, made, "available")
        if kind == "snapshot":
            usage = (await client.get(f"/v3/{{p}}/os-quota-sets/{client.project_id}?usage=true"))["quota_set"]
            assert usage["snapshots"]["in_use"] == 1

    at_work(tmp_path, work)


def test_everything_that_is_made_is_made_once(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        admin = await run.client("admin")
        admin.version = "3.71"

        async def once(path: str, body: dict[str, Any]) -> Any:
            token = new_uuid()
            first, again = [await admin.call("POST", f"/v3/{{p}}/{path}", body, X_Client_Token=token) for _ in range(2)]
            assert first.status_code in (200, 202), first.text
            assert (again.status_code, again.content) == (first.status_code, first.content), path
            return first.json() if first.content else None

        kind = (await once("types", {"volume_type": {"name": "kind"}}))["volume_type"]["id"]
        hidden = await once("types", {"volume_type": {"name": "h", "os-volume-type-access:is_public": False}})
        await once(f"types/{hidden['volume_type']['id']}/action", {"addProjectAccess": {"project": "one"}})
        noted = {"encryption": {"provider": "luks", "control_location": "front-end"}}
        await once(f"types/{hidden['volume_type']['id']}/encryption", noted)
        await once("qos-specs", {"qos_specs": {"name": "specs"}})
        sort = (await once("group_types", {"group_type": {"name": "sort"}}))["group_type"]["id"]
        group = (await once("groups", {"group": {"group_type": sort, "volume_types": [kind]}}))["group"]["id"]
        volume = (await once("volumes", {"volume": {"size": 1, "volume_type": kind, "group_id": group}}))["volume"][
            "id"
        ]
        await client.until("volume", volume, "available")
        await once("group_snapshots", {"group_snapshot": {"group_id": group}})
        await client.until("volume", (await client.volume(name="other"))["id"], "available")
        backup = (await once("backups", {"backup": {"volume_id": volume}}))["backup"]["id"]
        await client.until("backup", backup, "available")
        await once(f"backups/{backup}/restore", {"restore": {}})
        connected = await once("attachments", {"attachment": {"volume_uuid": volume, "connector": {"host": "one"}}})
        await admin.call("DELETE", f"/v3/{{p}}/attachments/{connected['attachment']['id']}")
        single = (await client.volume())["id"]
        await once(f"volumes/{single}/action", {"os-reserve": {}})
        await once(f"volumes/{single}/action", {"os-attach": {"mountpoint": "/dev/vdb", "host_name": "one"}})
        assert len((await client.get(f"/v3/{{p}}/volumes/{single}"))["volume"]["attachments"]) == 1

    at_work(tmp_path, work)


def test_a_refused_request_leaves_its_token_free(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        token = new_uuid()
        body = {"snapshot": {"volume_id": new_uuid()}}
        refused = await client.call("POST", "/v3/{p}/snapshots", body, X_Client_Token=token)
        assert refused.status_code == 404
        body = await body_for(client, "snapshot")
        assert (await client.call("POST", "/v3/{p}/snapshots", body, X_Client_Token=token)).status_code == 202

    at_work(tmp_path, work)


def test_a_token_belongs_to_its_project(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        admin, token = await run.client("admin", project="admin"), new_uuid()
        body = {"volume": {"size": 1}}
        ids = set()
        for who in (client, admin):
            reply = await who.call("POST", "/v3/{p}/volumes", body, X_Client_Token=token)
            assert reply.status_code == 202
            ids.add(reply.json()["volume"]["id"])
        assert len(ids) == 2

    at_work(tmp_path, work)


def test_a_token_that_cannot_be_is_refused(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        for token in ("", "x" * 256):
            reply = await client.call("POST", "/v2/{p}/cloudsnapshots", {}, X_Client_Token=token)
            assert (reply.status_code, reply.json()["error"]["code"]) == (400, "EVS.2218")

    at_work(tmp_path, work)


def clock_ahead(by: timedelta) -> datetime:
    return datetime.now(UTC) + by


def test_a_restart_forgets_no_token_and_the_hours_do(tmp_path: Path) -> None:
    async def main() -> None:
        storage = ExportingMemoryStorage(tmp_path)
        token = new_uuid()
        password: str | None = None
        answers: list[str] = []
        body: dict[str, Any] = {"volume": {"size": 1, "name": "once"}}
        for hours in (0, 7, 9):
            clock = partial(clock_ahead, timedelta(hours=hours))
            async with running(tmp_path, ExportingMemoryEngine(storage), clock=clock) as run:
                password = password or run.made.demo_password
                client = await run.client("demo", password=password, project="demo")
                reply = await client.call("POST", "/v3/{p}/volumes", body, X_Client_Token=token)
                assert reply.status_code == 202
                answers.append(reply.json()["volume"]["id"])
                await client.until("volume", answers[-1], "available")
        assert answers[0] == answers[1]
        assert answers[2] != answers[0]

    asyncio.run(main())
