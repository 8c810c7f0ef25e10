"""Native snapshots: what is answered to what, by status, fault and the field that the message names."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from openevs.domain.ids import new_uuid
from openevs.domain.lifecycle import VOLUME_STATUSES
from openevs.testing.application import Client, Running
from tests.api.asking import GONE, at_work, fault, set_snapshot, set_volume

NINE = {"id", "status", "name", "description", "created_at", "updated_at", "metadata", "volume_id", "size"}
EXTENDED = {"os-extended-snapshot-attributes:project_id", "os-extended-snapshot-attributes:progress"}
OWN = {"openevs:taken_at", "openevs:cut_ms", "openevs:stall_ms", "openevs:reason"}


@pytest.mark.parametrize("api", ["v2", "v3"])
def test_a_snapshot_from_its_first_to_its_last_answer(tmp_path: Path, api: str) -> None:
    async def work(run: Running, client: Client) -> None:
        volume = await client.volume(size=2)
        base = f"/{api}/{{p}}/snapshots"
        asked = {"volume_id": volume["id"], "name": " n ", "description": None, "metadata": {"k": "v"}, "force": False}
        made = await client.call("POST", base, {"snapshot": asked})
        assert made.status_code == 202
        body = made.json()["snapshot"]
        assert body.keys() == NINE
        assert body["status"] == "creating"
        assert (body["name"], body["description"], body["metadata"]) == ("n", None, {"k": "v"})
        assert (body["size"], body["volume_id"], body["updated_at"]) == (2, volume["id"], None)
        datetime.strptime(body["created_at"], "%Y-%m-%dT%H:%M:%S.%f")  # noqa: DTZ007 - the format has no zone
        shown = await client.until("snapshot", body["id"], "available")
        assert shown.keys() == NINE | EXTENDED | OWN
        detail = (await client.get(f"{base}/{body['id']}"))["snapshot"]
        assert detail.keys() == NINE | EXTENDED | OWN
        assert detail["os-extended-snapshot-attributes:progress"] == "100%"
        assert detail["os-extended-snapshot-attributes:project_id"] == client.project_id
        one = f"/v3/{{p}}/snapshots/{body['id']}"
        for version, more in (
            ("3.0", set[str]()),
            ("3.14", {"group_snapshot_id"}),
            ("3.41", {"user_id", "group_snapshot_id"}),
            ("3.65", {"user_id", "group_snapshot_id", "consumes_quota"}),
        ):
            # Whoever asks for nothing more gets the fields of the microversion: strict clients count them.
            plain = await client.call("GET", one, OpenStack_API_Version=f"volume {version}")
            assert plain.json()["snapshot"].keys() == NINE | EXTENDED | more
            named = {"snapshot": {"name": "m"}}
            put = await client.call("PUT", one, named, OpenStack_API_Version=f"volume {version}")
            assert put.json()["snapshot"].keys() == NINE | more
        assert (await client.call("GET", "/v3/{p}/snapshots/")).status_code == 404
        changed = await client.call("PUT", f"{base}/{body['id']}", {"snapshot": {"name": None, "description": "d"}})
        assert changed.status_code == 200
        assert changed.json()["snapshot"].keys() == NINE
        assert (changed.json()["snapshot"]["name"], changed.json()["snapshot"]["description"]) == (None, "d")
        deleted = await client.call("DELETE", f"{base}/{body['id']}")
        assert (deleted.status_code, deleted.content) == (202, b"")
        await client.until("snapshot", body["id"], "gone")
        assert fault(await client.call("GET", f"{base}/{body['id']}"))[:2] == (404, "itemNotFound")

    at_work(tmp_path, work)


def test_microversions_add_fields_to_details(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        made = await client.snapshot((await client.volume())["id"])
        for version, more in (("3.13", set()), ("3.14", {"group_snapshot_id"}), ("3.65", {"consumes_quota"})):
            client.version = version
            reply = await client.call("GET", f"/v3/{{p}}/snapshots/{made['id']}")
            assert reply.headers["OpenStack-API-Version"] == f"volume {version}"
            assert reply.headers["Vary"] == "OpenStack-API-Version"
            assert more <= reply.json()["snapshot"].keys()
        v2 = await client.call("GET", f"/v2/{{p}}/snapshots/{made['id']}")
        assert "OpenStack-API-Version" not in v2.headers
        assert "group_snapshot_id" not in v2.json()["snapshot"]
        client.version = "3.67"
        assert (await client.get(f"/v3/snapshots/{made['id']}"))["snapshot"]["id"] == made["id"]

    at_work(tmp_path, work)


def snap(**fields: Any) -> dict[str, Any]:
    return {"snapshot": {"volume_id": "VOLUME", **fields}}


EURO = "€"  # three bytes in UTF-8
CREATES: list[tuple[str, Any, int, str]] = [
    ("255 bytes of name", snap(name=EURO * 85), 202, ""),
    ("256 bytes of name", snap(name=EURO * 85 + "x"), 400, "name"),
    ("blanks do not count", snap(name=" " * 300 + "x" * 255), 202, ""),
    ("an empty name", snap(name=""), 202, ""),
    ("no name by null", snap(name=None), 202, ""),
    ("a number as name", snap(name=5), 400, "name"),
    ("a name with NUL", snap(name="a\0b"), 400, "name"),
    ("display_name", snap(display_name="n"), 202, ""),
    ("255 bytes of description", snap(description=EURO * 85), 202, ""),
    ("256 bytes of description", snap(description="x" * 256), 400, "description"),
    ("a description that is no text", snap(description=["x"]), 400, "description"),
    ("metadata null", snap(metadata=None), 202, ""),
    ("metadata with a slash", snap(metadata={"a/b": "c"}), 202, ""),
    ("metadata no object", snap(metadata=[]), 400, "metadata"),
    ("metadata with a number", snap(metadata={"k": 1}), 400, "metadata['k']"),
    ("metadata with null", snap(metadata={"k": None}), 400, "metadata['k']"),
    ("metadata with a bad key", snap(metadata={"k!": "v"}), 400, "metadata"),
    ("metadata with no key", snap(metadata={"": "v"}), 400, "metadata"),
    ("metadata key of 255", snap(metadata={"k" * 255: "v"}), 202, ""),
    ("metadata key of 256", snap(metadata={"k" * 256: "v"}), 400, "metadata"),
    ("metadata value of 255 bytes", snap(metadata={"k": EURO * 85}), 202, ""),
    ("metadata value of 256 bytes", snap(metadata={"k": EURO * 85 + "x"}), 400, "metadata['k']"),
    ("force as text", snap(force="True"), 202, ""),
    ("force as other text", snap(force="maybe"), 400, "force"),
    ("force null", snap(force=None), 400, "force"),
    ("force a number", snap(force=1), 400, "force"),
    ("an unknown key", snap(nmae="x"), 400, "nmae"),
    ("an unknown key beside", {**snap(), "other": 1}, 400, "other"),
    ("no volume_id", {"snapshot": {"name": "x"}}, 400, "volume_id"),
    ("volume_id null", {"snapshot": {"volume_id": None}}, 404, "None"),
    ("volume_id a number", {"snapshot": {"volume_id": 7}}, 400, "volume_id"),
    ("volume_id no UUID", {"snapshot": {"volume_id": "vol-1"}}, 400, "volume_id"),
    ("volume_id unknown", {"snapshot": {"volume_id": GONE}}, 404, GONE),
    ("no envelope", {"volume_id": "VOLUME"}, 400, "snapshot"),
    ("an envelope that is null", {"snapshot": None}, 400, "snapshot"),
    ("an envelope that is a list", {"snapshot": []}, 400, "snapshot"),
    ("a list", [], 400, "body"),
    ("text", b'"x"', 400, "body"),
    ("no JSON", b"{", 400, "body"),
    ("no UTF-8", b'{"snapshot": "\xff"}', 400, "body"),
    ("a lone surrogate", b'{"snapshot": {"volume_id": "' + GONE.encode() + b'", "name": "\\ud800"}}', 400, "body"),
    ("much nesting", b"[" * 100_000, 400, "body"),
    ("nothing", b"", 400, "body"),
]


def test_creates(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        volume_id = (await client.volume())["id"]
        for title, body, status, named in CREATES:
            if isinstance(body, dict) and isinstance(body.get("snapshot"), dict):
                inner = {k: volume_id if v == "VOLUME" else v for k, v in body["snapshot"].items()}
                body = {**body, "snapshot": inner}
            reply = await client.call("POST", "/v3/{p}/snapshots", body)
            assert reply.status_code == status, (title, reply.text)
            if status != 202:
                code, name, message = fault(reply)
                assert name == {400: "badRequest", 404: "itemNotFound"}[code], title
                assert named in message, (title, message)

    at_work(tmp_path, work)


def test_v2_takes_unknown_keys_and_media_types_are_checked(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        volume_id = (await client.volume())["id"]
        body = {"snapshot": {"volume_id": volume_id, "other": 1}, "more": 2}
        assert (await client.call("POST", "/v2/{p}/snapshots", body)).status_code == 202
        text = await client.call("POST", "/v2/{p}/snapshots", body, Content_Type="text/plain")
        assert fault(text)[:2] == (415, "badMediaType")
        utf8 = await client.call("POST", "/v2/{p}/snapshots", body, Content_Type="application/json;charset=utf-8")
        assert utf8.status_code == 202

    at_work(tmp_path, work)


def accepted(force: bool | None, version: str) -> set[str]:
    """Return the volume statuses that design section 8 and spec 3.4 accept."""
    if version == "3.66":
        return {"available", "in-use"}
    return {"available", "in-use", "attaching"} if force else {"available"}


@pytest.mark.parametrize(
    ("force", "version"), [(None, "3.0"), (False, "3.0"), (True, "3.65"), (None, "3.66"), (True, "3.66")]
)
def test_force_decides_for_every_status_of_the_volume(tmp_path: Path, force: bool | None, version: str) -> None:
    async def work(run: Running, client: Client) -> None:
        client.version = version
        volume_id = (await client.volume())["id"]
        body = {"snapshot": {"volume_id": volume_id} | ({} if force is None else {"force": force})}
        for status in sorted(VOLUME_STATUSES):
            await set_volume(run, volume_id, status)
            reply = await client.call("POST", "/v3/{p}/snapshots", body)
            if status in accepted(force, version):
                assert reply.status_code == 202, (status, reply.text)
                await client.until("snapshot", reply.json()["snapshot"]["id"], "available")
            else:
                code, name, message = fault(reply)
                assert (code, name) == (400, "badRequest")
                assert volume_id in message
                assert f"its status is {status}" in message
                assert all(allowed in message for allowed in accepted(force, version))
                missing = not force and version != "3.66" and status in ("in-use", "attaching")
                assert ("force" in message) is missing, message

    at_work(tmp_path, work)


def test_force_may_not_be_false_from_3_66_on(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        volume_id = (await client.volume())["id"]
        client.version = "3.66"
        body = {"snapshot": {"volume_id": volume_id, "force": False}}
        code, name, message = fault(await client.call("POST", "/v3/{p}/snapshots", body))
        assert (code, name) == (400, "badRequest")
        assert "force" in message

    at_work(tmp_path, work)


UPDATES: list[tuple[Any, int, str]] = [
    ({"snapshot": {"name": "x" * 255}}, 200, ""),
    ({"snapshot": {"name": "x" * 256}}, 400, "name"),
    ({"snapshot": {"display_description": "d"}}, 200, ""),
    ({"snapshot": {}}, 400, "snapshot"),
    ({"snapshot": {"name": 1}}, 400, "name"),
    ({"snapshot": {"size": 1}}, 400, "snapshot"),
    ({}, 400, "snapshot"),
    (b"", 400, "body"),
]


def test_updates(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        made = await client.snapshot((await client.volume())["id"])
        for body, status, named in UPDATES:
            reply = await client.call("PUT", f"/v3/{{p}}/snapshots/{made['id']}", body)
            assert reply.status_code == status, reply.text
            if status != 200:
                assert named in fault(reply)[2]
        gone = await client.call("PUT", f"/v3/{{p}}/snapshots/{GONE}", {"snapshot": {"name": "x"}})
        assert fault(gone)[:2] == (404, "itemNotFound")

    at_work(tmp_path, work)


def test_deletes_only_what_is_available_or_error(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        volume_id = (await client.volume())["id"]
        for status in ("creating", "backing-up", "deleting", "error_deleting", "rollbacking", "restoring"):
            made = await client.snapshot(volume_id)
            await set_snapshot(run, made["id"], status)
            code, name, message = fault(await client.call("DELETE", f"/v3/{{p}}/snapshots/{made['id']}"))
            assert (code, name) == (400, "badRequest")
            assert f"its status is {status}, but must be available or error" in message
        made = await client.snapshot(volume_id)
        await set_snapshot(run, made["id"], "error")
        assert (await client.call("DELETE", f"/v3/{{p}}/snapshots/{made['id']}")).status_code == 202
        assert fault(await client.call("DELETE", f"/v3/{{p}}/snapshots/{GONE}"))[:2] == (404, "itemNotFound")

    at_work(tmp_path, work)


def test_ids_that_lead_nowhere_are_404(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        for snapshot_id in (GONE, "x", "%00", "a%2Fb", "..%2f", "%ff", "%25"):
            reply = await client.call("GET", f"/v3/{{p}}/snapshots/{snapshot_id}")
            assert fault(reply)[:2] == (404, "itemNotFound")

    at_work(tmp_path, work)


def test_a_token_reaches_its_own_project_only(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        other = new_uuid().replace("-", "")
        code, name, message = fault(await client.call("GET", f"/v3/{other}/snapshots"))
        assert (code, name) == (400, "badRequest")
        assert message.startswith("Malformed request url")
        client.token = "no such token"
        reply = await client.call("GET", "/v3/{p}/snapshots")
        assert reply.status_code == 401
        assert reply.json()["error_code"] == "APIGW.0301"

    at_work(tmp_path, work)
