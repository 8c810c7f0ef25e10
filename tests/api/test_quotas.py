"""Quotas, limits, and the small resources: types, zones, extensions, filters."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from openevs.testing.application import Client, Running, running
from tests.api.asking import fault, with_admin


@pytest.mark.parametrize("api", ["v2", "v3"])
def test_quotas_are_read_set_and_given_back(tmp_path: Path, api: str) -> None:
    async def work(run: Running, client: Client, admin: Client) -> None:
        own = f"/{api}/{{p}}/os-quota-sets/{client.project_id}"
        plain = (await client.get(own))["quota_set"]
        assert plain["id"] == client.project_id
        assert plain["snapshots"] == run.app.settings.quotas.snapshots
        wanted = {"id", "volumes", "snapshots", "gigabytes", "backups", "backup_gigabytes", "per_volume_gigabytes"}
        assert wanted | {"volumes_layers", "snapshots_layers", "gigabytes_layers"} <= plain.keys()
        volume = await client.volume(size=3)
        await client.snapshot(volume["id"])
        used = (await client.get(f"{own}?usage=True"))["quota_set"]
        assert used["volumes"] == {"in_use": 1, "limit": plain["volumes"], "reserved": 0}
        assert used["gigabytes"]["in_use"] == 6
        assert used["snapshots_layers"] == {"in_use": 1, "limit": -1, "reserved": 0}
        changed = await admin.call("PUT", own, {"quota_set": {"snapshots": 1, "volumes": "7", "tenant_id": "x"}})
        assert changed.status_code == 200
        assert (changed.json()["quota_set"]["snapshots"], changed.json()["quota_set"]["volumes"]) == (1, 7)
        refused = await client.call("POST", f"/{api}/{{p}}/snapshots", {"snapshot": {"volume_id": volume["id"]}})
        assert fault(refused)[:2] == (413, "overLimit")
        assert refused.headers["Retry-After"] == "0"
        assert refused.json()["overLimit"]["retryAfter"] == "0"
        assert (await client.get(f"{own}/defaults"))["quota_set"]["snapshots"] == plain["snapshots"]
        deleted = await admin.call("DELETE", own)
        assert (deleted.status_code, deleted.content) == (200, b"")
        assert (await client.get(own))["quota_set"] == plain

    with_admin(tmp_path, work, None)


def test_one_type_can_have_a_limit_of_its_own(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, admin: Client) -> None:
        own = f"/v3/{{p}}/os-quota-sets/{client.project_id}"
        await admin.call("PUT", own, {"quota_set": {"gigabytes_layers": 2}})
        reply = await client.call("POST", "/v3/{p}/volumes", {"volume": {"size": 3}})
        assert fault(reply)[:2] == (413, "overLimit")
        assert "gigabytes_layers" in reply.json()["overLimit"]["message"]
        await admin.call("PUT", own, {"quota_set": {"gigabytes_layers": -1}})
        await client.volume(size=3)

    with_admin(tmp_path, work, None)


SETS: list[tuple[Any, int, str]] = [
    (b"", 400, "body"),
    ({}, 400, "quota_set"),
    ({"quota_set": []}, 400, "quota_set"),
    ({"quota_set": {"colours": 5}}, 400, "colours"),
    ({"quota_set": {"volumes": "many"}}, 400, "volumes"),
    ({"quota_set": {"volumes": True}}, 400, "volumes"),
    ({"quota_set": {"volumes": 1.5}}, 400, "volumes"),
    ({"quota_set": {"volumes": None}}, 400, "volumes"),
    ({"quota_set": {"volumes": -2}}, 400, "volumes"),
    ({"quota_set": {"volumes": 2**31}}, 400, "volumes"),
    ({"quota_set": {"volumes": 10**30}}, 400, "volumes"),
    ({"quota_set": {"volumes": 0, "skip_validation": False}}, 400, "volumes"),
    ({"quota_set": {"volumes": 0}}, 400, "volumes"),
    ({"quota_set": {"volumes": 1}}, 200, ""),
    ({"quota_set": {"volumes": 0, "skip_validation": True}}, 200, ""),
    ({"quota_set": {"volumes": -1}}, 200, ""),
    ({"quota_set": {}}, 400, "quota_set"),
]


def test_what_cannot_be_set_is_named(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, admin: Client) -> None:
        await client.volume()
        own = f"/v3/{{p}}/os-quota-sets/{client.project_id}"
        for body, status, named in SETS:
            reply = await admin.call("PUT", own, body)
            assert reply.status_code == status, (body, reply.text)
            if status == 400:
                assert named in reply.json()["badRequest"]["message"]
        assert fault(await client.call("GET", f"{own}?usage=perhaps"))[:2] == (400, "badRequest")

    with_admin(tmp_path, work, None)


def test_a_user_reads_his_own_quotas_and_sets_none(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, admin: Client) -> None:
        other = "0" * 32
        assert fault(await client.call("GET", f"/v3/{{p}}/os-quota-sets/{other}"))[:2] == (403, "forbidden")
        assert fault(await client.call("GET", f"/v3/{{p}}/os-quota-sets/{other}/defaults"))[:2] == (403, "forbidden")
        own = f"/v3/{{p}}/os-quota-sets/{client.project_id}"
        assert fault(await client.call("PUT", own, {"quota_set": {"volumes": -1}}))[:2] == (403, "forbidden")
        assert fault(await client.call("DELETE", own))[:2] == (403, "forbidden")
        assert fault(await client.call("GET", "/v3/{p}/os-quota-class-sets/default"))[:2] == (403, "forbidden")
        assert (await admin.get(f"/v3/{{p}}/os-quota-sets/{other}"))["quota_set"]["id"] == other
        classes = (await admin.get("/v3/{p}/os-quota-class-sets/default"))["quota_class_set"]
        assert (classes["id"], classes["volumes"]) == ("default", run.app.settings.quotas.volumes)

    with_admin(tmp_path, work, None)


def test_limits(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, admin: Client) -> None:
        await client.volume(size=2)
        limits = (await client.get("/v3/{p}/limits"))["limits"]
        assert limits["rate"] == []
        assert limits["absolute"] == {
            "maxTotalVolumes": 10,
            "maxTotalSnapshots": 10,
            "maxTotalVolumeGigabytes": 1000,
            "maxTotalBackups": 10,
            "maxTotalBackupGigabytes": 1000,
            "totalVolumesUsed": 1,
            "totalSnapshotsUsed": 0,
            "totalGigabytesUsed": 2,
            "totalBackupsUsed": 0,
            "totalBackupGigabytesUsed": 0,
        }

    with_admin(tmp_path, work, None, api__profile="cloud")


def test_the_default_class_is_the_default_of_projects(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, admin: Client) -> None:
        path = "/v3/{p}/os-quota-class-sets/default"
        before = (await admin.get(path))["quota_class_set"]
        wanted = {"volumes": 1, "gigabytes_layers": 7}
        changed = (await admin.call("PUT", path, {"quota_class_set": wanted})).json()["quota_class_set"]
        assert {name: value for name, value in before.items() if name != "id"} | wanted == changed
        own = f"/v3/{{p}}/os-quota-sets/{client.project_id}"
        for shown in (own, own + "/defaults", f"/v3/{{p}}/os-quota-sets/{'0' * 32}"):
            assert wanted.items() <= (await admin.get(shown))["quota_set"].items()
        await client.volume()
        refused = await client.call("POST", "/v3/{p}/volumes", {"volume": {"size": 1}})
        assert fault(refused)[:2] == (413, "overLimit")
        # What was set for the project itself goes first, and comes back when that is taken away.
        await admin.call("PUT", own, {"quota_set": {"volumes": 2}})
        await client.volume()
        await admin.call("DELETE", own)
        assert (await client.get(own))["quota_set"]["volumes"] == 1
        other = await admin.call("PUT", "/v3/{p}/os-quota-class-sets/gold", {"quota_class_set": {"volumes": 99}})
        assert other.json()["quota_class_set"]["volumes"] == 99
        assert other.json()["quota_class_set"]["gigabytes_layers"] == wanted["gigabytes_layers"]
        assert (await admin.get(path))["quota_class_set"]["volumes"] == 1
        wrong: Any
        for wrong in ({"quota_class_set": {"colours": 1}}, {"quota_class_set": {"volumes": -2}}, {"quota_set": {}}):
            assert fault(await admin.call("PUT", path, wrong))[:2] == (400, "badRequest")
        assert fault(await client.call("PUT", path, {"quota_class_set": wanted}))[:2] == (403, "forbidden")

    with_admin(tmp_path, work, None)


def test_one_volume_has_a_limit_too(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, admin: Client) -> None:
        own = f"/v3/{{p}}/os-quota-sets/{client.project_id}"
        await admin.call("PUT", own, {"quota_set": {"per_volume_gigabytes": 2}})
        volume = await client.volume(2)
        for reply in (
            await client.call("POST", "/v3/{p}/volumes", {"volume": {"size": 3}}),
            await client.call("POST", f"/v3/{{p}}/volumes/{volume['id']}/action", {"os-extend": {"new_size": 3}}),
        ):
            assert fault(reply)[:2] == (413, "overLimit")
            assert "per_volume_gigabytes" in reply.json()["overLimit"]["message"]
        await admin.call("DELETE", own)
        await client.volume(3)

    with_admin(tmp_path, work, None)


def test_limits_of_another_project(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, admin: Client) -> None:
        await client.volume(2)
        elsewhere = await run.client("admin", project="admin")
        elsewhere.version = client.version = "3.39"
        path = f"/v3/{{p}}/limits?project_id={client.project_id}"
        assert (await elsewhere.get(path))["limits"]["absolute"]["totalGigabytesUsed"] == 2
        mine = await client.get(f"/v3/{{p}}/limits?project_id={elsewhere.project_id}")
        assert mine["limits"]["absolute"]["totalGigabytesUsed"] == 2
        elsewhere.version = "3.38"
        assert (await elsewhere.get(path))["limits"]["absolute"]["totalGigabytesUsed"] == 0

    with_admin(tmp_path, work, None)


def test_types_and_places(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, admin: Client) -> None:
        for api in ("v2", "v3"):
            found = {one["name"]: one for one in (await client.get(f"/{api}/{{p}}/types"))["volume_types"]}
            assert found.keys() == {"layers", "SATA", "SAS", "SSD", "GPSSD", "ESSD", "GPSSD2", "ESSD2"}
            only = found["layers"]
            assert only["is_public"] is only["os-volume-type-access:is_public"] is True
            if api == "v2":
                assert only["extra_specs"]["RESKEY:availability_zones"] == "nova"
            for type_id in (only["id"], "default"):
                assert (await client.get(f"/{api}/{{p}}/types/{type_id}"))["volume_type"] == only
            specs = f"/{api}/{{p}}/types/{only['id']}/extra_specs"
            assert (await client.get(specs))["extra_specs"] == only["extra_specs"]
            assert await admin.get(f"{specs}/volume_backend_name") == {"volume_backend_name": "layers"}
            assert (await client.call("GET", f"{specs}/volume_backend_name")).status_code == 404
            for path in ("/types/none", "/types/none/extra_specs", f"/types/{only['id']}/extra_specs/none"):
                assert fault(await client.call("GET", f"/{api}/{{p}}{path}"))[:2] == (404, "itemNotFound")
            zones = await client.get(f"/{api}/{{p}}/os-availability-zone")
            assert zones == {"availabilityZoneInfo": [{"zoneName": "nova", "zoneState": {"available": True}}]}
            extensions = (await client.get(f"/{api}/{{p}}/extensions"))["extensions"]
            assert extensions[0].keys() == {"alias", "name", "description", "updated", "links"}
            shown = await client.get(f"/{api}/{{p}}/extensions/os-snapshot-actions")
            assert shown["extension"] in extensions
            assert fault(await client.call("GET", f"/{api}/{{p}}/extensions/none"))[:2] == (404, "itemNotFound")
        assert fault(await client.call("GET", "/v3/{p}/resource_filters"))[:2] == (404, "itemNotFound")
        client.version = "3.33"
        every = (await client.get("/v3/{p}/resource_filters"))["resource_filters"]
        assert {"volume", "snapshot", "attachment", "message", "pool"} <= {entry["resource"] for entry in every}
        (one,) = (await client.get("/v3/{p}/resource_filters?resource=snapshot"))["resource_filters"]
        assert {"name", "status", "volume_id", "name~"} <= set(one["filters"])

    with_admin(tmp_path, work, None)


def test_the_type_is_made_once(tmp_path: Path) -> None:
    seen: list[str] = []

    async def main() -> None:
        password: str | None = None
        for _ in range(2):
            async with running(tmp_path) as run:
                password = password or run.made.demo_password
                client = await run.client("demo", password=password, project="demo")
                seen.append((await client.get("/v3/{p}/types"))["volume_types"][0]["id"])

    asyncio.run(main())
    assert len(set(seen)) == 1
