"""Metadata of native snapshots and the actions on them (spec 2.1.1, 2.7, 2.8)."""

from pathlib import Path
from typing import Any

from openevs.domain.lifecycle import SNAPSHOT_STATUSES
from openevs.testing.application import Client, Running
from tests.api.asking import GONE, at_work, set_snapshot

EURO = "€"


def test_metadata_is_a_sub_resource(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        made = await client.snapshot((await client.volume())["id"], metadata={"a": "1", "x/y": "z"})
        for api in ("v2", "v3"):
            base = f"/{api}/{{p}}/snapshots/{made['id']}/metadata"
            steps: list[tuple[str, str, Any, Any]] = [
                ("GET", "", None, {"metadata": {"a": "1", "x/y": "z"}}),
                ("GET", "/x%2Fy", None, {"meta": {"x/y": "z"}}),
                ("POST", "", {"metadata": {"b": "2"}, "ignored": 1}, {"metadata": {"a": "1", "b": "2", "x/y": "z"}}),
                ("POST", "", {"metadata": {}}, {"metadata": {"a": "1", "b": "2", "x/y": "z"}}),
                ("PUT", "/c%20d", {"meta": {"c d": "3"}, "ignored": 1}, {"meta": {"c d": "3"}}),
                ("GET", "/c%20d", None, {"meta": {"c d": "3"}}),
                ("DELETE", "/b", None, None),
                ("GET", "", None, {"metadata": {"a": "1", "c d": "3", "x/y": "z"}}),
                ("PUT", "", {"metadata": {"e": ""}}, {"metadata": {"e": ""}}),
                ("GET", "", None, {"metadata": {"e": ""}}),
                ("DELETE", "/e", None, None),
                ("POST", "", {"metadata": {"a": "1"}}, {"metadata": {"a": "1"}}),
            ]
            for method, path, body, expected in steps:
                reply = await client.call(method, base + path, body)
                assert reply.status_code == 200, (method, path, reply.text)
                assert (reply.json() if reply.content else None) == expected, (method, path)
            restored = {"a": "1", "x/y": "z"}
            # A slash is possible at creation only; the next round starts from what a creation would have given.
            refused = await client.call("PUT", base, {"metadata": restored})
            assert refused.status_code == 400
            made = await client.snapshot(made["volume_id"], metadata=restored)

    at_work(tmp_path, work)


METADATA: list[tuple[str, str, Any, int, str]] = [
    ("POST", "", b"", 400, "body"),
    ("POST", "", b"{", 400, "body"),
    ("POST", "", [], 400, "body"),
    ("POST", "", {}, 400, "metadata"),
    ("POST", "", {"metadata": None}, 400, "metadata"),
    ("POST", "", {"metadata": {"a": 1}}, 400, "metadata['a']"),
    ("POST", "", {"metadata": {"a": None}}, 400, "metadata['a']"),
    ("POST", "", {"metadata": {"": "x"}}, 400, "metadata"),
    ("POST", "", {"metadata": {"a/b": "x"}}, 400, "metadata"),
    ("POST", "", {"metadata": {"ä": "x"}}, 400, "metadata"),
    ("POST", "", {"metadata": {"k" * 256: "x"}}, 400, "metadata"),
    ("POST", "", {"metadata": {"k" * 255: EURO * 85}}, 200, ""),
    ("POST", "", {"metadata": {"a": EURO * 85 + "x"}}, 400, "metadata['a']"),
    ("PUT", "", {"metadata": []}, 400, "metadata"),
    ("PUT", "/a", {"metadata": {"a": "1"}}, 400, "meta"),
    ("PUT", "/a", {"meta": {}}, 400, "mismatch"),
    ("PUT", "/a", {"meta": {"b": "1"}}, 400, "mismatch"),
    ("PUT", "/a", {"meta": {"a": "1", "b": "2"}}, 400, "too many items"),
    ("PUT", "/a", {"meta": {"a": 1}}, 400, "metadata['a']"),
    ("GET", "/none", None, 404, "none"),
    ("DELETE", "/none", None, 404, "none"),
]


def test_metadata_that_cannot_be(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        made = await client.snapshot((await client.volume())["id"])
        for method, path, body, status, named in METADATA:
            reply = await client.call(method, f"/v3/{{p}}/snapshots/{made['id']}/metadata{path}", body)
            assert reply.status_code == status, (method, path, body, reply.text)
            if status != 200:
                ((name, detail),) = reply.json().items()
                assert name == {400: "badRequest", 404: "itemNotFound"}[status]
                assert named in detail["message"]
        for method, path, body in (
            ("GET", "", None),
            ("GET", "/a", None),
            ("POST", "", {"metadata": {"a": "1"}}),
            ("PUT", "", {"metadata": {"a": "1"}}),
            ("PUT", "/a", {"meta": {"a": "1"}}),
            ("DELETE", "/a", None),
        ):
            reply = await client.call(method, f"/v3/{{p}}/snapshots/{GONE}/metadata{path}", body)
            assert (reply.status_code, *reply.json()) == (404, "itemNotFound")

    at_work(tmp_path, work)


def test_actions_of_operators_and_services(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        admin = await run.client("admin", project=run.made.demo_project)
        made = await client.snapshot((await client.volume())["id"])
        action = f"/v3/{{p}}/snapshots/{made['id']}/action"
        steps: list[tuple[Client, Any, int, str, str]] = [
            (client, {"os-reset_status": {"status": "error"}}, 403, "os-reset_status", "available"),
            (client, {"os-force_delete": {}}, 403, "os-force_delete", "available"),
            (client, {"os-update_snapshot_status": {"status": "error"}}, 400, "cannot become error", "available"),
            (client, {"os-fly": {"to": "the moon"}}, 400, "os-fly", "available"),
            (client, {"os-fly": {}, "os-swim": {}}, 400, "body", "available"),
            (client, {}, 400, "body", "available"),
            (client, b"", 400, "body", "available"),
            (admin, {"os-reset_status": {}}, 400, "status", "available"),
            (admin, {"os-reset_status": None}, 400, "os-reset_status", "available"),
            (admin, {"os-reset_status": {"status": "flying"}}, 400, "flying", "available"),
            (admin, {"os-reset_status": {"status": 5}}, 400, "status", "available"),
            (admin, {"os-reset_status": {"status": "error", "colour": "red"}}, 400, "colour", "available"),
            (admin, {"os-reset_status": {"status": "ERROR"}}, 202, "", "error"),
            (admin, {"os-update_snapshot_status": {"status": "available"}}, 400, "cannot become available", "error"),
            (admin, {"os-reset_status": {"status": "creating"}}, 202, "", "creating"),
            (admin, {"os-update_snapshot_status": {"status": "creating", "progress": "55%"}}, 202, "", "creating"),
            (admin, {"os-update_snapshot_status": {"status": "error", "progress": "x"}}, 400, "progress", "creating"),
            (admin, {"os-update_snapshot_status": {"status": "deleting"}}, 400, "cannot become", "creating"),
            (admin, {"os-update_snapshot_status": {"status": "available", "progress": "100%"}}, 202, "", "available"),
            (admin, {"os-reset_status": {"status": "deleting"}}, 202, "", "deleting"),
            (admin, {"os-update_snapshot_status": {"status": "error_deleting"}}, 202, "", "error_deleting"),
        ]  # fmt: skip
        for who, body, status, named, then in steps:
            reply = await who.call("POST", action, body)
            assert reply.status_code == status, (body, reply.text)
            if status == 202:
                assert reply.content == b""
            else:
                ((name, detail),) = reply.json().items()
                assert name == {400: "badRequest", 403: "forbidden"}[status]
                assert named in detail["message"]
            assert (await client.get(f"/v3/{{p}}/snapshots/{made['id']}"))["snapshot"]["status"] == then
        assert (await admin.call("POST", action, {"os-force_delete": {}})).status_code == 202
        await client.until("snapshot", made["id"], "gone")
        gone = await admin.call("POST", action, {"os-force_delete": {}})
        assert (gone.status_code, *gone.json()) == (404, "itemNotFound")

    at_work(tmp_path, work)


def test_force_delete_works_in_every_status(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        admin = await run.client("admin", project=run.made.demo_project)
        volume_id = (await client.volume())["id"]
        for status in sorted(SNAPSHOT_STATUSES):
            made = await client.snapshot(volume_id)
            await set_snapshot(run, made["id"], status)
            reply = await admin.call("POST", f"/v2/{{p}}/snapshots/{made['id']}/action", {"os-force_delete": {}})
            assert reply.status_code == 202, status
            await client.until("snapshot", made["id"], "gone")

    at_work(tmp_path, work)
