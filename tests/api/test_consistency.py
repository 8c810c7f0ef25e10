"""Consistency groups and their snapshots: groups under their older names, with an older client's words."""

from pathlib import Path
from typing import Any

from openevs.domain.group import RESERVED_TYPE, RESERVED_TYPE_ID
from openevs.testing.application import Client, Running
from tests.api.asking import GONE, at_work, fault, group, kind, ok, operator, type_id

GROUPS = "/v3/{p}/consistencygroups"
SNAPSHOTS = "/v3/{p}/cgsnapshots"


async def consistency_group(client: Client, **fields: Any) -> dict[str, Any]:
    """Return a new consistency group, asked for as python-cinderclient does."""
    beside = {"user_id": None, "project_id": None, "status": "creating"}
    body = {"consistencygroup": {"volume_types": f"{await type_id(client)},", **beside, **fields}}
    made = (await ok(client, "POST", GROUPS, body))["consistencygroup"]
    assert made.keys() == {"id", "name"}
    return await client.until("consistencygroup", made["id"], "available")


def test_a_consistency_group_lives_as_a_group_does(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        made = await consistency_group(client, name="c", description="d")
        assert made == {
            "id": made["id"],
            "status": "available",
            "availability_zone": made["availability_zone"],
            "created_at": made["created_at"],
            "name": "c",
            "description": "d",
            "volume_types": [await type_id(client)],
        }
        one = f"{GROUPS}/{made['id']}"
        assert (await client.get(GROUPS))["consistencygroups"] == [{"id": made["id"], "name": "c"}]
        assert (await client.get(f"{GROUPS}/detail"))["consistencygroups"] == [made]
        inside = await client.volume(consistencygroup_id=made["id"])
        outside = await client.volume()
        assert (inside["consistencygroup_id"], outside["consistencygroup_id"]) == (made["id"], None)
        await ok(client, "PUT", one, {"consistencygroup": {"name": "e", "add_volumes": f"{outside['id']},"}})
        for volume in (await client.get("/v3/{p}/volumes/detail"))["volumes"]:
            assert volume["consistencygroup_id"] == made["id"]
        await ok(client, "PUT", f"{one}/update", {"consistencygroup": {"remove_volumes": outside["id"]}})
        assert (await client.get(one))["consistencygroup"]["name"] == "e"
        body = {"cgsnapshot": {"consistencygroup_id": made["id"], "name": "s", "status": "creating"}}
        taken = (await ok(client, "POST", SNAPSHOTS, body))["cgsnapshot"]
        assert taken == {"id": taken["id"], "name": "s"}
        shown = await client.until("cgsnapshot", taken["id"], "available")
        assert shown == {
            **taken,
            "consistencygroup_id": made["id"],
            "status": "available",
            "created_at": shown["created_at"],
            "description": None,
        }
        assert (await client.get(SNAPSHOTS))["cgsnapshots"] == [taken]
        assert (await client.get(f"{SNAPSHOTS}/detail?consistencygroup_id={made['id']}"))["cgsnapshots"] == [shown]
        assert (await client.get(f"{SNAPSHOTS}?consistencygroup_id={GONE}"))["cgsnapshots"] == []
        for source in (
            {"cgsnapshot_id": taken["id"], "source_cgid": None},
            {"source_cgid": made["id"], "cgsnapshot_id": ""},
        ):
            copied = await ok(
                client, "POST", f"{GROUPS}/create_from_src", {"consistencygroup-from-src": {"name": "f", **source}}
            )
            copy = copied["consistencygroup"]["id"]
            await client.until("consistencygroup", copy, "available")
            volumes = (await client.get("/v3/{p}/volumes/detail"))["volumes"]
            assert sum(volume["consistencygroup_id"] == copy for volume in volumes) == 1
            await ok(client, "POST", f"{GROUPS}/{copy}/delete", {"consistencygroup": {"force": "True"}})
            await client.until("consistencygroup", copy, "gone")
        await ok(client, "DELETE", f"{SNAPSHOTS}/{taken['id']}")
        await client.until("cgsnapshot", taken["id"], "gone")
        assert fault(await client.call("POST", f"{one}/delete", {"consistencygroup": {}}))[0] == 400
        await ok(client, "PUT", one, {"consistencygroup": {"remove_volumes": inside["id"]}})
        await ok(client, "POST", f"{one}/delete", {})
        await client.until("consistencygroup", made["id"], "gone")
        last = await consistency_group(client)
        await ok(client, "DELETE", f"{GROUPS}/{last['id']}")
        await client.until("consistencygroup", last["id"], "gone")

    at_work(tmp_path, work)


def test_what_is_asked_of_consistency_groups_wrongly(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        made = await consistency_group(client, name="c")
        one = f"{GROUPS}/{made['id']}"
        for method, path, body, status, word in (
            ("POST", GROUPS, {"consistencygroup": {}}, 400, "volume_types"),
            ("POST", GROUPS, {"consistencygroup": {"volume_types": ""}}, 400, "volume_types"),
            ("POST", GROUPS, {"consistencygroup": {"volume_types": ["a"]}}, 400, "volume_types"),
            ("POST", GROUPS, {"consistencygroup": {"volume_types": "nothing"}}, 404, "nothing"),
            ("POST", f"{GROUPS}/create_from_src", {"consistencygroup-from-src": {}}, 400, "cgsnapshot_id"),
            ("POST", f"{GROUPS}/create_from_src", {"consistencygroup-from-src": {"cgsnapshot_id": GONE}}, 404, GONE),
            ("POST", f"{GROUPS}/create_from_src", {"consistencygroup-from-src": {"source_cgid": GONE}}, 404, GONE),
            (
                "POST",
                f"{GROUPS}/create_from_src",
                {"consistencygroup-from-src": {"source_cgid": made["id"], "cgsnapshot_id": GONE}},
                400,
                "source_cgid",
            ),
            (
                "POST",
                f"{GROUPS}/create_from_src",
                {"consistencygroup-from-src": {"source_cgid": made["id"]}},
                400,
                "no volumes",
            ),
            ("GET", f"{GROUPS}/{GONE}", None, 404, GONE),
            ("POST", "/v3/{p}/volumes", {"volume": {"size": 1, "consistencygroup_id": GONE}}, 404, GONE),
            ("PUT", one, {"consistencygroup": {}}, 400, "add_volumes"),
            ("PUT", one, {"consistencygroup": {"description": ""}}, 400, "add_volumes"),
            ("PUT", one, {"consistencygroup": {"add_volumes": "no-uuid"}}, 400, "add_volumes"),
            ("POST", f"{one}/delete", {"consistencygroup": {"force": "perhaps"}}, 400, "force"),
            ("POST", f"{one}/delete", {"other": {}}, 400, "consistencygroup"),
            ("POST", SNAPSHOTS, {"cgsnapshot": {}}, 400, "consistencygroup_id"),
            ("POST", SNAPSHOTS, {"cgsnapshot": {"consistencygroup_id": GONE}}, 404, GONE),
            ("POST", SNAPSHOTS, {"cgsnapshot": {"consistencygroup_id": made["id"]}}, 400, "no volumes"),
            ("GET", f"{SNAPSHOTS}/{GONE}", None, 404, GONE),
            ("DELETE", f"{SNAPSHOTS}/{GONE}", None, 404, GONE),
        ):
            found, _, message = fault(await client.call(method, path, body))
            assert (found, word in message) == (status, True), (method, path, body, message)
        client.version = "3.6"
        await ok(client, "PUT", one, {"consistencygroup": {"description": "", "name": None}})
        assert (await client.get(one))["consistencygroup"]["description"] == ""
        stranger = await run.person("stranger", "elsewhere", "member")
        assert (await stranger.call("GET", one)).status_code == 404
        assert (await stranger.get(GROUPS))["consistencygroups"] == []
        reader = await run.person("reader", run.made.demo_project, "reader")
        assert (await reader.get(one))["consistencygroup"]["id"] == made["id"]
        assert (await reader.call("POST", f"{one}/delete", {})).status_code == 403

    at_work(tmp_path, work)


def test_the_calls_for_groups_leave_consistency_groups_alone(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        client.version = "3.71"
        made = await consistency_group(client)
        await client.volume(consistencygroup_id=made["id"])
        body = {"cgsnapshot": {"consistencygroup_id": made["id"]}}
        taken = (await ok(client, "POST", SNAPSHOTS, body))["cgsnapshot"]["id"]
        await client.until("cgsnapshot", taken, "available")
        one, of_it = f"/v3/{{p}}/groups/{made['id']}", f"/v3/{{p}}/group_snapshots/{taken}"
        calls: tuple[tuple[str, str, Any], ...] = (
            ("GET", one, None),
            ("PUT", one, {"group": {"name": "x"}}),
            ("POST", f"{one}/action", {"delete": {"delete-volumes": True}}),
            ("POST", "/v3/{p}/groups/action", {"create-from-src": {"source_group_id": made["id"]}}),
            ("POST", "/v3/{p}/groups/action", {"create-from-src": {"group_snapshot_id": taken}}),
            ("POST", "/v3/{p}/group_snapshots", {"group_snapshot": {"group_id": made["id"]}}),
            ("GET", of_it, None),
            ("DELETE", of_it, None),
            ("POST", "/v3/{p}/groups", {"group": {"group_type": RESERVED_TYPE, "volume_types": ["x"]}}),
            ("POST", "/v3/{p}/groups", {"group": {"group_type": RESERVED_TYPE_ID, "volume_types": ["x"]}}),
        )
        for method, path, body in calls:
            status, _, message = fault(await client.call(method, path, body))
            assert (status, RESERVED_TYPE in message) == (400, True), (method, path, message)
        for path in ("groups", "groups/detail", "group_snapshots", "group_snapshots/detail"):
            listed = await client.get(f"/v3/{{p}}/{path}?with_count=True")
            assert (listed[path.split("/")[0]], listed["count"]) == ([], 0)
        # The other way round there is no such wall: an older client sees every group, as at Cinder.
        plain = await group(client, (await kind(run))["id"])
        listed = (await client.get(GROUPS))["consistencygroups"]
        assert {row["id"] for row in listed} == {plain["id"], made["id"]}

    at_work(tmp_path, work)


def test_the_type_of_consistency_groups_stays(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        client.version = "3.71"
        admin = await operator(run)
        one = f"/v3/{{p}}/group_types/{RESERVED_TYPE_ID}"
        found = (await admin.get(one))["group_type"]
        assert (found["name"], found["group_specs"]) == (
            RESERVED_TYPE,
            {"consistent_group_snapshot_enabled": "<is> True"},
        )
        assert fault(await admin.call("DELETE", one))[0] == 400
        assert fault(await admin.call("PUT", one, {"group_type": {"name": "x"}}))[0] == 400
        assert (await admin.call("PUT", one, {"group_type": {"description": "d"}})).status_code == 200

    at_work(tmp_path, work)
