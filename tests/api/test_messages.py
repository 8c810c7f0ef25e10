"""User messages: every failure of accepted work leaves one."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from openevs.compose import utc_now
from openevs.domain.message import FAILURES
from openevs.engine.errors import Broken, NoSpace
from openevs.operations.catalog import KINDS
from openevs.testing.application import Client, Running
from openevs.testing.faulty import Faults
from tests.api.asking import with_faults

FIELDS = {
    *("id", "event_id", "user_message", "message_level", "created_at", "guaranteed_until"),
    *("request_id", "links", "resource_type", "resource_uuid"),
}


class Clock:
    """A clock that can be put forward."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def __call__(self) -> datetime:
        return utc_now() + self.ahead


async def failed_volume(client: Client, faults: Faults, reason: str = "the pool is full") -> Any:
    faults.fail("ensure_volume", NoSpace(reason))
    reply = await client.call("POST", "/v3/{p}/volumes", {"volume": {"size": 1}})
    await client.until("volume", reply.json()["volume"]["id"], "error")
    return reply


async def messages(client: Client, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await client.get(f"/v3/{{p}}/messages{query}"))["messages"]
    return found


def test_a_volume_that_could_not_be_made(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, faults: Faults) -> None:
        assert await messages(client) == []
        reply = await failed_volume(client, faults)
        (message,) = await messages(client)
        assert message.keys() == FIELDS
        assert message["resource_type"] == "VOLUME"
        assert message["resource_uuid"] == reply.json()["volume"]["id"]
        assert message["event_id"] == "VOLUME_VOLUME_008_012"
        assert message["message_level"] == "ERROR"
        assert message["request_id"] == reply.headers["X-Request-Id"]
        assert message["user_message"] == "The volume could not be created: the pool is full"
        kept = datetime.fromisoformat(message["guaranteed_until"]) - datetime.fromisoformat(message["created_at"])
        assert kept == timedelta(days=30)
        one = f"/v3/{{p}}/messages/{message['id']}"
        assert (await client.get(one))["message"] == message

        stranger = await run.person("stranger", "other", "member")
        stranger.version = "3.71"
        assert await messages(stranger) == []
        for method in ("GET", "DELETE"):
            assert (await stranger.call(method, one)).status_code == 404
        admin = await run.client("admin", project="admin")
        admin.version = "3.71"
        assert await messages(admin) == []
        assert await messages(admin, "?all_tenants=1") == [message | {"links": ANY}]

        assert (await client.call("DELETE", one)).status_code == 204
        assert (await client.call("GET", one)).status_code == 404
        assert await messages(client) == []

    with_faults(tmp_path, work)


class _Any:
    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


ANY = _Any()


def test_each_failure_has_its_words(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, faults: Faults) -> None:
        volume = (await client.volume())["id"]
        snapshot = (await client.snapshot(volume))["id"]
        faults.fail("ensure_snapshot", Broken("a layer is damaged"))
        made = await client.call("POST", "/v3/{p}/snapshots", {"snapshot": {"volume_id": volume}})
        await client.until("snapshot", made.json()["snapshot"]["id"], "error")
        faults.fail("ensure_no_snapshot", Broken("no"))
        await client.call("DELETE", f"/v3/{{p}}/snapshots/{snapshot}")
        await client.until("snapshot", snapshot, "error_deleting")
        faults.fail("ensure_volume_size", Broken("no"))
        await client.call("POST", f"/v3/{{p}}/volumes/{volume}/action", {"os-extend": {"new_size": 2}})
        await client.until("volume", volume, "error_extending")
        found = {one["event_id"]: one for one in await messages(client)}
        assert found.keys() == {
            "VOLUME_VOLUME_SNAPSHOT_009_013",
            "VOLUME_VOLUME_SNAPSHOT_010_016",
            "VOLUME_VOLUME_007_010",
        }
        text = found["VOLUME_VOLUME_SNAPSHOT_009_013"]["user_message"]
        assert text == "The snapshot could not be created: a layer is damaged"

    with_faults(tmp_path, work)


def test_pages_and_filters_by_microversion(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, faults: Faults) -> None:
        made = [(await failed_volume(client, faults)).json()["volume"]["id"] for _ in range(3)]
        newest = [one["resource_uuid"] for one in await messages(client)]
        assert newest == made[::-1]
        page = await client.get("/v3/{p}/messages?limit=2&sort=created_at:asc")
        assert [one["resource_uuid"] for one in page["messages"]] == made[:2]
        assert page["messages_links"][0]["rel"] == "next"
        (one,) = await messages(client, f"?resource_uuid={made[1]}&message_level=ERROR&resource_type=VOLUME")
        assert one["resource_uuid"] == made[1]
        assert await messages(client, "?event_id=VOLUME_VOLUME_001_001") == []
        assert len(await messages(client, "?event_id=VOLUME_VOLUME_008_012")) == 3
        assert (await client.call("GET", "/v3/{p}/messages?colour=red")).status_code == 400
        client.version = "3.4"
        assert len(await messages(client, "?limit=1")) == 3
        client.version = "3.2"
        assert (await client.call("GET", "/v3/{p}/messages")).status_code == 404

    with_faults(tmp_path, work)


def test_messages_are_forgotten_when_their_time_is_over(tmp_path: Path) -> None:
    clock = Clock()

    async def work(run: Running, client: Client, faults: Faults) -> None:
        await failed_volume(client, faults)
        clock.ahead = timedelta(days=0.9)
        await run.app.sweeper.sweep()
        assert len(await messages(client)) == 1
        clock.ahead = timedelta(days=31)
        await run.app.sweeper.sweep()
        fresh = await run.client(password=run.made.demo_password)
        fresh.version = "3.71"
        assert await messages(fresh) == []

    with_faults(tmp_path, work, clock)


def test_every_kind_of_work_has_words_for_its_failure() -> None:
    # A look at storage is part of a request, which says itself that it failed.
    assert KINDS.keys() - FAILURES.keys() == {"look_for_strays"}
