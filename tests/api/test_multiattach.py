"""Volumes that several may attach: one export, several attachments, and the status that they make together."""

import asyncio
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from openevs.domain.errors import Busy
from openevs.domain.ids import ProjectId, UserId
from openevs.domain.model import Caller
from openevs.engine.nbd import NbdClient, NbdError
from openevs.service.connections import Pending, in_turn
from openevs.testing.application import Client, Running
from openevs.testing.faulty import Faults
from tests.api import asking
from tests.api.asking import act, fault, with_faults

ATTACHMENTS = "/v3/{p}/attachments"


async def attach(client: Client, volume_id: str, host: str, mode: str | None = None) -> dict[str, Any]:
    return await asking.attach(client, volume_id, {"host": host}, mode=mode)


async def end(client: Client, attachment: dict[str, Any]) -> list[str]:
    reply = await client.call("DELETE", f"{ATTACHMENTS}/{attachment['id']}")
    assert reply.status_code == 200, reply.text
    return [one["id"] for one in reply.json()["attachments"]]


async def status(client: Client, volume_id: str) -> str:
    return str((await client.get(f"/v3/{{p}}/volumes/{volume_id}"))["volume"]["status"])


async def read(attachment: dict[str, Any]) -> bytes:
    async with await NbdClient.connect(attachment["connection_info"]["uri"]) as nbd:
        return await nbd.read(0, 512)


async def write(attachment: dict[str, Any], data: bytes) -> None:
    async with await NbdClient.connect(attachment["connection_info"]["uri"]) as nbd:
        await nbd.write(0, data.ljust(512), fua=True)


def test_two_attach_one_volume_and_see_each_others_bytes(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, faults: Faults) -> None:
        volume = await client.volume(multiattach=True)
        assert volume["multiattach"] is True
        first = await attach(client, volume["id"], "one")
        second = await attach(client, volume["id"], "two")
        assert first["connection_info"]["uri"] == second["connection_info"]["uri"]
        await write(first, b"shared")
        assert (await read(second)).startswith(b"shared")
        shown = (await client.get(f"/v3/{{p}}/volumes/{volume['id']}"))["volume"]
        assert shown["status"] == "in-use"
        assert {one["host_name"] for one in shown["attachments"]} == {"one", "two"}

        assert await end(client, first) == [second["id"]]
        assert await status(client, volume["id"]) == "in-use"
        assert (await read(second)).startswith(b"shared")
        assert await end(client, second) == []
        assert await status(client, volume["id"]) == "available"
        with pytest.raises((NbdError, OSError)):
            await read(second)

    with_faults(tmp_path, work)


def test_one_that_is_not_shared_is_attached_once(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, faults: Faults) -> None:
        volume = await client.volume()
        first = await attach(client, volume["id"], "one")
        body = {"attachment": {"volume_uuid": volume["id"], "connector": {"host": "two"}}}
        assert fault(await client.call("POST", ATTACHMENTS, body))[:2] == (400, "badRequest")
        await end(client, first)

    with_faults(tmp_path, work)


def test_who_asks_to_read_only_is_told_so(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, faults: Faults) -> None:
        volume = await client.volume(multiattach=True)
        reader = await attach(client, volume["id"], "one", "ro")
        writer = await attach(client, volume["id"], "two")
        modes = [one["connection_info"]["access_mode"] for one in (reader, writer)]
        assert modes == ["ro", "rw"]
        await write(writer, b"written")
        assert (await read(reader)).startswith(b"written")
        for attachment in (writer, reader):
            await end(client, attachment)
        # A volume that is read-only itself can be written to by nobody.
        assert (await act(client, volume["id"], "os-update_readonly_flag", {"readonly": True})).status_code == 202
        only = await attach(client, volume["id"], "three")
        assert only["connection_info"]["access_mode"] == "ro"
        with pytest.raises(NbdError):
            await write(only, b"no")
        await end(client, only)

    with_faults(tmp_path, work)


def test_reserving_more_and_the_status_that_is_left(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, faults: Faults) -> None:
        volume_id = (await client.volume(multiattach=True))["id"]
        first = await attach(client, volume_id, "one")
        body = {"attachment": {"volume_uuid": volume_id}}
        reserved = (await client.call("POST", ATTACHMENTS, body)).json()["attachment"]
        assert await status(client, volume_id) == "reserved"
        assert fault(await client.call("POST", ATTACHMENTS, body))[:2] == (400, "badRequest")
        assert await end(client, reserved) == [first["id"]]
        assert await status(client, volume_id) == "in-use"

        reserved = (await client.call("POST", ATTACHMENTS, body)).json()["attachment"]
        assert await end(client, first) == [reserved["id"]]
        assert await status(client, volume_id) == "reserved"
        one = f"{ATTACHMENTS}/{reserved['id']}"
        put = await client.call("PUT", one, {"attachment": {"connector": {"host": "two"}}})
        assert put.status_code == 200, put.text
        assert await status(client, volume_id) == "attaching"
        assert await end(client, reserved) == []
        assert await status(client, volume_id) == "available"

    with_faults(tmp_path, work)


def test_a_second_that_cannot_be_connected_leaves_the_first(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, faults: Faults) -> None:
        volume_id = (await client.volume(multiattach=True))["id"]
        first = await attach(client, volume_id, "one")
        body = {"attachment": {"volume_uuid": volume_id, "connector": {"host": "two", "transport": "tcp"}}}
        assert fault(await client.call("POST", ATTACHMENTS, body))[:2] == (409, "conflictingRequest")
        assert await status(client, volume_id) == "in-use"
        assert len((await client.get(ATTACHMENTS))["attachments"]) == 1
        await write(first, b"still here")
        await end(client, first)

    with_faults(tmp_path, work)


def test_many_at_once_take_turns(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, faults: Faults) -> None:
        volume_id = (await client.volume(multiattach=True))["id"]
        attached = [await attach(client, volume_id, f"host-{number}") for number in range(5)]
        left = await asyncio.gather(*(end(client, attachment) for attachment in attached))
        assert [] in left
        assert await status(client, volume_id) == "available"
        assert set(await run.app.engine.list_exports()) == set()  # type: ignore[attr-defined]

    with_faults(tmp_path, work)


def test_what_is_in_the_way_may_end_before_it_is_looked_for(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, faults: Faults) -> None:
        volume_id = (await client.volume())["id"]
        caller = Caller(UserId("u"), ProjectId(client.project_id), frozenset({"member"}), "req-1")
        done = Pending(None, None)
        # An operation has the volume when the transaction runs, and none when its holder is looked for.
        accept = Mock(__name__="accept", side_effect=[Busy("Under way."), (done, None)])
        assert await in_turn(run.app.deps, caller, volume_id, None, accept) == done

    with_faults(tmp_path, work)


def test_the_older_actions(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, faults: Faults) -> None:
        volume_id = (await client.volume(multiattach=True))["id"]
        uris = []
        for host in ("one", "two"):
            assert (await act(client, volume_id, "os-reserve")).status_code == 202
            connector = {"connector": {"host": host}}
            for _ in range(2):  # a repeat finds the same
                made = await act(client, volume_id, "os-initialize_connection", connector)
                uris.append(made.json()["connection_info"]["data"]["uri"])
            mounted = {"mountpoint": "/dev/vdb", "host_name": host}
            assert (await act(client, volume_id, "os-attach", mounted)).status_code == 202
            assert await status(client, volume_id) == "in-use"
        assert len(set(uris)) == 1
        shown = (await client.get(f"/v3/{{p}}/volumes/{volume_id}"))["volume"]["attachments"]
        ids = {one["host_name"]: one["attachment_id"] for one in shown}
        assert ids.keys() == {"one", "two"}
        assert (await act(client, volume_id, "os-reserve")).status_code == 202
        assert (await act(client, volume_id, "os-unreserve")).status_code == 202
        assert await status(client, volume_id) == "in-use"

        assert fault(await act(client, volume_id, "os-detach", {}))[:2] == (400, "badRequest")
        assert fault(await act(client, volume_id, "os-terminate_connection", {"connector": None}))[:2] == (
            400,
            "badRequest",
        )
        assert (await act(client, volume_id, "os-begin_detaching")).status_code == 202
        ended = await act(client, volume_id, "os-terminate_connection", {"connector": {"host": "one"}})
        assert ended.status_code == 202, ended.text
        assert (await act(client, volume_id, "os-detach", {"attachment_id": ids["one"]})).status_code == 202
        assert await status(client, volume_id) == "in-use"
        assert volume_id in await run.app.engine.list_exports()  # type: ignore[attr-defined]
        admin = await run.client("admin", project=run.made.demo_project)
        forced = await act(admin, volume_id, "os-force_detach", {"attachment_id": ids["two"]})
        assert forced.status_code == 202, forced.text
        assert await status(client, volume_id) == "available"
        assert volume_id not in await run.app.engine.list_exports()  # type: ignore[attr-defined]

    with_faults(tmp_path, work)


def test_a_host_that_is_no_text_is_refused(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, faults: Faults) -> None:
        volume_id = (await client.volume(multiattach=True))["id"]
        attached = [await attach(client, volume_id, host) for host in ("one", "two")]
        for host in ({"a": "b"}, ["a"], 1):
            reply = await act(client, volume_id, "os-terminate_connection", {"connector": {"host": host}})
            assert fault(reply)[:2] == (400, "badRequest")
            assert "connector.host" in reply.text
        assert await status(client, volume_id) == "in-use"
        for each in attached:
            await end(client, each)

    with_faults(tmp_path, work)


def test_an_operator_ends_them_all(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, faults: Faults) -> None:
        volume_id = (await client.volume(multiattach=True))["id"]
        for host in ("one", "two", "three"):
            await attach(client, volume_id, host)
        assert fault(await client.call("DELETE", f"/v3/{{p}}/volumes/{volume_id}"))[:2] == (400, "badRequest")
        admin = await run.client("admin", project=run.made.demo_project)
        assert (await act(admin, volume_id, "os-reset_status", {"attach_status": "detached"})).status_code == 202
        assert (await client.get(ATTACHMENTS))["attachments"] == []
        assert await status(client, volume_id) == "available"

    with_faults(tmp_path, work)
