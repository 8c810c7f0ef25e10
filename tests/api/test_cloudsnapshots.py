"""Huawei's cloudsnapshots, v2 and the v3 twin: the same snapshots with another face and other errors."""

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from openevs.domain.lifecycle import SNAPSHOT_STATUSES, VOLUME_STATUSES
from openevs.store.database import Tx
from openevs.store.tables import snapshot as snapshot_table
from openevs.testing.application import Client, Running
from tests.api.asking import GONE, at_work, set_snapshot, set_volume

NINE = {"id", "status", "name", "description", "created_at", "updated_at", "metadata", "volume_id", "size"}
EXTENDED = {"os-extended-snapshot-attributes:project_id", "os-extended-snapshot-attributes:progress"}
OWN = {"openevs:taken_at", "openevs:cut_ms", "openevs:stall_ms", "openevs:reason"}
APIS = pytest.mark.parametrize("api", ["v2", "v3"])


def error(reply: Any) -> tuple[int, str]:
    """Return status and EVS code of a refusal, whose body must have nothing else."""
    assert reply.json().keys() == {"error"}
    assert reply.json()["error"].keys() == {"message", "code"}
    return reply.status_code, reply.json()["error"]["code"]


@APIS
def test_a_snapshot_from_its_first_to_its_last_answer(tmp_path: Path, api: str) -> None:
    async def work(run: Running, client: Client) -> None:
        volume = await client.volume(size=2)
        base = f"/{api}/{{p}}/cloudsnapshots"
        # What is unknown is ignored: Huawei's resources are not strict.
        made = await client.call("POST", base, {"snapshot": {"volume_id": volume["id"], "name": "n", "x": 1}, "y": 2})
        assert made.status_code == 202
        assert "OpenStack-API-Version" not in made.headers
        body = made.json()["snapshot"]
        assert body.keys() == NINE
        await client.until("snapshot", body["id"], "available")
        shown = (await client.get(f"{base}/{body['id']}"))["snapshot"]
        assert shown.keys() == NINE | EXTENDED | OWN
        listed = await client.get(f"{base}/detail")
        assert listed.keys() == {"count", "snapshots"}
        assert listed["count"] == 1
        assert listed["snapshots"] == [{**shown, "service_type": "EVS"}]
        changed = await client.call("PUT", f"{base}/{body['id']}", {"snapshot": {"description": "d"}})
        assert changed.status_code == 200
        assert changed.json()["snapshot"].keys() == NINE
        deleted = await client.call("DELETE", f"{base}/{body['id']}")
        assert (deleted.status_code, deleted.content) == (202, b"")

    at_work(tmp_path, work)


REFUSED: list[tuple[str, str, Any, int, str]] = [
    ("POST", "", b"", 400, "EVS.1052"),
    ("POST", "", b"{", 400, "EVS.1052"),
    ("POST", "", [], 400, "EVS.1052"),
    ("POST", "", {}, 400, "EVS.1070"),
    ("POST", "", {"snapshot": []}, 400, "EVS.1070"),
    ("POST", "", {"snapshot": {}}, 400, "EVS.1070"),
    ("POST", "", {"snapshot": {"volume_id": 5}}, 400, "EVS.1018"),
    ("POST", "", {"snapshot": {"volume_id": "x"}}, 400, "EVS.1002"),
    ("POST", "", {"snapshot": {"volume_id": GONE}}, 404, "EVS.5404"),
    ("POST", "", {"snapshot": {"volume_id": GONE, "name": "x" * 256}}, 400, "EVS.5400"),
    ("PUT", f"/{GONE}", {"snapshot": {}}, 400, "EVS.1070"),
    ("PUT", f"/{GONE}", {"snapshot": {"name": "x"}}, 404, "EVS.5404"),
    ("GET", f"/{GONE}", None, 404, "EVS.5404"),
    ("GET", "/x", None, 404, "EVS.5404"),
    ("DELETE", f"/{GONE}", None, 404, "EVS.5404"),
    ("PATCH", f"/{GONE}", None, 405, "EVS.5405"),
    ("POST", f"/{GONE}/rollback", {"rollback": {"name": "x"}}, 400, "EVS.1070"),
    ("POST", f"/{GONE}/rollback", {"rollback": {"volume_id": "x"}}, 400, "EVS.1002"),
    ("POST", f"/{GONE}/rollback", {"rollback": {"volume_id": GONE}}, 404, "EVS.5404"),
    ("GET", "/detail?limit=0", None, 400, "EVS.1023"),
    ("GET", "/detail?limit=-1", None, 400, "EVS.1023"),
    ("GET", "/detail?limit=ten", None, 400, "EVS.1023"),
    ("GET", "/detail?limit=1001", None, 400, "EVS.2142"),
    ("GET", "/detail?offset=-1", None, 400, "EVS.5400"),
    ("GET", "/detail?marker=x", None, 400, "EVS.1024"),
    ("GET", "/detail?sort_key=colour", None, 400, "EVS.1039"),
    ("GET", "/detail?sort_dir=up", None, 400, "EVS.1040"),
    ("GET", "/detail?service_type=OBS", None, 400, "EVS.5400"),
]


@APIS
def test_refusals_have_their_codes(tmp_path: Path, api: str) -> None:
    async def work(run: Running, client: Client) -> None:
        for method, path, body, status, code in REFUSED:
            reply = await client.call(method, f"/{api}/{{p}}/cloudsnapshots{path}", body)
            assert error(reply) == (status, code), (method, path, body, reply.text)
        wrong_project = await client.call("GET", f"/{api}/{'0' * 32}/cloudsnapshots/detail")
        assert error(wrong_project) == (400, "EVS.0001")

    at_work(tmp_path, work)


def test_there_is_no_plain_list(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        assert (await client.call("GET", "/v2/{p}/cloudsnapshots")).status_code == 405

    at_work(tmp_path, work)


def test_deletion_answers_by_the_status_that_is_found(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        made = await client.snapshot((await client.volume())["id"])
        for status in sorted(SNAPSHOT_STATUSES - {"available", "error"}):
            await set_snapshot(run, made["id"], status)
            expected = (500, "EVS.2019") if status == "error_deleting" else (400, "EVS.1047")
            assert error(await client.call("DELETE", f"/v2/{{p}}/cloudsnapshots/{made['id']}")) == expected
        await set_snapshot(run, made["id"], "error")
        assert (await client.call("DELETE", f"/v2/{{p}}/cloudsnapshots/{made['id']}")).status_code == 202

    at_work(tmp_path, work)


def test_quota_and_disk_limits_of_the_cloud(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        first, second = await client.volume(), await client.volume()
        for _ in range(7):
            await client.snapshot(first["id"])
        reply = await client.call("POST", "/v2/{p}/cloudsnapshots", {"snapshot": {"volume_id": first["id"]}})
        assert error(reply) == (400, "EVS.5400")
        assert "already has 7 snapshots" in reply.json()["error"]["message"]
        for _ in range(3):
            await client.snapshot(second["id"])
        body = {"snapshot": {"volume_id": second["id"]}}
        reply = await client.call("POST", "/v2/{p}/cloudsnapshots", body)
        assert error(reply) == (413, "EVS.5413")
        assert "snapshots" in reply.json()["error"]["message"]
        native = await client.call("POST", "/v3/{p}/snapshots", body)
        assert native.status_code == 413
        assert native.headers["Retry-After"] == "0"
        assert native.json()["overLimit"]["retryAfter"] == "0"

    at_work(tmp_path, work, api__profile="cloud")


def test_roles_decide(tmp_path: Path) -> None:
    """A reader may look and do no more."""

    async def work(run: Running, client: Client) -> None:
        made = await client.snapshot((await client.volume())["id"])
        grants = run.app.identity
        grant = await grants.verify(client.token)
        assert grant is not None

        async def as_reader(token: str) -> Any:
            return grant._replace(roles=frozenset({"reader"}))

        grants.verify = as_reader  # type: ignore[method-assign]
        assert (await client.call("GET", "/v2/{p}/cloudsnapshots/detail")).status_code == 200
        assert error(await client.call("DELETE", f"/v2/{{p}}/cloudsnapshots/{made['id']}")) == (403, "EVS.1027")
        native = await client.call("DELETE", f"/v3/{{p}}/snapshots/{made['id']}")
        assert (native.status_code, *native.json()) == (403, "forbidden")

    at_work(tmp_path, work)


@pytest.mark.parametrize(
    "path",
    [
        "/v2/{p}/cloudsnapshots/%s/rollback",
        "/v3/{p}/cloudsnapshots/%s/rollback",
        "/v2/{p}/os-vendor-snapshots/%s/rollback",
        "/v3/{p}/os-vendor-snapshots/%s/rollback",
    ],
)
def test_rollback(tmp_path: Path, path: str) -> None:
    async def work(run: Running, client: Client) -> None:
        volume, other = await client.volume(), await client.volume()
        old, new = await client.snapshot(volume["id"]), await client.snapshot(volume["id"])
        rollback = path % old["id"]
        body = {"rollback": {"volume_id": volume["id"], "name": volume["name"]}}
        reply = await client.call("POST", rollback, body)
        assert (reply.status_code, reply.json()) == (202, {"rollback": {"volume_id": volume["id"]}})
        await client.until("volume", volume["id"], "available")
        assert (await client.until("snapshot", new["id"], "available"))["volume_id"] == volume["id"]
        wrong = await client.call("POST", rollback, {"rollback": {"volume_id": other["id"]}})
        assert error(wrong) == (400, "EVS.5400")
        assert "volume_id" in wrong.json()["error"]["message"]
        for status in sorted(VOLUME_STATUSES - {"available", "error_rollbacking"}):
            await set_volume(run, volume["id"], status)
            refused = await client.call("POST", rollback, body)
            assert error(refused) == (400, "EVS.5400")
            assert f"its status is {status}" in refused.json()["error"]["message"]
        await set_volume(run, volume["id"], "error_rollbacking")
        for status in sorted(SNAPSHOT_STATUSES - {"available"}):
            await set_snapshot(run, old["id"], status)
            assert error(await client.call("POST", rollback, body)) == (400, "EVS.5400")
        await set_snapshot(run, old["id"], "available")
        assert (await client.call("POST", rollback, body)).status_code == 202
        await client.until("volume", volume["id"], "available")

    at_work(tmp_path, work)


def test_reserved_names_are_taken_with_a_warning_and_not_rolled_back_to(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        volume = await client.volume()
        for prefix in ("autobk_snapshot_", "manualbk_snapshot_vbs_", "autobk_snapshot_csbs_"):
            asked = {"snapshot": {"volume_id": volume["id"], "name": prefix + "1"}}
            for path in ("/v2/{p}/snapshots", "/v3/{p}/snapshots", "/v2/{p}/cloudsnapshots"):
                reply = await client.call("POST", path, asked)
                assert reply.status_code == 202
                assert "reserved" in reply.headers["Warning"]
        made = await client.snapshot(volume["id"], name="mine")
        for path in ("/v3/{p}/snapshots/", "/v2/{p}/cloudsnapshots/"):
            reply = await client.call("PUT", path + made["id"], {"snapshot": {"name": "autobk_snapshot_1"}})
            assert reply.status_code == 200
            assert "reserved" in reply.headers["Warning"]
        body = {"rollback": {"volume_id": volume["id"]}}
        refused = await client.call("POST", f"/v2/{{p}}/cloudsnapshots/{made['id']}/rollback", body)
        assert error(refused) == (400, "EVS.5400")
        assert "Rename it first" in refused.json()["error"]["message"]
        other = await client.call("PUT", f"/v3/{{p}}/snapshots/{made['id']}", {"snapshot": {"name": "mine again"}})
        assert "Warning" not in other.headers
        reply = await client.call("POST", f"/v2/{{p}}/cloudsnapshots/{made['id']}/rollback", body)
        assert reply.status_code == 202
        await client.until("volume", volume["id"], "available")
        assert (await client.call("DELETE", f"/v2/{{p}}/cloudsnapshots/{made['id']}")).status_code == 202

    at_work(tmp_path, work)


def test_what_a_backup_owns_is_neither_deleted_nor_rolled_back_to(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        volume = await client.volume()
        made = await client.snapshot(volume["id"])

        def give_to_backup(tx: Tx) -> None:
            tx.execute(sa.update(snapshot_table).where(snapshot_table.c.id == made["id"]).values(owner="backup"))

        await run.app.db.write(give_to_backup)
        rollback = {"rollback": {"volume_id": volume["id"]}}
        for reply in (
            await client.call("DELETE", f"/v2/{{p}}/cloudsnapshots/{made['id']}"),
            await client.call("POST", f"/v2/{{p}}/cloudsnapshots/{made['id']}/rollback", rollback),
        ):
            assert error(reply) == (400, "EVS.5400")
            assert "belongs to a backup" in reply.json()["error"]["message"]
        native = await client.call("DELETE", f"/v3/{{p}}/snapshots/{made['id']}")
        assert (native.status_code, *native.json()) == (400, "badRequest")

    at_work(tmp_path, work)


@APIS
def test_lists_are_filtered_and_paged(tmp_path: Path, api: str) -> None:
    async def work(run: Running, client: Client) -> None:
        volume, other = await client.volume(), await client.volume()
        ids = [(await client.snapshot(volume["id"], name=f"s{i % 2}"))["id"] for i in range(5)][::-1]
        last = await client.snapshot(other["id"])
        ids.insert(0, last["id"])
        base = f"/{api}/{{p}}/cloudsnapshots/detail"

        async def listed(query: str) -> tuple[int, list[str]]:
            body = await client.get(f"{base}?{query}")
            return body["count"], [item["id"] for item in body["snapshots"]]

        assert await listed("") == (6, ids)
        assert await listed("limit=2") == (6, ids[:2])
        assert await listed("limit=2&offset=4") == (6, ids[4:])
        assert await listed("offset=9") == (6, [])
        assert await listed(f"volume_id={other['id']}") == (1, ids[:1])
        assert await listed(f"id={ids[3]}&id={ids[1]}&id={GONE}") == (2, [ids[1], ids[3]])
        assert await listed(f"id={ids[3]}") == (1, [ids[3]])
        assert await listed("name=s1") == (2, [ids[2], ids[4]])
        assert await listed("status=available&availability_zone=nova&service_type=EVS&enterprise_project_id=0") == (
            6,
            ids,
        )
        for nothing in ("status=error", "availability_zone=x", "service_type=DSS", "dedicated_storage_id=x"):
            assert await listed(nothing) == (0, [])
        assert await listed("enterprise_project_id=all_granted_eps&unknown=1") == (6, ids)
        page = await client.get(f"{base}?limit=2&name=s1&volume_id={volume['id']}")
        assert "snapshots_links" not in page
        page = await client.get(f"{base}?limit=4")
        (link,) = page["snapshots_links"]
        assert link["rel"] == "next"
        native, _, query = link["href"].partition("?")
        assert native == f"http://openevs.test/{api}/{client.project_id}/snapshots/detail"
        assert query == f"limit=4&marker={ids[3]}"
        rest = await client.get(link["href"].removeprefix("http://openevs.test"))
        assert [item["id"] for item in rest["snapshots"]] == ids[4:]
        with_ids = "&".join(f"id={one}" for one in ids[:3])
        (link,) = (await client.get(f"{base}?limit=2&{with_ids}"))["snapshots_links"]
        rest = await client.get(link["href"].removeprefix("http://openevs.test"))
        assert [item["id"] for item in rest["snapshots"]] == [ids[2]]

    at_work(tmp_path, work)
