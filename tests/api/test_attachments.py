"""Attaching: the disk is really there, by the attachments API and in the order of Cinder's older actions."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from openevs.domain.ids import GIB, VolumeId
from openevs.engine.memory import MemoryEngine
from openevs.engine.nbd import NbdClient, NbdError
from openevs.engine.port import ExportFacts
from openevs.operations.connect_volume import connection_info
from openevs.store.attachments import update_attachment
from openevs.testing.application import Client, Running
from tests.api import asking
from tests.api.asking import GONE, act, at_work, fault, set_volume

VERSION = "3.54"
SERVER = "5e7f0000-0000-4000-8000-000000000001"
HOST = {"host": "compute-1", "initiator": "iqn.x", "ip": "10.0.0.1"}
SUMMARY = {"id", "status", "instance", "volume_id"}
DETAIL = SUMMARY | {"attached_at", "detached_at", "attach_mode", "connection_info"}


async def did(client: Client, volume_id: str, action: str, content: Any = None, status: int = 202) -> Any:
    reply = await act(client, volume_id, action, content)
    assert reply.status_code == status, reply.text
    return reply.json() if reply.content else None


attach = partial(asking.attach, instance_uuid=SERVER, connector=HOST)


async def detach(client: Client, attachment: dict[str, Any]) -> None:
    reply = await client.call("DELETE", f"/v3/{{p}}/attachments/{attachment['id']}")
    assert (reply.status_code, reply.json()) == (200, {"attachments": []})


async def read(attachment: dict[str, Any], offset: int, length: int) -> bytes:
    async with await NbdClient.connect(attachment["connection_info"]["uri"]) as nbd:
        return await nbd.read(offset, length)


async def write(attachment: dict[str, Any], offset: int, data: bytes) -> None:
    async with await NbdClient.connect(attachment["connection_info"]["uri"]) as nbd:
        await nbd.write(offset, data, fua=True)


async def volume_of(client: Client, volume_id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await client.get(f"/v3/{{p}}/volumes/{volume_id}"))["volume"]
    return found


async def served(run: Running) -> set[str]:
    return set(await run.app.engine.list_exports())  # type: ignore[attr-defined]


def test_bytes_through_attach_snapshot_copy_revert_and_extend(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        volume = await client.volume(size=1)
        attached = await attach(client, volume["id"])
        await write(attached, 4096, b"first " * 100)
        refused = await client.call("POST", "/v3/{p}/snapshots", {"snapshot": {"volume_id": volume["id"]}})
        assert fault(refused)[:2] == (400, "badRequest")
        snapshot = await client.snapshot(volume["id"], force=True)
        await write(attached, 4096, b"second" * 100)

        copy = await client.volume(size=1, snapshot_id=snapshot["id"])
        other = await attach(client, copy["id"])
        assert await read(other, 4096, 600) == b"first " * 100
        assert await read(attached, 4096, 600) == b"second" * 100
        await write(other, 0, b"copy")
        await detach(client, other)

        await did(client, volume["id"], "os-extend", {"new_size": "2"})
        await client.until("volume", volume["id"], "in-use")
        await write(attached, 2 * GIB - 512, b"e" * 512)
        assert (await volume_of(client, volume["id"]))["size"] == 2

        later = await client.snapshot(volume["id"], force=True)
        await write(attached, 4096, b"third " * 100)
        await detach(client, attached)
        with pytest.raises((NbdError, OSError)):
            await read(attached, 0, 1)
        await did(client, volume["id"], "revert", {"snapshot_id": later["id"]})
        await client.until("volume", volume["id"], "available")
        again = await attach(client, volume["id"])
        assert await read(again, 4096, 600) == b"second" * 100
        assert await read(again, 2 * GIB - 512, 512) == b"e" * 512
        await detach(client, again)
        assert await served(run) == set()

    at_work(tmp_path, work, VERSION)


def test_an_attachment_from_reservation_to_deletion(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        volume_id = (await client.volume())["id"]
        body = {"volume_uuid": volume_id, "instance_uuid": SERVER}
        made = (await client.call("POST", "/v3/{p}/attachments", {"attachment": body})).json()["attachment"]
        assert made.keys() == DETAIL
        assert {
            "status": "reserved",
            "instance": SERVER,
            "connection_info": {},
            "attached_at": "",
        }.items() <= made.items()
        assert (await volume_of(client, volume_id))["status"] == "reserved"
        one = f"/v3/{{p}}/attachments/{made['id']}"
        early = await client.call("POST", one + "/action", {"os-complete": None})
        assert fault(early)[:2] == (400, "badRequest")

        connect = {"attachment": {"connector": {**HOST, "mountpoint": "/dev/vdb"}}}
        connected = (await client.call("PUT", one, connect)).json()["attachment"]
        assert connected["status"] == "attaching"
        info = connected["connection_info"]
        assert info["driver_volume_type"] == "nbd"
        assert info["uri"] == info["data"]["uri"]
        expected = {"access_mode": "rw", "transport": "unix", "volume_id": volume_id, "encrypted": False}
        assert expected.items() <= info["data"].items()
        assert await served(run) == {volume_id}
        assert (await volume_of(client, volume_id))["status"] == "attaching"
        assert (await volume_of(client, volume_id))["attachments"] == []
        # A repeat is answered with what there is; another wish is a conflict.
        assert (await client.call("PUT", one, connect)).json()["attachment"] == connected
        for other, word in (({"host": "b"}, "host"), ({**HOST, "transport": "tcp"}, "unix"), ({"mode": "ro"}, "mode")):
            status, name, message = fault(await client.call("PUT", one, {"attachment": {"connector": other}}))
            assert (status, name) == (409, "conflictingRequest")
            assert word in message
        assert fault(await client.call("PUT", one, {"attachment": {"connector": {}}}))[:2] == (400, "badRequest")

        for _ in "12":
            assert (await client.call("POST", one + "/action", {"os-complete": {}})).status_code == 204
        volume = await volume_of(client, volume_id)
        assert volume["status"] == "in-use"
        ((entry),) = volume["attachments"]
        expected = {"attachment_id": made["id"], "id": volume_id, "server_id": SERVER, "host_name": "compute-1"}
        assert expected.items() <= entry.items()
        assert entry["device"] == "/dev/vdb"
        assert volume["metadata"] == {"attached_mode": "rw", "readonly": "False"}

        shown = (await client.get(one))["attachment"]
        assert shown["status"] == "attached"
        assert shown["attached_at"] == entry["attached_at"]
        assert (await client.get("/v3/{p}/attachments/detail"))["attachments"] == [shown]
        for query, found in (
            ("", True),
            (f"?volume_id={volume_id}", True),
            (f"?instance_id={SERVER}", True),
            ("?status=attached", True),
            ("?status=reserved", False),
            (f"?volume_id={GONE}", False),
        ):
            rows = (await client.get(f"/v3/{{p}}/attachments{query}"))["attachments"]
            assert rows == ([{name: shown[name] for name in SUMMARY}] if found else [])

        status, name, message = fault(await client.call("DELETE", f"/v3/{{p}}/volumes/{volume_id}"))
        assert (status, name) == (400, "badRequest")
        assert "in-use" in message
        await detach(client, made)
        assert (await volume_of(client, volume_id))["status"] == "available"
        assert await served(run) == set()
        for method, body_ in (("GET", None), ("DELETE", None), ("PUT", connect)):
            assert fault(await client.call(method, one, body_))[:2] == (404, "itemNotFound")

    at_work(tmp_path, work, VERSION)


def test_what_is_refused_of_attachments(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        volume_id = (await client.volume())["id"]
        for body, field in (
            ({}, "volume_uuid"),
            ({"volume_uuid": "no-uuid"}, "volume_uuid"),
            ({"volume_uuid": volume_id, "instance_uuid": "vm"}, "instance_uuid"),
            ({"volume_uuid": volume_id, "mode": "rx"}, "mode"),
            ({"volume_uuid": volume_id, "connector": "host"}, "connector"),
            ({"volume_uuid": volume_id, "connector": {"mode": "w"}}, "connector.mode"),
            ({"volume_uuid": volume_id, "connector": {"transport": "iscsi"}}, "connector.transport"),
            ({"volume_uuid": volume_id, "connector": {"host": 1}}, "connector.host"),
            ({"volume_uuid": volume_id, "connector": {"host": "one", "more": "x" * 65_536}}, "connector"),
            ({"volume_uuid": volume_id, "colour": "red"}, "attachment"),
        ):
            status, name, message = fault(await client.call("POST", "/v3/{p}/attachments", {"attachment": body}))
            assert (status, name) == (400, "badRequest")
            assert f"Invalid input for {field}:" in message, (body, message)
        assert (await volume_of(client, volume_id))["status"] == "available"
        missing = await client.call("POST", "/v3/{p}/attachments", {"attachment": {"volume_uuid": GONE}})
        assert fault(missing)[:2] == (404, "itemNotFound")

        attached = await attach(client, volume_id)
        again = await client.call("POST", "/v3/{p}/attachments", {"attachment": {"volume_uuid": volume_id}})
        status, name, message = fault(again)
        assert (status, name) == (400, "badRequest")
        assert "its status is in-use, but must be available" in message
        # Whatever an administrator makes of the status, a second consumer is not let in.
        await set_volume(run, volume_id, "available")
        again = await client.call("POST", "/v3/{p}/attachments", {"attachment": {"volume_uuid": volume_id}})
        assert "already has an attachment" in fault(again)[2]
        assert "attached or connected" in fault(await client.call("DELETE", f"/v3/{{p}}/volumes/{volume_id}"))[2]
        await detach(client, attached)

        action = f"/v3/{{p}}/attachments/{GONE}/action"
        bodies: tuple[dict[str, Any], ...] = ({"os-open": {}}, {}, {"os-complete": {}, "more": {}})
        for body_ in bodies:
            assert fault(await client.call("POST", action, body_))[:2] == (400, "badRequest")
        assert fault(await client.call("POST", action, {"os-complete": {}}))[:2] == (404, "itemNotFound")
        client.version = "3.26"
        assert (await client.call("GET", "/v3/{p}/attachments")).status_code == 404
        client.version = "3.43"
        assert (await client.call("POST", action, {"os-complete": {}})).status_code == 404
        # Before 3.44 nobody says `os-complete`: connected is attached.
        body = {"volume_uuid": volume_id, "instance_uuid": SERVER}
        made = (await client.call("POST", "/v3/{p}/attachments", {"attachment": body})).json()["attachment"]
        one = f"/v3/{{p}}/attachments/{made['id']}"
        for _ in "12":
            connected = (await client.call("PUT", one, {"attachment": {"connector": HOST}})).json()["attachment"]
            assert connected["status"] == "attached"
        assert (await volume_of(client, volume_id))["status"] == "in-use"
        await detach(client, made)
        # Only reserved: nothing to disconnect.
        made = (await client.call("POST", "/v3/{p}/attachments", {"attachment": body})).json()["attachment"]
        await detach(client, made)
        assert (await volume_of(client, volume_id))["status"] == "available"

    at_work(tmp_path, work, VERSION)


@pytest.mark.parametrize("how", ["flag", "mode", "connector"])
def test_read_only(tmp_path: Path, how: str) -> None:
    async def work(run: Running, client: Client) -> None:
        volume_id = (await client.volume())["id"]
        if how == "flag":
            await did(client, volume_id, "os-update_readonly_flag", {"readonly": True})
            assert (await volume_of(client, volume_id))["metadata"] == {"readonly": "True"}
        ways: dict[str, dict[str, Any]] = {
            "flag": {},
            "mode": {"mode": "ro"},
            "connector": {"connector": {**HOST, "mode": "ro"}},
        }
        attached = await attach(client, volume_id, **ways[how])
        assert attached["attach_mode"] == attached["connection_info"]["access_mode"] == "ro"
        assert (await volume_of(client, volume_id))["metadata"] == {"attached_mode": "ro", "readonly": "True"}
        async with await NbdClient.connect(attached["connection_info"]["uri"]) as nbd:
            assert nbd.read_only
            with pytest.raises(NbdError):
                await nbd.write(0, b"x" * 512)
        refused = await act(client, volume_id, "os-update_readonly_flag", {"readonly": False})
        assert "its status is in-use" in fault(refused)[2]
        await detach(client, attached)

    at_work(tmp_path, work, VERSION)


def test_the_older_order(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        volume_id = (await client.volume())["id"]
        await did(client, volume_id, "os-reserve")
        assert fault(await act(client, volume_id, "os-reserve"))[0] == 400
        connector = {"connector": {**HOST, "nbd_transport": "tcp"}}
        info = (await did(client, volume_id, "os-initialize_connection", connector, 200))["connection_info"]
        assert info.keys() == {"driver_volume_type", "data"}
        assert info["data"]["transport"] == "tcp"
        assert (await did(client, volume_id, "os-initialize_connection", connector, 200))["connection_info"] == info
        assert "connected" in fault(await act(client, volume_id, "os-unreserve"))[2]
        await write({"connection_info": info["data"]}, 0, b"old" * 10)
        ro = {"mountpoint": "/dev/vdc", "instance_uuid": SERVER, "mode": "ro"}
        assert fault(await act(client, volume_id, "os-attach", ro))[2].startswith("Invalid input for mode:")
        await did(client, volume_id, "os-attach", {**ro, "mode": "rw"})
        volume = await volume_of(client, volume_id)
        assert volume["status"] == "in-use"
        assert {"server_id": SERVER, "device": "/dev/vdc"}.items() <= volume["attachments"][0].items()
        await did(client, volume_id, "os-begin_detaching")
        await did(client, volume_id, "os-roll_detaching")
        await did(client, volume_id, "os-begin_detaching", {})
        for _ in "12":
            await did(client, volume_id, "os-terminate_connection", {"connector": HOST})
            assert await served(run) == set()
            assert (await volume_of(client, volume_id))["status"] == "detaching"
        wrong = await act(client, volume_id, "os-detach", {"attachment_id": GONE})
        assert fault(wrong)[2].startswith("Invalid input for attachment_id:")
        await did(client, volume_id, "os-detach", {"attachment_id": volume["attachments"][0]["attachment_id"]})
        volume = await volume_of(client, volume_id)
        assert (volume["status"], volume["attachments"], volume["metadata"]) == ("available", [], {})

        # A server that gives up before it has attached.
        await did(client, volume_id, "os-reserve")
        await did(client, volume_id, "os-initialize_connection", connector, 200)
        await did(client, volume_id, "os-terminate_connection", connector)
        await did(client, volume_id, "os-unreserve")
        # Without a reservation, as a machine does that attaches to itself.
        await did(client, volume_id, "os-initialize_connection", {"connector": "me"}, 200)
        assert (await volume_of(client, volume_id))["status"] == "available"
        assert "connected" in fault(await act(client, volume_id, "os-update_readonly_flag", {"readonly": "true"}))[2]
        await did(client, volume_id, "os-terminate_connection", {"connector": None})
        # Statuses only.
        await did(client, volume_id, "os-attach", {"mountpoint": "/dev/vdb", "host_name": "h"})
        assert (await volume_of(client, volume_id))["status"] == "in-use"
        assert await served(run) == set()
        await did(client, volume_id, "os-detach", None)
        assert (await client.get("/v3/{p}/attachments"))["attachments"] == []
        assert (await client.call("DELETE", f"/v3/{{p}}/volumes/{volume_id}")).status_code == 202

    at_work(tmp_path, work, "3.27")


def test_detaching_a_served_volume_disconnects_it(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        volume_id = (await client.volume())["id"]
        for end in ("os-detach", "os-force_detach"):
            attached = await attach(client, volume_id)
            await write(attached, 0, b"x")
            actor = client if end == "os-detach" else await run.client("admin")
            await did(actor, volume_id, end, {})
            assert await served(run) == set()
            assert (await volume_of(client, volume_id))["status"] == "available"
        attached = await attach(client, volume_id)
        operator = await run.client("admin")
        await did(operator, volume_id, "os-reset_status", {"status": "available", "attach_status": "detached"})
        assert await served(run) == set()
        assert (await client.get("/v3/{p}/attachments"))["attachments"] == []

    at_work(tmp_path, work, VERSION)


def test_the_secret_is_for_those_who_may_write(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        volume_id = (await client.volume())["id"]
        attached = await attach(client, volume_id)
        facts = ExportFacts(
            VolumeId(volume_id),
            "nbds://openevs@h:1/x",
            "tcp",
            read_only=False,
            tls_username="openevs",
            tls_psk_hex="5ec",
        )
        secret = {"connection_info": connection_info(facts)}
        await run.app.db.write(update_attachment, attached["id"], secret)
        one = f"/v3/{{p}}/attachments/{attached['id']}"
        assert (await client.get(one))["attachment"]["connection_info"]["tls_psk"] == "5ec"
        operator = await run.client("admin")
        operator.version = "3.54"
        reader = {"user": {"name": "looker", "password": "looker-0-Password", "default_project_id": client.project_id}}
        user = (await operator.call("POST", "/identity/v3/users", reader)).json()["user"]["id"]
        roles = (await operator.get("/identity/v3/roles?name=reader"))["roles"]
        grant = f"/identity/v3/projects/{client.project_id}/users/{user}/roles/{roles[0]['id']}"
        assert (await operator.call("PUT", grant)).status_code == 204
        looker = await run.client("looker", "looker-0-Password")
        looker.version = "3.54"
        for path in (one, "/v3/{p}/attachments/detail"):
            reply = await looker.call("GET", path)
            assert reply.status_code == 200
            assert "nbds://" in reply.text
            assert "5ec" not in reply.text
        assert fault(await act(looker, volume_id, "os-terminate_connection", {"connector": {}}))[0] == 403
        assert (await looker.call("PUT", one, {"attachment": {"connector": HOST}})).status_code == 403
        await detach(client, attached)

    at_work(tmp_path, work, VERSION)


def test_an_engine_that_cannot_serve(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        volume_id = (await client.volume())["id"]
        body = {"attachment": {"volume_uuid": volume_id, "connector": HOST}}
        for reply in (
            await client.call("POST", "/v3/{p}/attachments", body),
            await act(client, volume_id, "os-initialize_connection", {"connector": HOST}),
        ):
            status, name, message = fault(reply)
            assert (status, name) == (400, "badRequest")
            assert "cannot serve" in message
        await did(client, volume_id, "os-attach", {"mountpoint": "/dev/vdb", "host_name": "h"})
        await did(client, volume_id, "os-detach", {})
        assert (await volume_of(client, volume_id))["status"] == "available"

    at_work(tmp_path, work, VERSION, MemoryEngine())
