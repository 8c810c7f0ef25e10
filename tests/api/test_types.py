"""Volume types, their parts, QoS specs and retyping."""

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from openevs.engine.port import Limits
from openevs.testing.application import Client, Running
from openevs.testing.exporting import ExportingMemoryEngine, ExportingMemoryStorage
from openevs.testing.faulty import Faults, faulty
from tests.api import asking
from tests.api.asking import refused, with_admin

TYPES, QOS = "/v3/{p}/types", "/v3/{p}/qos-specs"
ok = partial(asking.ok, status=200)


async def make_type(admin: Client, name: str, **fields: Any) -> dict[str, Any]:
    made: dict[str, Any] = (await ok(admin, "POST", TYPES, {"volume_type": {"name": name, **fields}}))["volume_type"]
    return made


def test_a_type_is_made_shown_changed_and_deleted(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, admin: Client) -> None:
        made = await make_type(
            admin, " fast ", description="quick", extra_specs={"vendor_name": "Open Source", "n": "1"}
        )
        assert (made["name"], made["extra_specs"]) == ("fast", {"vendor_name": "Open Source", "n": "1"})
        assert await ok(admin, "GET", f"{TYPES}/{made['id']}") == {"volume_type": {**made, "qos_specs_id": None}}
        assert (await ok(client, "GET", f"{TYPES}/{made['id']}"))["volume_type"]["extra_specs"] == {}
        assert (await refused(admin, "POST", TYPES, {"volume_type": {"name": "fast"}}))[0] == 409
        for value in (1, 1.5, True):
            odd = {"volume_type": {"name": "odd", "extra_specs": {"n": value}}}
            assert (await refused(admin, "POST", TYPES, odd))[0] == 400
            assert (await refused(admin, "POST", f"{TYPES}/{made['id']}/extra_specs", {"extra_specs": {"n": value}}))[
                0
            ] == 400
        volume = await client.volume(1, volume_type="fast")
        assert (volume["volume_type"], volume["volume_type_id"]) == ("fast", made["id"])
        snapshot = await client.snapshot(volume["id"])
        changes = {"name": "faster", "is_public": "true"}
        changed = (await ok(admin, "PUT", f"{TYPES}/{made['id']}", {"volume_type": changes}))["volume_type"]
        assert (changed["name"], changed["description"]) == ("faster", "quick")
        assert (await client.get(f"/v3/{{p}}/volumes/{volume['id']}"))["volume"]["volume_type"] == "faster"
        usage = (await admin.get(f"/v3/{{p}}/os-quota-sets/{client.project_id}?usage=true"))["quota_set"]
        assert (usage["volumes_faster"]["in_use"], usage["gigabytes_faster"]["in_use"]) == (1, 2)
        assert "volumes_fast" not in usage
        gone = {"volume": {"size": 1, "volume_type": "fast"}}
        assert (await refused(client, "POST", "/v3/{p}/volumes", gone))[0] == 404
        status, text = await refused(admin, "DELETE", f"{TYPES}/{made['id']}")
        assert (status, "still the type of volumes" in text) == (400, True)
        copy = await client.volume(1, snapshot_id=snapshot["id"])
        assert copy["volume_type"] == "faster"
        for each in (copy, volume):
            await client.call("DELETE", f"/v3/{{p}}/volumes/{each['id']}?cascade=true")
            await client.until("volume", each["id"], "gone")
        await ok(admin, "DELETE", f"{TYPES}/{made['id']}", status=202)
        assert (await refused(admin, "GET", f"{TYPES}/{made['id']}"))[0] == 404

    with_admin(tmp_path, work)


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 256}, "name"),
        ({"name": 7}, "name"),
        ({"name": "a", "extra_specs": {"a b": "c"}}, "extra_specs"),
        ({"name": "a", "extra_specs": {"a": {}}}, "extra_specs"),
        ({"name": "a", "os-volume-type-access:is_public": "maybe"}, "is_public"),
        ({"name": "a", "other": 1}, "other"),
    ],
)
def test_a_type_with_mistakes_is_refused(tmp_path: Path, body: dict[str, Any], names: str) -> None:
    async def work(run: Running, client: Client, admin: Client) -> None:
        status, text = await refused(admin, "POST", TYPES, {"volume_type": body})
        assert (status, names in text) == (400, True), text
        assert (await client.call("POST", TYPES, {"volume_type": {"name": "a"}})).status_code == 403

    with_admin(tmp_path, work)


def test_a_private_type_is_for_those_who_have_access(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, admin: Client) -> None:
        made = await make_type(admin, "ours", **{"os-volume-type-access:is_public": False})
        other = await run.person("else", "elsewhere", "member")
        path, access = f"{TYPES}/{made['id']}", f"{TYPES}/{made['id']}/os-volume-type-access"
        for somebody in (client, other):
            assert (await refused(somebody, "GET", path))[0] == 404
            body = {"volume": {"size": 1, "volume_type": "ours"}}
            assert (await refused(somebody, "POST", "/v3/{p}/volumes", body))[0] == 404
        grant = {"project": client.project_id}
        await ok(admin, "POST", f"{path}/action", {"addProjectAccess": grant}, status=202)
        assert (await refused(admin, "POST", f"{path}/action", {"addProjectAccess": grant}))[0] == 409
        for project in ("", "p" * 256):
            nobody = {"addProjectAccess": {"project": project}}
            assert (await refused(admin, "POST", f"{path}/action", nobody))[0] == 400
        public = f"{TYPES}/{(await ok(admin, 'GET', f'{TYPES}/default'))['volume_type']['id']}/action"
        more = {"addProjectAccess": {"project": "one", "colour": "red"}}
        assert (await refused(admin, "POST", f"{path}/action", more))[0] == 400
        for action in ("addProjectAccess", "removeProjectAccess"):
            status, text = await refused(admin, "POST", public, {action: grant})
            assert (status, "is public" in text) == (400, True)
        listed = (await ok(admin, "GET", access))["volume_type_access"]
        assert listed == [{"volume_type_id": made["id"], "project_id": client.project_id}]
        assert (await client.volume(1, volume_type="ours"))["volume_type"] == "ours"
        assert (await refused(other, "GET", path))[0] == 404
        names = {one["name"] for one in (await client.get(TYPES))["volume_types"]}
        assert "ours" in names
        assert "ours" not in {one["name"] for one in (await other.get(TYPES))["volume_types"]}
        assert (await refused(other, "GET", f"{TYPES}?marker={made['id']}"))[0] == 404
        for somebody, shown in ((client, True), (other, False), (admin, True)):
            for what in ("", "/defaults"):
                quotas = (await somebody.get(f"/v3/{{p}}/os-quota-sets/{somebody.project_id}{what}"))["quota_set"]
                assert ("volumes_ours" in quotas) is shown
        for word in ("None", "true", "false"):  # which a member's client sends, and cannot choose by
            assert {one["name"] for one in (await client.get(f"{TYPES}?is_public={word}"))["volume_types"]} == names
        (private,) = (await admin.get(TYPES + "?is_public=false"))["volume_types"]
        assert private["name"] == "ours"
        assert len((await admin.get(TYPES + "?is_public=none"))["volume_types"]) == len(names)
        await ok(admin, "POST", f"{path}/action", {"removeProjectAccess": grant}, status=202)
        assert (await refused(client, "GET", path))[0] == 404
        public = (await admin.get(TYPES + "/default"))["volume_type"]["id"]
        assert (await refused(admin, "GET", f"{TYPES}/{public}/os-volume-type-access"))[0] == 404

    with_admin(tmp_path, work)


def test_lists_of_types(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, admin: Client) -> None:
        for name in ("one", "two", "three"):
            await make_type(admin, name, extra_specs={"multiattach": "<is> True", "secret": name})
        sorted_names = [one["name"] for one in (await admin.get(TYPES + "?sort=name:asc&limit=3"))["volume_types"]]
        assert sorted_names == ["ESSD", "ESSD2", "GPSSD"]
        page = await admin.get(TYPES + "?sort=name:asc&limit=3")
        following = page["volume_type_links"][0]["href"].split("/v3/")[1].split("/", 1)[1]
        rest = (await admin.get("/v3/{p}/" + following))["volume_types"]
        assert rest[0]["name"] == "GPSSD2"
        wanted = TYPES + "?extra_specs={'secret':'two'}"
        assert [one["name"] for one in (await admin.get(wanted))["volume_types"]] == ["two"]
        assert (await client.get(wanted))["volume_types"] == []
        shared = await client.get(TYPES + "?extra_specs={'multiattach':'<is> True'}")
        assert {one["name"] for one in shared["volume_types"]} == {"one", "two", "three"}
        assert (await refused(admin, "GET", TYPES + "?is_public=maybe"))[0] == 400
        assert (await refused(admin, "GET", TYPES + "?extra_specs=x"))[0] == 400

    with_admin(tmp_path, work)


def test_extra_specs_change_while_no_volume_is_of_the_type(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, admin: Client) -> None:
        specs = f"{TYPES}/{(await make_type(admin, 'plain'))['id']}/extra_specs"
        assert (await refused(admin, "POST", specs, {"extra_specs": {"a": "1"}, "beside": 1}))[0] == 400
        assert await ok(admin, "POST", specs, {"extra_specs": {"a": "1", "b": "2"}}) == {
            "extra_specs": {"a": "1", "b": "2"}
        }
        assert await ok(admin, "PUT", f"{specs}/a", {"a": "3"}) == {"a": "3"}
        assert (await refused(admin, "PUT", f"{specs}/a", {"b": "3"}))[0] == 400
        await ok(admin, "DELETE", f"{specs}/b", status=202)
        assert (await refused(admin, "DELETE", f"{specs}/b"))[0] == 404
        assert await ok(admin, "GET", specs) == {"extra_specs": {"a": "3"}}
        await client.volume(1, volume_type="plain")
        for method, path, body in (("POST", specs, {"extra_specs": {"c": "1"}}), ("DELETE", f"{specs}/a", None)):
            assert (await refused(admin, method, path, body))[0] == 400
            assert (await client.call(method, path, body)).status_code == 403

    with_admin(tmp_path, work)


def test_a_type_that_asks_for_what_no_backend_has(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, admin: Client) -> None:
        await make_type(admin, "far", extra_specs={"capabilities:vendor_name": "Somebody"})
        reply = await ok(client, "POST", "/v3/{p}/volumes", {"volume": {"size": 1, "volume_type": "far"}}, status=202)
        volume = await client.until("volume", reply["volume"]["id"], "error")
        assert "No valid backend" in volume["openevs:reason"]
        (message,) = (await client.get("/v3/{p}/messages"))["messages"]
        assert (message["resource_uuid"], "Somebody" in message["user_message"]) == (volume["id"], True)

    with_admin(tmp_path, work)


def test_what_others_than_administrators_ask_of_is_public_has_no_effect(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, admin: Client) -> None:
        await make_type(admin, "hidden", **{"os-volume-type-access:is_public": False})
        every = await ok(client, "GET", TYPES)
        assert "layers" in {one["name"] for one in every["volume_types"]}
        for value in ("None", "true", "false"):
            assert await ok(client, "GET", f"{TYPES}?is_public={value}") == every

    with_admin(tmp_path, work)


def test_an_encrypted_type_is_a_note_and_makes_no_plain_volume(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, admin: Client) -> None:
        made = await make_type(admin, "sealed")
        path = f"{TYPES}/{made['id']}/encryption"
        assert await ok(admin, "GET", path) == {}
        given = {"provider": "luks", "control_location": "front-end", "cipher": "aes-xts-plain64", "key_size": "256"}
        noted = (await ok(admin, "POST", path, {"encryption": given}))["encryption"]
        assert (noted["key_size"], noted["volume_type_id"]) == (256, made["id"])
        assert (await refused(admin, "POST", path, {"encryption": given}))[0] == 400
        body = {"volume": {"size": 1, "volume_type": "sealed"}}
        status, text = await refused(client, "POST", "/v3/{p}/volumes", body)
        assert (status, "does not do" in text) == (400, True)
        one = f"{path}/{noted['encryption_id']}"
        await ok(admin, "PUT", one, {"encryption": {"key_size": 128}})
        assert await ok(admin, "GET", f"{path}/key_size") == {"key_size": 128}
        assert (await refused(admin, "PUT", one, {"encryption": {"control_location": "nowhere"}}))[0] == 400
        for size in ("many", "9" * 5000):
            assert (await refused(admin, "PUT", one, {"encryption": {"key_size": size}}))[0] == 400
        shown = await ok(admin, "GET", path)
        assert (shown["deleted"], shown["deleted_at"]) == (False, None)
        assert shown["created_at"] < shown["updated_at"]
        assert len(shown["created_at"]) == len(shown["updated_at"]) == 26
        # A type has one, and python-cinderclient names it so.
        await ok(admin, "PUT", f"{path}/provider", {"encryption": {"cipher": "other"}})
        await ok(admin, "DELETE", f"{path}/provider", status=202)
        assert await ok(admin, "GET", path) == {}
        assert (await refused(admin, "DELETE", one))[0] == 404
        assert (await refused(admin, "PUT", one, {"encryption": {"key_size": 128}}))[0] == 404

    with_admin(tmp_path, work)


def test_a_default_type_that_is_to_be_encrypted_makes_no_plain_volume_either(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, admin: Client) -> None:
        made = await make_type(admin, "sealed")
        given = {"provider": "luks", "control_location": "front-end"}
        await ok(admin, "POST", f"{TYPES}/{made['id']}/encryption", {"encryption": given})
        await ok(admin, "PUT", f"/v3/default-types/{client.project_id}", {"default_type": {"volume_type": "sealed"}})
        status, message = await refused(client, "POST", "/v3/{p}/volumes", {"volume": {"size": 1}})
        assert (status, "encrypted" in message) == (400, True)

    with_admin(tmp_path, work)


def test_a_project_can_have_a_default_type_of_its_own(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, admin: Client) -> None:
        made = await make_type(admin, "mine")
        path = f"/v3/default-types/{client.project_id}"
        assert (await refused(admin, "GET", path))[0] == 404
        view = {"project_id": client.project_id, "volume_type_id": made["id"]}
        assert await ok(admin, "PUT", path, {"default_type": {"volume_type": "mine"}}) == {"default_type": view}
        assert await ok(admin, "GET", "/v3/default-types") == {"default_types": [view]}
        assert await ok(admin, "GET", "/v3/{p}/default-types") == {"default_types": [view]}
        assert (await client.volume(1))["volume_type"] == "mine"
        assert (await ok(client, "GET", f"{TYPES}/default"))["volume_type"]["id"] == made["id"]
        assert (await refused(admin, "PUT", path, {"default_type": {"volume_type": "no"}}))[0] == 400
        await ok(admin, "DELETE", path, status=204)
        assert (await client.volume(1))["volume_type"] == "layers"
        assert (await client.call("GET", path)).status_code == 403
        admin.version = "3.61"
        assert (await refused(admin, "GET", path))[0] == 404

    with_admin(tmp_path, work)


def test_qos_specs_and_who_has_them(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, admin: Client) -> None:
        given = {"name": "slow", "consumer": "front-end", "total_iops_sec": "100"}
        made = (await ok(admin, "POST", QOS, {"qos_specs": given}))["qos_specs"]
        assert (made["consumer"], made["specs"]) == ("front-end", {"total_iops_sec": "100"})
        one = f"{QOS}/{made['id']}"
        assert (await ok(admin, "GET", one))["qos_specs"] == made
        assert (await ok(admin, "GET", QOS))["qos_specs"] == [made]
        assert await ok(admin, "PUT", one, {"qos_specs": {"x": "1"}}) == {"qos_specs": {"x": "1"}}
        await ok(admin, "PUT", f"{one}/delete_keys", {"keys": ["x"]}, status=202)
        assert (await refused(admin, "PUT", f"{one}/delete_keys", {"keys": ["x"]}))[0] == 404
        assert (await refused(admin, "PUT", one, {"qos_specs": {"total_iops_sec": "many"}}))[0] == 400
        assert (await refused(admin, "POST", QOS, {"qos_specs": given}))[0] == 409
        assert (await refused(admin, "POST", QOS, {"qos_specs": {"name": "a", "consumer": "me"}}))[0] == 400
        assert (await refused(admin, "POST", QOS, {"qos_specs": {"name": "a", "specs": [1]}}))[0] == 400
        for number in ("0", str(10**15 + 1), "9" * 200):
            wrong = {"name": "a", "total_bytes_sec_per_gb": number}
            assert "total_bytes_sec_per_gb" in (await refused(admin, "POST", QOS, {"qos_specs": wrong}))[1]
        both = {"total_iops_sec": "9", "write_iops_sec_per_gb": "9"}
        for wrong in ({"name": "a", "consumer": "front-end", **both}, {"name": "a", "consumer": "both", **both}):
            assert "total_iops_sec" in (await refused(admin, "POST", QOS, {"qos_specs": wrong}))[1]
        assert "total_iops_sec" in (await refused(admin, "PUT", one, {"qos_specs": {"read_iops_sec": "9"}}))[1]
        assert await ok(admin, "PUT", one, {"qos_specs": {"read_bytes_sec": "9"}}) == {
            "qos_specs": {"read_bytes_sec": "9"}
        }
        unused = (await ok(admin, "POST", QOS, {"qos_specs": {"name": "unused", **both}}))["qos_specs"]
        wrong = {"consumer": "front-end"}
        assert (await refused(admin, "PUT", f"{QOS}/{unused['id']}", {"qos_specs": wrong}))[0] == 400
        types = [await make_type(admin, name) for name in ("a", "b")]
        for each in types:
            await ok(admin, "GET", f"{one}/associate?vol_type_id={each['id']}", status=202)
        assert (await ok(admin, "GET", f"{TYPES}/{types[0]['id']}"))["volume_type"]["qos_specs_id"] == made["id"]
        found = (await ok(admin, "GET", f"{one}/associations"))["qos_associations"]
        assert [(entry["name"], entry["association_type"]) for entry in found] == [
            ("a", "volume_type"),
            ("b", "volume_type"),
        ]
        assert (await refused(admin, "DELETE", one))[0] == 400
        await ok(admin, "GET", f"{one}/disassociate?vol_type_id={types[0]['id']}", status=202)
        await ok(admin, "GET", f"{one}/disassociate_all", status=202)
        assert (await ok(admin, "GET", f"{one}/associations"))["qos_associations"] == []
        assert (await refused(admin, "GET", f"{one}/associate"))[0] == 400
        await ok(admin, "DELETE", one, status=202)
        assert (await refused(admin, "GET", one))[0] == 404
        assert (await client.call("GET", QOS)).status_code == 403

    with_admin(tmp_path, work)


def test_limits_follow_the_specs_of_an_attached_volume(tmp_path: Path) -> None:
    storage = ExportingMemoryStorage(tmp_path)

    async def work(run: Running, client: Client, admin: Client) -> None:
        given = {"name": "slow", "consumer": "both", "total_iops_sec_per_gb": "100", "read_bytes_sec": "1000000"}
        qos = (await ok(admin, "POST", QOS, {"qos_specs": given}))["qos_specs"]
        made = await make_type(admin, "slow")
        await ok(admin, "GET", f"{QOS}/{qos['id']}/associate?vol_type_id={made['id']}", status=202)
        volume = await client.volume(3, volume_type="slow")
        action = f"/v3/{{p}}/volumes/{volume['id']}/action"
        connector = {"connector": {"host": "here"}}
        shown = await ok(client, "POST", action, {"os-initialize_connection": connector})
        assert shown["connection_info"]["data"]["qos_specs"] == {
            "total_iops_sec_per_gb": "100",
            "read_bytes_sec": "1000000",
        }

        async def hold(requests: int | None, read_bytes: int | None) -> None:
            wanted = Limits(total_requests=requests, read_bytes=read_bytes)
            async with asyncio.timeout(10):
                while storage.exports[volume["id"]].pace.limits != wanted:  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
            # What made it so has let go of the volume when it can be changed again.
            await client.until("volume", volume["id"], "available")

        await hold(300, 1_000_000)
        await ok(admin, "PUT", f"{QOS}/{qos['id']}", {"qos_specs": {"total_iops_sec": "7"}})
        await hold(7, 1_000_000)
        await ok(admin, "GET", f"{QOS}/{qos['id']}/disassociate_all", status=202)
        await hold(None, None)
        await ok(admin, "GET", f"{QOS}/{qos['id']}/associate?vol_type_id={made['id']}", status=202)
        await hold(7, 1_000_000)
        await ok(client, "POST", action, {"os-retype": {"new_type": "SSD", "migration_policy": "never"}}, status=202)
        await hold(None, None)
        await ok(client, "POST", action, {"os-retype": {"new_type": "slow"}}, status=202)
        await hold(7, 1_000_000)
        await ok(admin, "DELETE", f"{QOS}/{qos['id']}?force=true", status=202)
        await hold(None, None)
        await ok(client, "POST", action, {"os-terminate_connection": connector}, status=202)

    with_admin(tmp_path, work, engine=ExportingMemoryEngine(storage))


def test_limits_follow_specs_that_change_while_somebody_works_on_the_volume(tmp_path: Path) -> None:
    storage, faults = ExportingMemoryStorage(tmp_path), Faults()

    async def work(run: Running, client: Client, admin: Client) -> None:
        specs = {}
        for name in ("slow", "fast"):
            made = await make_type(admin, name)
            given = {"name": name, "consumer": "both", "total_iops_sec": "100"}
            specs[name] = f"{QOS}/{(await ok(admin, 'POST', QOS, {'qos_specs': given}))['qos_specs']['id']}"
            await ok(admin, "GET", f"{specs[name]}/associate?vol_type_id={made['id']}", status=202)
        volume = await client.volume(volume_type="slow")
        action = f"/v3/{{p}}/volumes/{volume['id']}/action"
        await ok(client, "POST", action, {"os-initialize_connection": {"connector": {"host": "here"}}})
        hang = faults.hang("ensure_limits")
        await ok(client, "POST", action, {"os-retype": {"new_type": "fast"}}, status=202)
        await hang.reached.wait()
        await ok(admin, "PUT", specs["fast"], {"qos_specs": {"total_iops_sec": "7"}})
        async with asyncio.timeout(10):
            while storage.exports[volume["id"]].pace.limits.total_requests != 7:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        hang.release()  # it was told the limits of before, and brings them back
        await client.until("volume", volume["id"], "available")
        async with asyncio.timeout(10):
            while len(faults.called("ensure_limits")) < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            while storage.exports[volume["id"]].pace.limits.total_requests != 7:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        await ok(client, "POST", action, {"os-terminate_connection": {"connector": None}}, status=202)

    with_admin(tmp_path, work, engine=faulty(ExportingMemoryEngine(storage), faults))


def test_a_snapshot_outlives_the_type_that_its_volume_had(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, admin: Client) -> None:
        made = await make_type(admin, "passing")
        volume = await client.volume(volume_type="passing")
        snapshot = await client.snapshot(volume["id"])
        action = f"/v3/{{p}}/volumes/{volume['id']}/action"
        await ok(client, "POST", action, {"os-retype": {"new_type": "layers"}}, status=202)
        await client.until("volume", volume["id"], "available")
        await ok(admin, "DELETE", f"{TYPES}/{made['id']}", status=202)
        assert (await client.volume(snapshot_id=snapshot["id"]))["volume_type"] == "layers"
        await client.call("DELETE", f"/v3/{{p}}/snapshots/{snapshot['id']}")
        await client.until("snapshot", snapshot["id"], "gone")

    with_admin(tmp_path, work)


def test_a_volume_is_retyped_with_its_quota(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, admin: Client) -> None:
        volume = await client.volume(2)
        await client.snapshot(volume["id"])
        action = f"/v3/{{p}}/volumes/{volume['id']}/action"
        quotas = f"/v3/{{p}}/os-quota-sets/{client.project_id}"
        await ok(admin, "PUT", quotas, {"quota_set": {"gigabytes_SAS": 1}})
        status, text = await refused(client, "POST", action, {"os-retype": {"new_type": "SAS"}})
        assert (status, "gigabytes_SAS" in text) == (413, True)
        assert (await client.get(f"/v3/{{p}}/volumes/{volume['id']}"))["volume"]["status"] == "available"
        await ok(
            client, "POST", action, {"os-retype": {"new_type": "SSD", "migration_policy": "on-demand"}}, status=202
        )
        now = await client.until("volume", volume["id"], "available")
        assert now["volume_type"] == "SSD"
        usage = (await admin.get(quotas + "?usage=true"))["quota_set"]
        assert [usage[f"volumes_{name}"]["in_use"] for name in ("SSD", "layers")] == [1, 0]
        assert [usage[f"snapshots_{name}"]["in_use"] for name in ("SSD", "layers")] == [0, 1]
        for body in ({"new_type": "SSD"}, {"new_type": "SAS", "migration_policy": "x"}, {}):
            assert (await refused(client, "POST", action, {"os-retype": body}))[0] == 400
        assert (await refused(client, "POST", action, {"os-retype": {"new_type": "none"}}))[0] == 404

    with_admin(tmp_path, work)
