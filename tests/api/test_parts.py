"""The service itself: services, hosts, pools, capabilities, clusters, workers."""

from pathlib import Path
from typing import Any

from openevs.engine.errors import Transient
from openevs.testing.application import Client, Running
from openevs.testing.exporting import ExportingMemoryEngine, ExportingMemoryStorage
from openevs.testing.faulty import Faults, faulty
from tests.api.asking import fault, with_admin

SERVICES = "/v3/{p}/os-services"


async def put(client: Client, action: str, **body: Any) -> Any:
    return await client.call("PUT", f"{SERVICES}/{action}", body)


def test_services_are_listed_switched_off_and_on(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, admin: Client) -> None:
        found = (await admin.get(SERVICES))["services"]
        assert [(one["binary"], one["host"]) for one in found] == [
            ("cinder-scheduler", "openevs"),
            ("cinder-volume", "openevs@layers"),
            ("cinder-backup", "openevs"),
        ]
        assert {(one["state"], one["status"]) for one in found} == {("up", "enabled")}
        assert found[1]["replication_status"] == "disabled"
        assert (found[1]["frozen"], found[1]["backend_state"], found[1]["cluster"]) == (False, "up", None)
        (only,) = (await admin.get(f"{SERVICES}?binary=cinder-volume&host=openevs"))["services"]
        assert only == found[1]
        assert (await admin.get(f"{SERVICES}?host=elsewhere"))["services"] == []

        off = {"host": "openevs@layers", "binary": "cinder-volume"}
        reply = await put(admin, "disable-log-reason", **off, disabled_reason="new disks")
        assert reply.json() == {
            **off,
            "service": "",
            "status": "disabled",
            "disabled": True,
            "disabled_reason": "new disks",
        }
        (shown,) = (await admin.get(f"{SERVICES}?binary=cinder-volume"))["services"]
        assert (shown["status"], shown["disabled_reason"]) == ("disabled", "new disks")
        assert [one["service"] for one in (await admin.get("/v3/{p}/os-hosts"))["hosts"]] == [
            "cinder-scheduler",
            "cinder-backup",
        ]
        assert (await put(admin, "enable", **off)).json()["disabled"] is False
        (shown,) = (await admin.get(f"{SERVICES}?binary=cinder-volume"))["services"]
        assert (shown["status"], shown["disabled_reason"]) == ("enabled", None)

        for action in ("enable", "disable"):
            for wrong in ({**off, "host": "elsewhere"}, {**off, "binary": "cinder-none"}):
                assert fault(await put(admin, action, **wrong))[:2] == (404, "itemNotFound")
            assert fault(await put(admin, action, host="openevs"))[:2] == (400, "badRequest")
        assert fault(await put(admin, "disable-log-reason", **off))[:2] == (400, "badRequest")
        assert fault(await put(client, "disable", **off))[:2] == (403, "forbidden")
        admin.version = "3.6"
        assert "cluster" not in (await admin.get(SERVICES))["services"][0]

    with_admin(tmp_path, work)


def test_a_frozen_backend_keeps_what_groups_have(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, admin: Client) -> None:
        kind = (await admin.call("POST", "/v3/{p}/group_types", {"group_type": {"name": "kind"}})).json()
        layers = (await client.get("/v3/{p}/types/default"))["volume_type"]["id"]
        new = {"group": {"group_type": kind["group_type"]["id"], "volume_types": [layers]}}
        group = (await client.call("POST", "/v3/{p}/groups", new)).json()["group"]["id"]
        await client.volume(group_id=group)
        taking = {"group_snapshot": {"group_id": group}}
        taken = (await client.call("POST", "/v3/{p}/group_snapshots", taking)).json()["group_snapshot"]["id"]
        await client.until("group_snapshot", taken, "available")
        deleting = {"delete": {"delete-volumes": True}}

        async def refused(method: str, path: str, body: Any = None) -> None:
            reply = await client.call(method, f"/v3/{{p}}/{path}", body)
            assert fault(reply)[:2] == (400, "badRequest")
            assert "frozen" in reply.text

        await put(admin, "freeze", host="openevs@layers")
        await refused("POST", "group_snapshots", taking)
        await refused("DELETE", f"group_snapshots/{taken}")
        await put(admin, "thaw", host="openevs@layers")
        assert (await client.call("DELETE", f"/v3/{{p}}/group_snapshots/{taken}")).status_code == 202
        await client.until("group_snapshot", taken, "gone")
        await put(admin, "freeze", host="openevs@layers")
        await refused("POST", f"groups/{group}/action", deleting)
        await put(admin, "thaw", host="openevs@layers")
        assert (await client.call("POST", f"/v3/{{p}}/groups/{group}/action", deleting)).status_code == 202

    with_admin(tmp_path, work)


def test_freezing_failing_over_and_the_log(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, admin: Client) -> None:
        volume = await client.volume()
        snapshot = await client.snapshot(volume["id"])
        assert (await put(admin, "freeze", host="openevs@layers")).status_code == 200
        (shown,) = (await admin.get(f"{SERVICES}?binary=cinder-volume"))["services"]
        assert shown["frozen"] is True
        for reply in (
            await client.call("POST", "/v3/{p}/snapshots", {"snapshot": {"volume_id": volume["id"]}}),
            await client.call("DELETE", f"/v3/{{p}}/snapshots/{snapshot['id']}"),
            await client.call("DELETE", f"/v3/{{p}}/volumes/{volume['id']}?cascade=true"),
        ):
            assert fault(reply)[:2] == (400, "badRequest")
            assert "frozen" in reply.text
        assert (await put(admin, "thaw", host="openevs@layers")).status_code == 200
        assert (await client.call("DELETE", f"/v3/{{p}}/volumes/{volume['id']}?cascade=true")).status_code == 202
        for action in ("freeze", "thaw"):
            assert fault(await put(admin, action, host="elsewhere"))[:2] == (400, "badRequest")
            assert fault(await put(admin, action))[:2] == (400, "badRequest")
        assert fault(await put(admin, "failover_host", host="openevs@layers"))[:2] == (400, "badRequest")
        assert fault(await put(admin, "set-log", level="DEBUG"))[:2] == (400, "badRequest")
        levels = (await put(admin, "get-log", binary="cinder-volume")).json()["log_levels"]
        assert levels == [{"host": "openevs@layers", "binary": "cinder-volume", "levels": {"openevs": "INFO"}}]
        assert fault(await put(admin, "get-log", binary="nova"))[:2] == (400, "badRequest")

    with_admin(tmp_path, work)


def test_hosts_tell_what_is_on_them(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, admin: Client) -> None:
        volume = await client.volume(3)
        await client.snapshot(volume["id"])
        (shown,) = (await admin.get("/v3/{p}/os-hosts/openevs@layers"))["host"][1:]
        assert shown["resource"] == {
            "host": "openevs@layers",
            "project": client.project_id,
            "volume_count": "1",
            "total_volume_gb": "3",
            "snapshot_count": "1",
            "total_snapshot_gb": "3",
        }
        assert fault(await admin.call("GET", "/v3/{p}/os-hosts/elsewhere"))[:2] == (404, "itemNotFound")
        off = await admin.call("PUT", "/v3/{p}/os-hosts/openevs@layers", {"status": "Disable"})
        assert off.json() == {"host": "openevs@layers", "status": "disabled"}
        assert (await admin.call("PUT", "/v3/{p}/os-hosts/openevs@layers", {"status": "on"})).status_code == 400

    with_admin(tmp_path, work)


def test_pools_and_capabilities_agree(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, admin: Client) -> None:
        await client.volume(5)
        await run.app.sweeper.look()
        pools = (await admin.get("/v3/{p}/scheduler-stats/get_pools?detail=true"))["pools"]
        assert [pool["name"] for pool in pools] == ["openevs@fast#fast", "openevs@big#big"]
        room = await run.app.engine.capacity()
        for pool in pools:
            known = pool["capabilities"]
            assert known["total_capacity_gb"] == round(room.total_bytes / 2**30, 2)
            assert known["provisioned_capacity_gb"] == 5
            shown = await admin.get("/v3/{p}/capabilities/" + pool["name"].replace("#", "%23"))
            for name in ("vendor_name", "volume_backend_name", "storage_protocol", "driver_version"):
                assert shown[name] == known[name]
            assert shown["namespace"].startswith("OS::Storage::Capabilities::openevs@")
        assert (await admin.get("/v3/{p}/scheduler-stats/get_pools"))["pools"][0] == {"name": "openevs@fast#fast"}
        one = (await admin.get("/v3/{p}/scheduler-stats/get_pools?name=openevs@big%23big"))["pools"]
        assert one == [{"name": "openevs@big#big"}]
        assert fault(await admin.call("GET", "/v3/{p}/capabilities/elsewhere"))[:2] == (404, "itemNotFound")

    with_admin(tmp_path, work, engine__backends="fast,big")


def test_a_pool_that_does_not_answer_is_down(tmp_path: Path) -> None:
    faults = Faults()
    engine = faulty(ExportingMemoryEngine(ExportingMemoryStorage(tmp_path)), faults)

    async def work(run: Running, client: Client, admin: Client) -> None:
        faults.fail("capacity", Transient("no answer"))
        await run.app.sweeper.look()
        states = {one["binary"]: one["state"] for one in (await admin.get(SERVICES))["services"]}
        assert states == {"cinder-scheduler": "up", "cinder-volume": "down", "cinder-backup": "up"}
        await run.app.sweeper.look()
        assert {one["state"] for one in (await admin.get(SERVICES))["services"]} == {"up"}

    with_admin(tmp_path, work, engine=engine)


def test_clusters_and_workers(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, admin: Client) -> None:
        assert await admin.get("/v3/{p}/clusters/detail?is_up=true") == {"clusters": []}
        assert fault(await admin.call("GET", "/v3/{p}/clusters?colour=red"))[:2] == (400, "badRequest")
        assert fault(await admin.call("GET", "/v3/{p}/clusters/one"))[:2] == (404, "itemNotFound")
        for action in ("enable", "disable"):
            reply = await admin.call("PUT", f"/v3/{{p}}/clusters/{action}", {"name": "one"})
            assert fault(reply)[:2] == (404, "itemNotFound")
            assert (await admin.call("PUT", f"/v3/{{p}}/clusters/{action}", {"name": ""})).status_code == 400
        for wrong in ({"is_up": "x"}, {"disabled": "x"}, {"service_id": "x"}):
            assert fault(await admin.call("POST", "/v3/{p}/workers/cleanup", wrong))[:2] == (400, "badRequest")
        cleaned = await admin.call("POST", "/v3/{p}/workers/cleanup", {"binary": "cinder-volume"})
        assert (cleaned.status_code, cleaned.json()) == (202, {"cleaning": [], "unavailable": []})
        for wrong in ({"resource_id": client.project_id}, {"resource_type": "Rack"}, {"binary": "cinder-backup"}):
            assert fault(await admin.call("POST", "/v3/{p}/workers/cleanup", wrong))[:2] == (400, "badRequest")

    with_admin(tmp_path, work)


def test_a_type_chooses_among_backends(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, admin: Client) -> None:
        hosts = {"layers": "openevs@fast#fast"}
        for key, name in (("volume_backend_name", "fast"), ("capabilities:volume_backend_name", "big")):
            made = {"volume_type": {"name": f"on-{name}", "extra_specs": {key: name}}}
            assert (await admin.call("POST", "/v3/{p}/types", made)).status_code == 200
            hosts[f"on-{name}"] = f"openevs@{name}#{name}"
        for volume_type, host in hosts.items():
            volume = await client.volume(volume_type=volume_type)
            shown = (await admin.get(f"/v3/{{p}}/volumes/{volume['id']}"))["volume"]
            assert shown["os-vol-host-attr:host"] == host
        for volume_type, host in hosts.items():
            pools = await admin.get(f"/v3/{{p}}/scheduler-stats/get_pools?volume_type={volume_type}")
            assert pools["pools"] == [{"name": host}]
        unknown = await admin.call("GET", "/v3/{p}/scheduler-stats/get_pools?volume_type=none")
        assert fault(unknown)[:2] == (404, "itemNotFound")
        uses = (await admin.get("/v3/{p}/os-hosts/openevs@big"))["host"]
        assert [use["resource"]["volume_count"] for use in uses] == ["1", "1"]

    with_admin(tmp_path, work, engine__backends="fast,big")


def test_what_is_switched_off_takes_nothing_new(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, admin: Client) -> None:
        big = {"host": "openevs@big", "binary": "cinder-volume"}
        made = {"volume_type": {"name": "on-big", "extra_specs": {"volume_backend_name": "big"}}}
        assert (await admin.call("POST", "/v3/{p}/types", made)).status_code == 200
        assert (await put(admin, "disable", **big)).status_code == 200
        reply = await client.call("POST", "/v3/{p}/volumes", {"volume": {"size": 1, "volume_type": "on-big"}})
        assert reply.status_code == 202
        failed = await client.until("volume", reply.json()["volume"]["id"], "error")
        (message,) = (await client.get(f"/v3/{{p}}/messages?resource_uuid={failed['id']}"))["messages"]
        assert message["event_id"] == "VOLUME_VOLUME_001_003"
        assert "big is disabled or frozen" in message["user_message"]
        await client.volume()
        assert (await put(admin, "enable", **big)).status_code == 200
        await client.volume(volume_type="on-big")

    with_admin(tmp_path, work, engine__backends="fast,big")


def test_a_volume_changes_its_backend(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, admin: Client) -> None:
        for name in ("fast", "big"):
            made = {"volume_type": {"name": f"on-{name}", "extra_specs": {"volume_backend_name": name}}}
            assert (await admin.call("POST", "/v3/{p}/types", made)).status_code == 200
        volume = await client.volume(volume_type="on-fast")
        one = f"/v3/{{p}}/volumes/{volume['id']}"

        async def shown() -> list[Any]:
            found = (await admin.get(one))["volume"]
            names = ("os-vol-host-attr:host", "migration_status", "os-vol-mig-status-attr:migstat", "volume_type")
            return [found[name] for name in names]

        assert await shown() == ["openevs@fast#fast", None, None, "on-fast"]
        never = {"os-retype": {"new_type": "on-big", "migration_policy": "never"}}
        assert fault(await client.call("POST", f"{one}/action", never))[:2] == (400, "badRequest")
        moving = {"os-retype": {"new_type": "on-big", "migration_policy": "on-demand"}}
        await run.app.runner.stop()
        assert (await client.call("POST", f"{one}/action", moving)).status_code == 202
        assert await shown() == ["openevs@big#big", "success", "success", "on-big"], "all of it at once"
        await run.app.runner.start()
        await client.until("volume", volume["id"], "available")
        assert await shown() == ["openevs@big#big", "success", "success", "on-big"]

        to = {"os-migrate_volume": {"host": "openevs@fast#fast", "lock_volume": True}}
        assert fault(await client.call("POST", f"{one}/action", to))[:2] == (403, "forbidden")
        # The volume's type is for the other backend.
        assert fault(await admin.call("POST", f"{one}/action", to))[:2] == (400, "badRequest")
        volume = await client.volume()
        one = f"/v3/{{p}}/volumes/{volume['id']}"
        to = {"os-migrate_volume": {"host": "openevs@big#big"}}
        snapshot = await client.snapshot(volume["id"])
        for body, word in (
            (to, "snapshots"),
            ({"os-migrate_volume": {"host": "openevs@big", "force_host_copy": True}}, "force_host_copy"),
            ({"os-migrate_volume": {"host": "openevs@big", "lock_volume": "x"}}, "lock_volume"),
            ({"os-migrate_volume": {"host": "openevs@fast"}}, "host"),
        ):
            reply = await admin.call("POST", f"{one}/action", body)
            assert (reply.status_code, word in reply.text) == (400, True), reply.text
        await client.call("DELETE", f"/v3/{{p}}/snapshots/{snapshot['id']}")
        await client.until("snapshot", snapshot["id"], "gone")
        service = {"host": "openevs@big", "binary": "cinder-volume"}
        await admin.call("PUT", "/v3/{p}/os-services/disable", service)
        assert fault(await admin.call("POST", f"{one}/action", to))[:2] == (400, "badRequest")
        await admin.call("PUT", "/v3/{p}/os-services/enable", service)
        assert (await admin.call("POST", f"{one}/action", to)).status_code == 202
        assert await shown() == ["openevs@big#big", "success", "success", volume["volume_type"]]
        moved = await admin.get("/v3/{p}/volumes?migration_status=success&all_tenants=1&sort=created_at")
        assert moved["volumes"][0]["id"] == volume["id"]

    with_admin(tmp_path, work, engine__backends="fast,big")
