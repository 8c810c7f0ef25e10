"""Groups and group snapshots, through the API."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from openevs.testing.application import Client, Running
from openevs.testing.faulty import Faults
from tests.api.asking import GONE, at_work, attach, fault, group, kind, operator, type_id, with_faults


def grouped(tmp_path: Path, work: Callable[[Running, Client, dict[str, Any]], Awaitable[None]]) -> None:
    """Run `work` with a group type."""

    async def begin(run: Running, client: Client) -> None:
        client.version = "3.71"
        await work(run, client, await kind(run))

    at_work(tmp_path, begin)


def test_life_of_a_group(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, made: dict[str, Any]) -> None:
        wanted = await type_id(client)
        one = await group(client, made["name"], name=" g ", description="d")
        assert one == {
            "id": one["id"],
            "status": "available",
            "availability_zone": "nova",
            "created_at": one["created_at"],
            "name": "g",
            "description": "d",
            "group_type": made["id"],
            "volume_types": [wanted],
            "group_snapshot_id": None,
            "source_group_id": None,
            "replication_status": "disabled",
        }
        quota = await client.get("/v3/{p}/os-quota-sets/{p}?usage=true")
        assert quota["quota_set"]["groups"]["in_use"] == 1
        volume = await client.volume(group_id=one["id"], volume_type=wanted)
        assert volume["group_id"] == one["id"]
        unclear = await client.call("GET", f"/v3/{{p}}/groups/{one['id']}?list_volume=perhaps")
        assert fault(unclear)[:2] == (400, "badRequest")
        shown = await client.get(f"/v3/{{p}}/groups/{one['id']}?list_volume=True")
        assert shown["group"]["volumes"] == [volume["id"]]
        assert await client.get("/v3/{p}/groups") == {"groups": [{"id": one["id"], "name": "g"}]}
        detail = (await client.get("/v3/{p}/groups/detail?name~=g&list_volume=1"))["groups"]
        assert detail == [shown["group"]]
        assert (await client.get("/v3/{p}/groups?name=x"))["groups"] == []
        refused = await client.call("DELETE", f"/v3/{{p}}/volumes/{volume['id']}")
        assert fault(refused)[:2] == (400, "badRequest")
        assert one["id"] in refused.text
        path = f"/v3/{{p}}/groups/{one['id']}"
        other = await client.volume()
        body = {"name": "h", "add_volumes": other["id"], "remove_volumes": volume["id"]}
        assert (await client.call("PUT", path, {"group": body})).status_code == 202
        shown = (await client.get(path + "?list_volume=true"))["group"]
        assert (shown["name"], shown["volumes"]) == ("h", [other["id"]])
        listed = await client.get(f"/v3/{{p}}/volumes?group_id={one['id']}")
        assert [row["id"] for row in listed["volumes"]] == [other["id"]]
        assert (await client.call("DELETE", f"/v3/{{p}}/volumes/{volume['id']}")).status_code == 202
        kept = await client.call("POST", path + "/action", {"delete": {}})
        assert fault(kept)[:2] == (400, "badRequest")
        assert (await client.call("POST", path + "/action", {"delete": {"delete-volumes": True}})).status_code == 202
        await client.until("group", one["id"], "gone")
        await client.until("volume", other["id"], "gone")
        quota = await client.get("/v3/{p}/os-quota-sets/{p}?usage=true")
        assert [quota["quota_set"][name]["in_use"] for name in ("groups", "gigabytes")] == [0, 0]
        admin = await operator(run)
        assert (await admin.call("DELETE", f"/v3/{{p}}/group_types/{made['id']}")).status_code == 202

    grouped(tmp_path, work)


CREATES: list[tuple[dict[str, Any], int, str]] = [
    ({"volume_types": ["TYPE"]}, 400, "group_type"),
    ({"group_type": "", "volume_types": ["TYPE"]}, 400, "group_type"),
    ({"group_type": "KIND"}, 400, "volume_types"),
    ({"group_type": "KIND", "volume_types": []}, 400, "volume_types"),
    ({"group_type": "KIND", "volume_types": ["TYPE", "TYPE"]}, 400, "volume_types"),
    ({"group_type": GONE, "volume_types": ["TYPE"]}, 404, GONE),
    ({"group_type": "KIND", "volume_types": [GONE]}, 404, GONE),
    ({"group_type": "KIND", "volume_types": ["TYPE"], "availability_zone": "x"}, 400, "availability_zone"),
    ({"group_type": "KIND", "volume_types": ["TYPE"], "name": "x" * 256}, 400, "name"),
    ({"group_type": "KIND", "volume_types": ["TYPE"], "more": 1}, 400, "more"),
]


def test_what_is_refused(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, made: dict[str, Any]) -> None:
        wanted = await type_id(client)
        for body, status, named in CREATES:
            known = {"KIND": made["id"], "TYPE": wanted}
            sent = {
                name: [known.get(one, one) for one in value] if isinstance(value, list) else known.get(value, value)
                for name, value in body.items()
            }
            reply = await client.call("POST", "/v3/{p}/groups", {"group": sent})
            assert reply.status_code == status, (body, reply.text)
            assert named in fault(reply)[2]
        one = await group(client, made["id"])
        path = f"/v3/{{p}}/groups/{one['id']}"
        volume = await client.volume()
        for body, named in (
            ({}, "group"),
            ({"add_volumes": "x"}, "add_volumes"),
            ({"add_volumes": GONE}, "add_volumes"),
            ({"remove_volumes": volume["id"]}, "remove_volumes"),
            ({"add_volumes": volume["id"], "remove_volumes": volume["id"]}, "add_volumes"),
        ):
            reply = await client.call("PUT", path, {"group": body})
            assert fault(reply)[:2] == (400, "badRequest"), body
            assert named in fault(reply)[2]
        other = await client.call("POST", "/v3/{p}/volumes", {"volume": {"size": 1, "group_id": GONE}})
        assert other.status_code == 404
        types = (await client.get("/v3/{p}/types"))["volume_types"]
        strange = next(row["id"] for row in types if row["id"] != wanted)
        new = {"volume": {"size": 1, "group_id": one["id"], "volume_type": strange}}
        assert "volume_type" in fault(await client.call("POST", "/v3/{p}/volumes", new))[2]
        for action in ("enable_replication", "disable_replication", "failover_replication", "list_replication_targets"):
            assert fault(await client.call("POST", path + "/action", {action: {}}))[:2] == (400, "badRequest")
        reset = await client.call("POST", path + "/action", {"reset_status": {"status": "error"}})
        assert fault(reset)[:2] == (403, "forbidden")
        admin = await operator(run)
        for word in ("creating", "error", "available"):
            where = f"/v3/{{p}}/groups/{one['id']}"
            assert (await admin.call("POST", where + "/action", {"reset_status": {"status": word}})).status_code == 202
            assert (await admin.get(where))["group"]["status"] == word
        bad = await admin.call("POST", f"{where}/action", {"reset_status": {"status": "fine"}})
        assert fault(bad)[:2] == (400, "badRequest")
        gone = await admin.call("DELETE", f"/v3/{{p}}/group_types/{made['id']}")
        assert "there are groups" in fault(gone)[2]
        empty = await client.call("POST", "/v3/{p}/group_snapshots", {"group_snapshot": {"group_id": one["id"]}})
        assert "no volumes" in fault(empty)[2]
        client.version = "3.12"
        assert (await client.call("GET", path)).status_code == 404

    grouped(tmp_path, work)


def test_another_project_sees_nothing(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, made: dict[str, Any]) -> None:
        one = await group(client, made["id"])
        await client.volume(group_id=one["id"])
        taken = await snapshot(client, one["id"])
        other = await run.person("other", "elsewhere", "member")
        other.version = "3.71"
        for method, path, body in (
            ("GET", f"groups/{one['id']}", None),
            ("PUT", f"groups/{one['id']}", {"group": {"name": "x"}}),
            ("POST", f"groups/{one['id']}/action", {"delete": {"delete-volumes": True}}),
            ("GET", f"group_snapshots/{taken['id']}", None),
            ("DELETE", f"group_snapshots/{taken['id']}", None),
            ("POST", "group_snapshots", {"group_snapshot": {"group_id": one["id"]}}),
            ("POST", "groups/action", {"create-from-src": {"source_group_id": one["id"]}}),
            ("POST", "groups/action", {"create-from-src": {"group_snapshot_id": taken["id"]}}),
        ):
            reply = await other.call(method, f"/v3/{{p}}/{path}", body)
            assert fault(reply)[:2] == (404, "itemNotFound"), path
        assert (await other.get("/v3/{p}/groups/detail"))["groups"] == []
        assert (await other.get("/v3/{p}/group_snapshots/detail"))["group_snapshots"] == []
        admin = await operator(run)
        seen = (await admin.get("/v3/{p}/groups/detail?all_tenants=1"))["groups"]
        assert [(row["id"], row["project_id"]) for row in seen] == [(one["id"], client.project_id)]
        reader = await run.person("reader", "demo", "reader")
        reader.version = "3.71"
        assert (await reader.get(f"/v3/{{p}}/groups/{one['id']}"))["group"]["id"] == one["id"]
        assert fault(await reader.call("PUT", f"/v3/{{p}}/groups/{one['id']}", {"group": {"name": "x"}}))[0] == 403

    grouped(tmp_path, work)


async def snapshot(client: Client, group_id: str, **fields: Any) -> dict[str, Any]:
    """Return a new group snapshot."""
    body = {"group_snapshot": {"group_id": group_id, **fields}}
    reply = await client.call("POST", "/v3/{p}/group_snapshots", body)
    assert reply.status_code == 202, reply.text
    return await client.until("group_snapshot", reply.json()["group_snapshot"]["id"], "available")


def test_life_of_a_group_snapshot(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, made: dict[str, Any]) -> None:
        one = await group(client, made["id"])
        volumes = [await client.volume(group_id=one["id"]) for _ in range(2)]
        taken = await snapshot(client, one["id"], name="s", description="d")
        assert taken == {
            "id": taken["id"],
            "group_id": one["id"],
            "group_type_id": made["id"],
            "status": "available",
            "created_at": taken["created_at"],
            "name": "s",
            "description": "d",
        }
        rows = (await client.get("/v3/{p}/snapshots/detail"))["snapshots"]
        assert {row["volume_id"] for row in rows} == {volume["id"] for volume in volumes}
        assert {row["group_snapshot_id"] for row in rows} == {taken["id"]}
        assert len({row["openevs:taken_at"] for row in rows}) == 1, "it is one instant"
        assert {row["status"] for row in rows} == {"available"}
        listed = await client.get(f"/v3/{{p}}/group_snapshots/detail?group_id={one['id']}&status=available")
        assert listed["group_snapshots"] == [taken]
        assert (await client.get("/v3/{p}/group_snapshots"))["group_snapshots"] == [{"id": taken["id"], "name": "s"}]
        for path, named in ((f"snapshots/{rows[0]['id']}", taken["id"]), (f"volumes/{volumes[0]['id']}", one["id"])):
            assert named in fault(await client.call("DELETE", f"/v3/{{p}}/{path}"))[2]
        held = await client.call("POST", f"/v3/{{p}}/groups/{one['id']}/action", {"delete": {"delete-volumes": True}})
        assert "group snapshots" in fault(held)[2]
        path = f"/v3/{{p}}/group_snapshots/{taken['id']}"
        admin = await operator(run)
        for word in ("creating", "error", "available"):
            assert (await admin.call("POST", path + "/action", {"reset_status": {"status": word}})).status_code == 202
            assert (await admin.get(path))["group_snapshot"]["status"] == word
        assert (await client.call("DELETE", path)).status_code == 202
        await client.until("group_snapshot", taken["id"], "gone")
        assert (await client.get("/v3/{p}/snapshots"))["snapshots"] == []

    grouped(tmp_path, work)


def test_a_group_from_a_group_and_from_a_group_snapshot(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, made: dict[str, Any]) -> None:
        one = await group(client, made["id"])
        for _ in range(2):
            await client.volume(group_id=one["id"])
        taken = await snapshot(client, one["id"])
        path = "/v3/{p}/groups/action"
        for source in ({"group_snapshot_id": taken["id"]}, {"source_group_id": one["id"]}):
            reply = await client.call("POST", path, {"create-from-src": {"name": "copy", **source}})
            assert reply.status_code == 202, reply.text
            copied = await client.until("group", reply.json()["group"]["id"], "available")
            assert {key: copied[key] for key in source} == source
            assert copied["volume_types"] == one["volume_types"]
            found = (await client.get(f"/v3/{{p}}/volumes/detail?group_id={copied['id']}"))["volumes"]
            assert [(row["status"], row["size"]) for row in found] == [("available", 1)] * 2
            assert all(bool(row["snapshot_id"]) == ("group_snapshot_id" in source) for row in found)
            gone = f"/v3/{{p}}/groups/{copied['id']}/action"
            assert (await client.call("POST", gone, {"delete": {"delete-volumes": True}})).status_code == 202
            await client.until("group", copied["id"], "gone")
        for body in ({}, {"group_snapshot_id": taken["id"], "source_group_id": one["id"]}, {"source_group_id": "x"}):
            assert fault(await client.call("POST", path, {"create-from-src": body}))[:2] == (400, "badRequest")
        assert (await client.call("POST", path, {"create-from-src": {"source_group_id": GONE}})).status_code == 404
        quota = await client.get("/v3/{p}/os-quota-sets/{p}?usage=true")
        assert [quota["quota_set"][name]["in_use"] for name in ("groups", "volumes", "snapshots")] == [1, 2, 2]

    grouped(tmp_path, work)


def test_quota_of_groups(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, made: dict[str, Any]) -> None:
        await group(client, made["id"])
        admin = await operator(run)
        limit = {"quota_set": {"groups": 1}}
        path = f"/v3/{{p}}/os-quota-sets/{client.project_id}"
        assert (await admin.call("PUT", path, limit)).status_code == 200
        body = {"group": {"group_type": made["id"], "volume_types": [await type_id(client)]}}
        assert fault(await client.call("POST", "/v3/{p}/groups", body))[:2] == (413, "overLimit")

    grouped(tmp_path, work)


CONSISTENT = {"consistent_group_snapshot_enabled": "<is> True"}
CONNECTOR = {"host": "h"}


def test_a_connected_volume_does_not_join_a_consistent_group(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        client.version = "3.71"
        loose, strict = await kind(run, name="loose"), await kind(run, name="strict", group_specs=CONSISTENT)
        volume = await client.volume()
        attachment = (await attach(client, volume["id"], CONNECTOR))["id"]
        add = {"group": {"add_volumes": volume["id"]}}
        one, other = await group(client, strict["id"]), await group(client, loose["id"])
        refused = await client.call("PUT", f"/v3/{{p}}/groups/{one['id']}", add)
        assert "detach it, add it, and attach it anew" in fault(refused)[2]
        assert (await client.call("PUT", f"/v3/{{p}}/groups/{other['id']}", add)).status_code == 202
        # Served apart, but the type does not ask for one instant.
        await snapshot(client, other["id"])
        assert (await client.call("DELETE", f"/v3/{{p}}/attachments/{attachment}")).status_code == 200

    at_work(tmp_path, work)


def test_volumes_attached_in_a_consistent_group_are_frozen_together(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        client.version = "3.71"
        one = await group(client, (await kind(run, group_specs=CONSISTENT))["id"])
        for _ in range(2):
            volume = await client.volume(group_id=one["id"])
            body = {"attachment": {"volume_uuid": volume["id"], "connector": {"host": "h"}}}
            assert (await client.call("POST", "/v3/{p}/attachments", body)).status_code == 200
        await snapshot(client, one["id"])
        for row in (await client.get("/v3/{p}/attachments"))["attachments"]:
            assert (await client.call("DELETE", f"/v3/{{p}}/attachments/{row['id']}")).status_code == 200
        rows = (await client.get("/v3/{p}/snapshots/detail"))["snapshots"]
        assert len(rows) == 2
        assert len({row["openevs:taken_at"] for row in rows}) == 1

    at_work(tmp_path, work)


@pytest.mark.parametrize("kind_of_work", ["snapshot", "copy"])
def test_a_volume_does_not_leave_a_consistent_group_that_is_being_frozen(tmp_path: Path, kind_of_work: str) -> None:
    """It could be attached by itself before it is frozen, and then not be frozen together with the others."""

    async def work(run: Running, client: Client, faults: Faults) -> None:
        one = await group(client, (await kind(run, group_specs=CONSISTENT))["id"])
        first, other = [(await client.volume(group_id=one["id"]))["id"] for _ in range(2)]
        await attach(client, first, CONNECTOR)
        hang = faults.hang("ensure_group_snapshot")
        if kind_of_work == "snapshot":
            path, asked = "group_snapshots", {"group_snapshot": {"group_id": one["id"]}}
        else:
            path, asked = "groups/action", {"create-from-src": {"source_group_id": one["id"]}}
        made = await client.call("POST", f"/v3/{{p}}/{path}", asked)
        assert made.status_code == 202, made.text
        await asyncio.wait_for(hang.reached.wait(), 10)
        leave = {"group": {"remove_volumes": other}}
        refused = await client.call("PUT", f"/v3/{{p}}/groups/{one['id']}", leave)
        assert "is just being frozen" in fault(refused)[2]
        await attach(client, other, CONNECTOR)
        hang.release()
        ((name, whole),) = made.json().items()
        await client.until(name, whole["id"], "available")
        assert (await client.call("PUT", f"/v3/{{p}}/groups/{one['id']}", leave)).status_code == 202

    with_faults(tmp_path, work)


def test_volumes_connected_over_tcp_are_frozen_at_one_instant_alone_or_not_at_all(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, group_type: dict[str, Any]) -> None:
        admin = await operator(run)
        strict = await kind(run, name="strict", group_specs=CONSISTENT)
        for group_type_id, together in ((strict["id"], True), (group_type["id"], False)):
            made = await group(client, group_type_id)
            members = [await client.volume(group_id=made["id"], volume_type=await type_id(admin)) for _ in range(3)]
            await attach(client, members[0]["id"], {**CONNECTOR, "transport": "tcp"})
            await snapshot(client, made["id"])  # those that are not connected are frozen with it
            await attach(client, members[1]["id"], CONNECTOR)
            asked = (
                ("group_snapshots", {"group_snapshot": {"group_id": made["id"]}}),
                ("groups/action", {"create-from-src": {"source_group_id": made["id"]}}),
            )
            for path, body in asked if together else ():
                refused = await client.call("POST", f"/v3/{{p}}/{path}", body)
                assert refused.status_code == 400, refused.text
                assert members[0]["id"] in fault(refused)[2]
                assert "over unix sockets only" in fault(refused)[2]
            if not together:
                await snapshot(client, made["id"])
            for row in (await client.get("/v3/{p}/attachments"))["attachments"]:
                assert (await client.call("DELETE", f"/v3/{{p}}/attachments/{row['id']}")).status_code == 200

    grouped(tmp_path, work)


def test_types_that_a_group_names_stay(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, kind_: dict[str, Any]) -> None:
        admin = await operator(run)
        made = await admin.call("POST", "/v3/{p}/types", {"volume_type": {"name": "only"}})
        volume_type = made.json()["volume_type"]["id"]
        empty = await group(client, kind_["id"], volume_types=[volume_type])
        for path in (f"/v3/{{p}}/types/{volume_type}", f"/v3/{{p}}/group_types/{kind_['id']}"):
            status, _, message = fault(await admin.call("DELETE", path))
            assert (status, "group" in message) == (400, True), message
        delete = {"delete": {"delete-volumes": False}}
        assert (await client.call("POST", f"/v3/{{p}}/groups/{empty['id']}/action", delete)).status_code == 202
        await client.until("group", empty["id"], "gone")
        for path in (f"/v3/{{p}}/types/{volume_type}", f"/v3/{{p}}/group_types/{kind_['id']}"):
            assert (await admin.call("DELETE", path)).status_code == 202

    grouped(tmp_path, work)


def test_a_frozen_backend_takes_and_gives_nothing_of_groups_either(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, made: dict[str, Any]) -> None:
        admin, host = await operator(run), {"host": "openevs@layers"}
        one = await group(client, made["id"], name="g")
        volume = await client.volume(group_id=one["id"])
        taken = await snapshot(client, one["id"])
        assert (await admin.call("PUT", "/v3/{p}/os-services/freeze", host)).status_code == 200
        new = {"group_snapshot": {"group_id": one["id"]}}
        for reply in (
            await client.call("POST", "/v3/{p}/group_snapshots", new),
            await client.call("DELETE", f"/v3/{{p}}/group_snapshots/{taken['id']}"),
        ):
            assert fault(reply)[:2] == (400, "badRequest")
            assert "frozen" in reply.text
        # As a volume that is made of another one: accepted, and then there is no place for it.
        for source in ({"source_group_id": one["id"]}, {"group_snapshot_id": taken["id"]}):
            reply = await client.call("POST", "/v3/{p}/groups/action", {"create-from-src": source})
            assert reply.status_code == 202, reply.text
            copy = await client.until("group", reply.json()["group"]["id"], "error")
            assert (await run.app.engine.list_objects()).volumes.keys() == {volume["id"]}
            path = f"/v3/{{p}}/groups/{copy['id']}/action"
            reply = await client.call("POST", path, {"delete": {"delete-volumes": True}})
            assert (reply.status_code, "frozen" in reply.text) == (400, True)
        assert (await admin.call("PUT", "/v3/{p}/os-services/thaw", host)).status_code == 200
        assert (await client.call("DELETE", f"/v3/{{p}}/group_snapshots/{taken['id']}")).status_code == 202
        assert (await client.call("POST", "/v3/{p}/group_snapshots", new)).status_code == 202
        off = {**host, "binary": "cinder-volume"}
        assert (await admin.call("PUT", "/v3/{p}/os-services/disable", off)).status_code == 200
        reply = await client.call("POST", "/v3/{p}/groups/action", {"create-from-src": {"source_group_id": one["id"]}})
        await client.until("group", reply.json()["group"]["id"], "error")

    grouped(tmp_path, work)
