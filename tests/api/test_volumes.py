"""Native volumes: what is answered to what, by status, fault and the field that the message names."""

from pathlib import Path
from typing import Any

import pytest

from openevs.compose import utc_now
from openevs.domain.ids import new_uuid
from openevs.domain.lifecycle import VOLUME_STATUSES, Move
from openevs.engine.errors import Transient
from openevs.engine.memory import MemoryEngine
from openevs.store.operations import list_operations, retry_operation
from openevs.store.volumes import move_volume
from openevs.testing.application import Client, Running
from openevs.testing.faulty import Faults, faulty
from tests.api.asking import GONE, NOW, at_work, fault, set_volume, volume_ids

BASE = set(
    "id status size availability_zone created_at updated_at name description volume_type snapshot_id source_volid "
    "metadata links user_id bootable encrypted replication_status consistencygroup_id multiattach attachments".split()
)
TENANT = {"os-vol-tenant-attr:tenant_id"}
HOST = {"os-vol-host-attr:host", "os-vol-mig-status-attr:migstat", "os-vol-mig-status-attr:name_id"}
V2 = {"os-volume-replication:extended_status", "storage_cluster_id", "volume_image_metadata", "shareable"}
SHARED = {"shared_targets", "service_uuid"}


@pytest.mark.parametrize("api", ["v2", "v3"])
def test_a_volume_from_its_first_to_its_last_answer(tmp_path: Path, api: str) -> None:
    async def work(run: Running, client: Client) -> None:
        base = f"/{api}/{{p}}/volumes"
        asked = {"size": "2", "name": " n ", "description": None, "metadata": {"k": "v"}, "availability_zone": None}
        hints = {"OS-SCH-HNT:scheduler_hints": {"dedicated_storage_id": "x"}}
        made = await client.call("POST", base, {"volume": asked, **hints})
        assert made.status_code == 202, made.text
        volume = made.json()["volume"]
        assert volume.keys() == BASE
        expected = {"status": "creating", "size": 2, "name": "n", "description": None, "bootable": "false"}
        assert expected.items() <= volume.items()
        assert volume["metadata"] == {"k": "v"}
        assert volume["attachments"] == []
        assert volume["encrypted"] is volume["multiattach"] is False
        place = f"{client.project_id}/volumes/{volume['id']}"
        assert [link["href"] for link in volume["links"]] == [
            f"http://openevs.test/{api}/{place}",
            f"http://openevs.test/{place}",
        ]

        await client.until("volume", volume["id"], "available")
        one = f"{base}/{volume['id']}"
        shown = (await client.get(one))["volume"]
        assert shown.keys() == BASE | TENANT | (HOST | V2 if api == "v2" else set())
        assert (await client.get(f"{base}/detail"))["volumes"] == [shown]
        summary = (await client.get(base))["volumes"]
        assert summary == [{"id": volume["id"], "name": "n", "links": volume["links"]}]

        change = {"display_name": "new", "description": "d", "metadata": {"other": "1"}}
        changed = await client.call("PUT", one, {"volume": change})
        assert changed.status_code == 200
        assert {"name": "new", "description": "d", "metadata": {"other": "1"}}.items() <= changed.json()[
            "volume"
        ].items()

        every = f"{one}/metadata"
        assert (await client.call("POST", every, {"metadata": {"a": "b"}})).json() == {
            "metadata": {"other": "1", "a": "b"}
        }
        assert (await client.call("PUT", every, {"metadata": {"c": "d"}})).json() == {"metadata": {"c": "d"}}
        assert (await client.call("PUT", f"{every}/c", {"meta": {"c": "e"}})).json() == {"meta": {"c": "e"}}
        assert (await client.get(f"{every}/c")) == {"meta": {"c": "e"}}
        gone = await client.call("DELETE", f"{every}/c")
        assert (gone.status_code, gone.content) == (200, b"")
        assert fault(await client.call("GET", f"{every}/c"))[:2] == (404, "itemNotFound")

        deleted = await client.call("DELETE", one)
        assert (deleted.status_code, deleted.content) == (202, b"")
        await client.until("volume", volume["id"], "gone")
        for method in ("GET", "DELETE"):
            status, name, message = fault(await client.call(method, one))
            assert (status, name) == (404, "itemNotFound")
            assert volume["id"] in message

    at_work(tmp_path, work)


ADMIN = HOST | {"migration_status"}
LATER = {"group_id"} | SHARED
BY_VERSION: list[tuple[str, set[str], set[str]]] = [
    ("3.0", set(), ADMIN),
    ("3.13", {"group_id"}, ADMIN),
    ("3.21", {"group_id"}, ADMIN | {"provider_id"}),
    ("3.50", LATER, ADMIN | {"provider_id"}),
    ("3.66", LATER | {"volume_type_id", "consumes_quota"}, ADMIN | {"provider_id", "cluster_name"}),
]


def test_fields_by_microversion_and_role(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        volume = await client.volume()
        operator = await run.client("admin")
        one = f"/v3/{{p}}/volumes/{volume['id']}"
        for version, member, admin in BY_VERSION:
            client.version = operator.version = version
            assert (await client.get(one))["volume"].keys() == BASE | TENANT | member
            assert (await operator.get(one))["volume"].keys() == BASE | TENANT | member | admin

    at_work(tmp_path, work)


REFUSED_CREATES: list[tuple[dict[str, Any], str]] = [
    ({}, "size"),
    ({"size": None}, "size"),
    ({"size": 0}, "size"),
    ({"size": -1}, "size"),
    ({"size": "x"}, "size"),
    ({"size": "-1"}, "size"),
    ({"size": True}, "size"),
    ({"size": [1]}, "size"),
    ({"size": 1.5}, "size"),
    ({"size": 1.0}, "size"),
    ({"size": " 1 "}, "size"),
    ({"size": 10**9}, "size"),
    ({"size": "9" * 5000}, "size"),
    ({"size": 1, "name": "ä" * 128}, "name"),
    ({"size": 1, "name": 7}, "name"),
    ({"size": 1, "description": "x" * 256}, "description"),
    ({"size": 1, "availability_zone": "moon"}, "availability_zone"),
    ({"size": 1, "availability_zone": ""}, "availability_zone"),
    ({"size": 1, "multiattach": "maybe"}, "multiattach"),
    ({"size": 1, "multiattach": None}, "multiattach"),
    ({"size": 1, "multiattach": 1}, "multiattach"),
    ({"size": 1, "count": 2}, "count"),
    ({"size": 1, "imageRef": GONE}, "imageRef"),
    ({"size": 1, "imageRef": ""}, "imageRef"),
    ({"size": 1, "image_id": GONE}, "image_id"),
    ({"size": 1, "backup_id": GONE}, "backup_id"),
    ({"size": 1, "source_replica": GONE}, "source_replica"),
    ({"size": 1, "snapshot_id": "no-uuid"}, "snapshot_id"),
    ({"size": 1, "snapshot_id": ""}, "snapshot_id"),
    ({"size": 1, "source_volid": "no-uuid"}, "source_volid"),
    ({"size": 1, "source_volid": ""}, "source_volid"),
    ({"size": 1, "consistencygroup_id": "no-uuid"}, "consistencygroup_id"),
    ({"size": 1, "snapshot_id": GONE, "source_volid": GONE}, "source_volid"),
    ({"size": 1, "metadata": {"k": None}}, "metadata['k']"),
    ({"size": 1, "metadata": ["k"]}, "metadata"),
    ({"size": 1, "metadata": {"readonly": "True"}}, "metadata['readonly']"),
    ({"size": 1, "metadata": {"__system__encrypted": "1"}}, "metadata['__system__encrypted']"),
    ({"size": 1, "metadata": {"hw:passthrough": "yes"}}, "metadata['hw:passthrough']"),
    ({"size": 1, "snapshot_id": GONE, "metadata": {"hw:passthrough": "true"}}, "metadata['hw:passthrough']"),
]


def test_creates_are_refused_by_field(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        for body, field in REFUSED_CREATES:
            status, name, message = fault(await client.call("POST", "/v3/{p}/volumes", {"volume": body}))
            assert (status, name) == (400, "badRequest"), body
            assert f"Invalid input for {field}:" in message, (body, message)
        for source in ("snapshot_id", "source_volid", "group_id"):
            reply = await client.call("POST", "/v3/{p}/volumes", {"volume": {"size": 1, source: GONE}})
            assert fault(reply)[:2] == (404, "itemNotFound")
        envelopes: tuple[dict[str, Any], ...] = (
            {},
            {"volume": []},
            {"volume": {"size": 1}, "beside": 1},
            {"volume": {"size": 1}, "OS-SCH-HNT:scheduler_hints": "x"},
        )
        for envelope in envelopes:
            assert fault(await client.call("POST", "/v3/{p}/volumes", envelope))[:2] == (400, "badRequest")
        # Unknown fields: refused from 3.53 on, as Cinder does.
        odd = {"volume": {"size": 1, "colour": "red", "snapshot_id": None, "imageRef": None, "metadata": None}}
        for version, expected in (("3.52", 202), ("3.53", 400)):
            client.version = version
            assert (await client.call("POST", "/v3/{p}/volumes", odd)).status_code == expected
        assert (await client.get("/v3/{p}/volumes?status=error"))["volumes"] == []

    at_work(tmp_path, work)


def test_quota_and_sizes(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        volume = await client.volume(size=3)
        snapshot = await client.snapshot(volume["id"])
        for source in ({"snapshot_id": snapshot["id"]}, {"source_volid": volume["id"]}):
            smaller = await client.call("POST", "/v3/{p}/volumes", {"volume": {"size": 2, **source}})
            assert "size" in fault(smaller)[2]
            same = await client.volume(size=None, **source)  # type: ignore[arg-type]
            assert same["size"] == 3
            assert source.items() <= same.items()
        reply = await client.call("POST", "/v3/{p}/volumes", {"volume": {"size": 1000}})
        status, name, message = fault(reply)
        assert (status, name) == (413, "overLimit")
        assert "gigabytes" in message
        assert reply.headers["Retry-After"] == "0"

    at_work(tmp_path, work, quotas__gigabytes="100")


DELETABLE = {"available", "error", "error_restoring", "error_extending", "error_managing", "error_rollbacking"}


def test_deletes_by_status(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        volume = await client.volume()
        one = f"/v3/{{p}}/volumes/{volume['id']}"
        for wrong in sorted(VOLUME_STATUSES - DELETABLE):
            await set_volume(run, volume["id"], wrong)
            status, name, message = fault(await client.call("DELETE", one))
            assert (status, name) == (400, "badRequest")
            assert f"its status is {wrong}, but must be available or error" in message
        for right in sorted(DELETABLE):
            volume = await client.volume()
            await set_volume(run, volume["id"], right)
            assert (await client.call("DELETE", f"/v3/{{p}}/volumes/{volume['id']}")).status_code == 202

    at_work(tmp_path, work)


def test_cascade_and_force(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        volume = await client.volume()
        snapshot = await client.snapshot(volume["id"])
        one = f"/v3/{{p}}/volumes/{volume['id']}"
        status, name, message = fault(await client.call("DELETE", one))
        assert (status, name) == (400, "badRequest")
        assert "has snapshots (1)" in message
        assert fault(await client.call("DELETE", one + "?cascade=maybe"))[2].startswith("Invalid input for cascade")
        assert (await client.call("DELETE", one + "?cascade=True")).status_code == 202
        await client.until("volume", volume["id"], "gone")
        await client.until("snapshot", snapshot["id"], "gone")

        stuck = await client.volume()
        await set_volume(run, stuck["id"], "uploading")
        operator = await run.client("admin")
        one = f"/v3/{{p}}/volumes/{stuck['id']}?force=true"
        assert fault(await operator.call("DELETE", one))[0] == 400  # before 3.23 there is no force
        client.version = operator.version = "3.23"
        assert fault(await client.call("DELETE", one))[:2] == (403, "forbidden")
        assert (await operator.call("DELETE", one)).status_code == 202
        await client.until("volume", stuck["id"], "gone")

    at_work(tmp_path, work)


def test_updates_are_refused_by_field(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        volume = await client.volume(name="n")
        one = f"/v3/{{p}}/volumes/{volume['id']}"
        client.version = "3.53"
        for body, field in (
            ({}, "volume"),
            ({"name": "x" * 256}, "name"),
            ({"description": 1}, "description"),
            ({"metadata": {"k": 1}}, "metadata['k']"),
            ({"metadata": {"attached_mode": "rw"}}, "metadata['attached_mode']"),
            ({"size": 2}, "volume"),
        ):
            status, name, message = fault(await client.call("PUT", one, {"volume": body}))
            assert (status, name) == (400, "badRequest")
            assert f"Invalid input for {field}:" in message, (body, message)
        missing = await client.call("PUT", f"/v3/{{p}}/volumes/{GONE}", {"volume": {"name": "x"}})
        assert fault(missing)[:2] == (404, "itemNotFound")
        assert (await client.get(one))["volume"]["updated_at"] == volume["updated_at"]
        # To change nothing was allowed once.
        client.version = "3.52"
        same = await client.call("PUT", one, {"volume": {}})
        assert (same.status_code, same.json()["volume"]["name"]) == (200, "n")

    at_work(tmp_path, work)


def test_metadata_that_others_have_changed_are_not_overwritten(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        volume = await client.volume(metadata={"a": "1", "b": "2"})
        every = f"/v3/{{p}}/volumes/{volume['id']}/metadata"
        client.version = "3.14"
        assert "ETag" not in (await client.call("GET", every)).headers
        client.version = "3.15"
        seen = (await client.call("GET", every)).headers["ETag"]
        assert (await client.call("GET", every)).headers["ETag"] == seen
        changed = await client.call("PUT", f"{every}/a", {"meta": {"a": "3"}}, **{"If-Match": f'"other", {seen}'})
        assert changed.json() == {"meta": {"a": "3"}}

        for path, body in ((every, {"metadata": {}}), (f"{every}/b", {"meta": {"b": "4"}})):
            status, name, message = fault(await client.call("PUT", path, body, **{"If-Match": seen}))
            assert (status, name) == (412, "preconditionFailed")
            assert "If-Match" in message
        assert await client.get(every) == {"metadata": {"a": "3", "b": "2"}}
        client.version = "3.14"
        assert (await client.call("PUT", f"{every}/b", {"meta": {"b": "4"}}, **{"If-Match": seen})).status_code == 200
        client.version = "3.15"
        anything = await client.call("PUT", every, {"metadata": {"c": "5"}}, **{"If-Match": "*"})
        assert anything.json() == {"metadata": {"c": "5"}}
        beside = await client.call("PUT", every, {"metadata": {}, "other": 1})
        assert fault(beside)[:2] == (400, "badRequest")

    at_work(tmp_path, work)


def test_other_projects_see_nothing(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        volume = await client.volume()
        operator = await run.client("admin", project="admin")
        assert await volume_ids(operator, "") == []
        assert await volume_ids(operator, "?all_tenants=1") == [volume["id"]]
        assert await volume_ids(client, "?all_tenants=perhaps") == [volume["id"]]
        unclear = fault(await operator.call("GET", "/v3/{p}/volumes?all_tenants=perhaps"))
        assert unclear[:2] == (400, "badRequest")
        assert "all_tenants" in unclear[2]
        foreign = await client.call("GET", f"/v3/{new_uuid()}/volumes/{volume['id']}")
        assert foreign.status_code == 400
        assert (await client.call("POST", "/v3/{p}/volumes", b"{")).status_code == 400
        again = [
            await client.call("POST", "/v3/{p}/volumes", {"volume": {"size": 1}}, X_Client_Token="t") for _ in "12"
        ]
        assert again[0].json()["volume"]["id"] == again[1].json()["volume"]["id"]
        assert len(await volume_ids(client, "")) == 2

    at_work(tmp_path, work)


def test_an_error_says_why(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        volume = await client.volume()
        move = Move("set", VOLUME_STATUSES, "error")
        await run.app.db.write(move_volume, volume["id"], move, NOW, also={"reason": "the pool is full"})
        shown = (await client.get(f"/v3/{{p}}/volumes/{volume['id']}"))["volume"]
        assert shown["openevs:reason"] == "the pool is full"
        assert (await client.get("/v3/{p}/volumes/detail"))["volumes"] == [shown]

    at_work(tmp_path, work)


def test_what_takes_long_says_why_it_failed_last(tmp_path: Path) -> None:
    """Work that is tried again is not an error yet, but whoever waits for it wants to know."""
    faults = Faults()

    async def work(run: Running, client: Client) -> None:
        volume = await client.volume()
        faults.fail("ensure_volume_size", Transient("the pool hangs"))
        faults.fail("ensure_snapshot", Transient("the daemon hangs"))
        grow = {"os-extend": {"new_size": 2}}
        assert (await client.call("POST", f"/v3/{{p}}/volumes/{volume['id']}/action", grow)).status_code == 202
        shown = (await client.get(f"/v3/{{p}}/volumes/{volume['id']}"))["volume"]
        assert (shown["status"], shown["openevs:reason"]) == ("extending", "the pool hangs")
        other = await client.volume()
        asked = {"snapshot": {"volume_id": other["id"]}}
        made = (await client.call("POST", "/v3/{p}/snapshots", asked)).json()["snapshot"]
        shown = (await client.get(f"/v3/{{p}}/snapshots/{made['id']}"))["snapshot"]
        assert (shown["status"], shown["openevs:reason"]) == ("creating", "the daemon hangs")
        third = await client.volume()
        faults.fail("ensure_snapshot", Transient("the disk hangs"))
        asked = {"backup": {"volume_id": third["id"]}}
        saved = (await client.call("POST", "/v3/{p}/backups", asked)).json()["backup"]
        shown = (await client.get(f"/v3/{{p}}/backups/{saved['id']}"))["backup"]
        assert (shown["status"], shown["fail_reason"]) == ("creating", "the disk hangs")
        for operation in await run.app.db.read(list_operations, only_open=True, limit=9):
            await run.app.db.write(retry_operation, operation.id, utc_now())
        run.app.runner._wake.set()
        assert (await client.until("snapshot", made["id"], "available"))["openevs:reason"] is None
        assert (await client.until("backup", saved["id"], "available"))["fail_reason"] is None
        assert "openevs:reason" not in await client.until("volume", volume["id"], "available")

    # Looking waits until the work is put off.
    engine = faulty(MemoryEngine(), faults)
    at_work(tmp_path, work, engine=engine, operations__retry_seconds="30", server__settle_seconds="60")


def test_what_an_operator_sees_of_a_volume(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        volume = await client.volume()
        admin = await run.client("admin", project=run.made.demo_project)
        one = f"/v3/{{p}}/volumes/{volume['id']}"
        assert (await admin.get(one))["volume"]["os-vol-host-attr:host"] == "openevs@layers#layers"
        later = {
            "3.13": {"group_id"},
            "3.21": {"provider_id"},
            "3.48": SHARED,
            "3.61": {"cluster_name"},
            "3.63": {"volume_type_id"},
            "3.65": {"consumes_quota"},
        }
        known = BASE | TENANT | HOST | {"migration_status"}
        for version, more in later.items():
            admin.version = client.version = version
            known |= more
            assert (await admin.get(one))["volume"].keys() == known
            hidden = HOST | {"migration_status", "provider_id", "cluster_name"}
            assert (await client.get(one))["volume"].keys() == known - hidden
        found = (await client.get("/v3/{p}/volumes?consumes_quota=true"))["volumes"]
        assert [row["id"] for row in found] == [volume["id"]]
        assert (await client.get("/v3/{p}/volumes?consumes_quota=false"))["volumes"] == []

    at_work(tmp_path, work)
