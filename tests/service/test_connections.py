"""Connections under what goes wrong: a process that dies at any moment, an engine that fails, requests at the same
time. Whatever happens: what is served is what an attachment says is connected, and there is a way out."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from openevs.compose import utc_now
from openevs.domain.ids import VolumeId
from openevs.domain.lifecycle import TRANSITIONAL_VOLUME_STATUSES
from openevs.engine.errors import Broken, Transient
from openevs.engine.port import ExportSpec
from openevs.store.attachments import attachments_of_one
from openevs.store.operations import find_operation, list_operations, retry_operation
from openevs.testing.application import Client, Running, running
from openevs.testing.exporting import ExportingMemoryEngine, ExportingMemoryStorage
from openevs.testing.faulty import Faults, faulty
from tests.api.asking import act, status_of

HOST = {"host": "compute-1"}
ATTACH = {"mountpoint": "/dev/vdb", "host_name": "compute-1"}
IMPATIENT = {("server", "wait_seconds"): "0.15"}


class Bench:
    """One data folder and one storage, over which applications come and go."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.storage = ExportingMemoryStorage(folder)
        self.known: Client | None = None
        """Its token outlives the application that gave it; the password is shown only once."""

    @asynccontextmanager
    async def up(self, faults: Faults | None = None, **more: Any) -> AsyncIterator[tuple[Running, Client]]:
        engine = faulty(ExportingMemoryEngine(self.storage), faults or Faults())
        async with running(self.folder, engine, **more) as run:
            if self.known is None:
                self.known = await run.client()
            yield run, replace(self.known, http=run.http, version="3.54")

    def run(self, work: Callable[[], Awaitable[None]]) -> None:
        async def main() -> None:
            try:
                await work()
            finally:
                await self.storage.stop_serving()

        asyncio.run(main())


async def post_attachment(client: Client, volume_id: str, **fields: Any) -> Any:
    return await client.call("POST", "/v3/{p}/attachments", {"attachment": {"volume_uuid": volume_id, **fields}})


async def the_attachment(client: Client, volume_id: str) -> dict[str, Any] | None:
    rows = (await client.get(f"/v3/{{p}}/attachments/detail?volume_id={volume_id}"))["attachments"]
    assert len(rows) <= 1
    return rows[0] if rows else None


async def at_rest(run: Running) -> None:
    """Wait until no operation is open."""
    async with asyncio.timeout(20):
        for operation in await run.app.db.read(list_operations, only_open=True, limit=100):
            await run.app.runner.finished(operation.id, 20)


async def check_sound(run: Running, bench: Bench, client: Client, volume_id: str) -> None:
    """At rest, a volume is served if and only if its attachment has a connection, and its status is one to stay in."""
    rows = await run.app.db.read(attachments_of_one, volume_id)
    assert (volume_id in bench.storage.exports) == any(row.connection_info for row in rows)
    assert len(rows) <= 1
    assert all(row.status != "detaching" for row in rows)
    assert await status_of(client, volume_id) not in TRANSITIONAL_VOLUME_STATUSES


async def leave(client: Client, volume_id: str) -> None:
    """Take the ways out that a client has, until the volume is gone."""
    attachment = await the_attachment(client, volume_id)
    if attachment is not None:
        ended = await client.call("DELETE", f"/v3/{{p}}/attachments/{attachment['id']}")
        assert ended.status_code == 200, ended.text
    for _ in "12":
        way_out = {"attaching": "os-unreserve", "detaching": "os-detach", "in-use": "os-detach"}
        action = way_out.get(await status_of(client, volume_id))
        if action is not None:
            assert (await act(client, volume_id, action, {})).status_code == 202
    reply = await client.call("DELETE", f"/v3/{{p}}/volumes/{volume_id}?cascade=true")
    assert reply.status_code == 202, reply.text
    await client.until("volume", volume_id, "gone")


# Dying ----------------------------------------------------------------------------------------------------------

Begin = Callable[[Client, str], Coroutine[Any, Any, Any]]


async def reserved(client: Client, volume_id: str) -> None:
    assert (await post_attachment(client, volume_id)).status_code == 200


async def put_connector(client: Client, volume_id: str) -> Any:
    attachment = await the_attachment(client, volume_id)
    assert attachment is not None
    body = {"attachment": {"connector": HOST}}
    return await client.call("PUT", f"/v3/{{p}}/attachments/{attachment['id']}", body)


async def initialize(client: Client, volume_id: str) -> Any:
    return await act(client, volume_id, "os-initialize_connection", {"connector": HOST})


async def nothing(client: Client, volume_id: str) -> None:
    pass


async def reserve(client: Client, volume_id: str) -> None:
    assert (await act(client, volume_id, "os-reserve")).status_code == 202


async def attach_only(client: Client, volume_id: str) -> None:
    assert (await act(client, volume_id, "os-attach", ATTACH)).status_code == 202


async def connected(client: Client, volume_id: str) -> None:
    assert (await post_attachment(client, volume_id, connector=HOST)).status_code == 200


async def attached(client: Client, volume_id: str) -> None:
    await connected(client, volume_id)
    attachment = await the_attachment(client, volume_id)
    assert attachment is not None
    done = await client.call("POST", f"/v3/{{p}}/attachments/{attachment['id']}/action", {"os-complete": None})
    assert done.status_code == 204


async def delete_attachment(client: Client, volume_id: str) -> Any:
    attachment = await the_attachment(client, volume_id)
    # A repeat finds it gone, which is what was asked for.
    path = f"/v3/{{p}}/attachments/{attachment['id']}" if attachment else "/v3/{p}/attachments"
    return await client.call("DELETE" if attachment else "GET", path)


async def detach(client: Client, volume_id: str) -> Any:
    if await status_of(client, volume_id) == "available":
        return await client.call("GET", "/v3/{p}/attachments")
    return await act(client, volume_id, "os-detach", {})


async def terminate(client: Client, volume_id: str) -> Any:
    return await act(client, volume_id, "os-terminate_connection", {"connector": HOST})


async def post_connected(client: Client, volume_id: str) -> Any:
    return await post_attachment(client, volume_id, connector=HOST)


# name → before, the request, method of the engine; then status of the volume, status of the attachment, served
DEATHS: dict[str, tuple[Begin, Begin, str, str, str | None, bool]] = {
    "POST attachment": (nothing, post_connected, "ensure_export", "attaching", "attaching", True),
    "PUT attachment": (reserved, put_connector, "ensure_export", "attaching", "attaching", True),
    "initialize available": (nothing, initialize, "ensure_export", "available", "attaching", True),
    "initialize attaching": (reserve, initialize, "ensure_export", "attaching", "attaching", True),
    "initialize in-use": (attach_only, initialize, "ensure_export", "in-use", "attached", True),
    "DELETE attaching": (connected, delete_attachment, "ensure_no_export", "available", None, False),
    "DELETE attached": (attached, delete_attachment, "ensure_no_export", "available", None, False),
    "detach": (attached, detach, "ensure_no_export", "available", None, False),
    "terminate attached": (attached, terminate, "ensure_no_export", "in-use", "attached", False),
    "terminate attaching": (connected, terminate, "ensure_no_export", "attaching", None, False),
}
Moment = Literal["queued", "before", "after"]


@pytest.mark.parametrize("moment", ["queued", "before", "after"])
def test_a_process_that_dies_while_it_connects_or_disconnects(tmp_path: Path, moment: Moment) -> None:
    """All at once, each on a volume of its own: the process dies with the work queued, before the engine's call has
    had its effect, or after it. The next process finishes it."""
    bench = Bench(tmp_path)
    faults = Faults()

    async def work() -> None:
        made: dict[str, str] = {}
        async with bench.up() as (_, client):
            for name, (before, *_rest) in DEATHS.items():
                made[name] = (await client.volume())["id"]
                await before(client, made[name])
        async with bench.up(faults, overrides=IMPATIENT) as (run, client):
            if moment == "queued":
                await run.app.runner.stop(0)
            else:
                for method in ("ensure_export", "ensure_no_export"):
                    for nth in range(1, len(DEATHS) + 1):
                        faults.hang(method, nth=nth, when=moment)
            requests = [request(client, made[name]) for name, (_, request, *_more) in DEATHS.items()]
            for name, reply in zip(DEATHS, await asyncio.gather(*requests), strict=True):
                assert reply.status_code == 503, (name, reply.text)
                assert "it goes on" in reply.json()["serviceUnavailable"]["message"]
            await run.app.runner.stop(0)  # what is under way is dropped, wherever it is
        async with bench.up() as (run, client):
            await at_rest(run)
            for name, (_, request, _, status, row, is_served) in DEATHS.items():
                volume_id = made[name]
                await check_sound(run, bench, client, volume_id)
                attachment = await the_attachment(client, volume_id)
                found = (await status_of(client, volume_id), attachment and attachment["status"])
                assert found == (status, row), name
                assert (volume_id in bench.storage.exports) == is_served, name
                if request is not post_connected:
                    assert (await request(client, volume_id)).status_code in (200, 202), name
                    assert (volume_id in bench.storage.exports) == is_served, name
                await leave(client, volume_id)
            assert not bench.storage.exports

    bench.run(work)


def test_a_repeat_waits_for_the_work_that_is_under_way(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    faults = Faults()

    async def work() -> None:
        async with bench.up(faults) as (_, client):
            volume_id = (await client.volume())["id"]
            await reserved(client, volume_id)
            for request, method in ((put_connector, "ensure_export"), (delete_attachment, "ensure_no_export")):
                hang = faults.hang(method)
                first = asyncio.create_task(request(client, volume_id))
                await hang.reached.wait()
                second = asyncio.create_task(request(client, volume_id))
                extended = await act(client, volume_id, "os-extend", {"new_size": 2})
                assert extended.status_code == 400
                await asyncio.sleep(0.05)
                assert not second.done()
                hang.release()
                one, two = await asyncio.gather(first, second)
                assert (one.status_code, one.json()) == (two.status_code, two.json()) == (200, one.json())
                assert len(faults.called(method)) == 1

    bench.run(work)


def test_an_attachment_that_takes_too_long_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path)
    faults = Faults()

    async def work() -> None:
        async with bench.up(faults, overrides={("operations", "retry_seconds"): "60"}) as (run, client):
            volume_id = (await client.volume())["id"]
            faults.fail("ensure_export", Transient("the daemon hangs"))
            asked: list[str] = []

            async def given_up(operation_id: str, timeout_seconds: float) -> None:
                """The time is over when the work has been put off."""
                asked.append(operation_id)
                while (await run.app.db.read(find_operation, operation_id)).error is None:  # noqa: ASYNC110 - rows ring no bell
                    await asyncio.sleep(0.002)

            with monkeypatch.context() as patch:
                patch.setattr(run.app.runner, "finished", given_up)
                reply = await initialize(client, volume_id)
            assert reply.status_code == 503
            message = reply.json()["serviceUnavailable"]["message"]
            assert "has not finished yet (the daemon hangs); it goes on" in message
            await run.app.db.write(retry_operation, asked[0], utc_now())
            run.app.runner._wake.set()
            await at_rest(run)
            await leave(client, volume_id)

    bench.run(work)


def test_another_request_meanwhile_is_a_conflict(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    faults = Faults()

    async def work() -> None:
        async with bench.up(faults) as (_, client):
            volume_id = (await client.volume())["id"]
            hang = faults.hang("ensure_export")
            first = asyncio.create_task(initialize(client, volume_id))
            await hang.reached.wait()
            for request in (delete_attachment, terminate):
                reply = await request(client, volume_id)
                assert reply.status_code == 409
                assert "under way" in reply.json()["conflictingRequest"]["message"]
            for action in ("os-attach", "os-extend"):
                content = ATTACH if action == "os-attach" else {"new_size": 2}
                assert (await act(client, volume_id, action, content)).status_code == 409
            assert (await client.call("DELETE", f"/v3/{{p}}/volumes/{volume_id}")).status_code == 400
            assert await status_of(client, volume_id) == "available"
            hang.release()
            assert (await first).status_code == 200
            await leave(client, volume_id)

    bench.run(work)


def test_rolling_a_detaching_back_does_not_stop_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    faults = Faults()

    async def work() -> None:
        async with bench.up(faults) as (run, client):
            volume_id = (await client.volume())["id"]
            await attached(client, volume_id)
            hang = faults.hang("ensure_no_export")
            first = asyncio.create_task(detach(client, volume_id))
            await hang.reached.wait()
            shown = (await client.get(f"/v3/{{p}}/volumes/{volume_id}"))["volume"]
            assert (shown["status"], len(shown["attachments"])) == ("detaching", 1)
            assert (await act(client, volume_id, "os-roll_detaching")).status_code == 202
            hang.release()
            assert (await first).status_code == 202
            assert await status_of(client, volume_id) == "available"
            await check_sound(run, bench, client, volume_id)

    bench.run(work)


# Failing --------------------------------------------------------------------------------------------------------


def test_a_connection_that_fails_leaves_things_as_they_were(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    faults = Faults()

    async def work() -> None:
        async with bench.up(faults) as (run, client):
            for name, (before, request, method, *_) in DEATHS.items():
                if method != "ensure_export":
                    continue
                volume_id = (await client.volume())["id"]
                await before(client, volume_id)
                was = (await status_of(client, volume_id), await the_attachment(client, volume_id))
                faults.fail("ensure_export", Broken("layer 7 is torn"))
                reply = await request(client, volume_id)
                assert reply.status_code == 503
                assert "layer 7 is torn" in reply.json()["serviceUnavailable"]["message"]
                now = (await status_of(client, volume_id), await the_attachment(client, volume_id))
                assert now == was, name
                await check_sound(run, bench, client, volume_id)
                faults.fail("ensure_export", Transient("later"), when="after")
                assert (await request(client, volume_id)).status_code == 200
                await leave(client, volume_id)

    bench.run(work)


def test_a_disconnection_that_fails_can_be_asked_for_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    faults = Faults()

    async def work() -> None:
        async with bench.up(faults) as (_, client):
            volume_id = (await client.volume())["id"]
            await attached(client, volume_id)
            faults.fail("ensure_no_export", Broken("no way"))
            assert (await terminate(client, volume_id)).status_code == 503
            assert await status_of(client, volume_id) == "in-use"
            for request in (delete_attachment, detach):
                faults.fail("ensure_no_export", Broken("no way"))
                assert (await request(client, volume_id)).status_code == 503
                shown = (await client.get(f"/v3/{{p}}/volumes/{volume_id}"))["volume"]
                assert (shown["status"], shown["openevs:reason"]) == ("error_detaching", "no way")
                assert len(shown["attachments"]) == 1
            assert (await client.call("DELETE", f"/v3/{{p}}/volumes/{volume_id}")).status_code == 400
            faults.fail("ensure_no_export", Transient("later"))
            assert (await detach(client, volume_id)).status_code == 202
            shown = (await client.get(f"/v3/{{p}}/volumes/{volume_id}"))["volume"]
            assert (shown["status"], "openevs:reason" in shown) == ("available", False)

    bench.run(work)


def test_what_a_failed_connection_left_served_is_in_nobodys_way(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    async def work() -> None:
        async with bench.up() as (_, client):
            engine = ExportingMemoryEngine(bench.storage)
            await engine.open()
            volumes = [(await client.volume())["id"] for _ in range(3)]
            snapshot = await client.snapshot(volumes[2])
            for volume_id in volumes:
                await engine.ensure_export(ExportSpec(VolumeId(volume_id), "tcp", read_only=True))
            info = (await initialize(client, volumes[0])).json()["connection_info"]["data"]
            assert (info["transport"], info["access_mode"]) == ("unix", "rw")
            await leave(client, volumes[0])
            await leave(client, volumes[1])
            client.version = "3.54"
            assert (await act(client, volumes[2], "revert", {"snapshot_id": snapshot["id"]})).status_code == 202
            await client.until("volume", volumes[2], "available")
            assert not bench.storage.exports

    bench.run(work)


def test_a_status_set_by_hand_while_work_goes_on(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    faults = Faults()

    async def work() -> None:
        async with bench.up(faults) as (run, client):
            operator = await run.client("admin")
            for name, (before, request, method, *_) in DEATHS.items():
                volume_id = (await client.volume())["id"]
                await before(client, volume_id)
                hang = faults.hang(method)
                task = asyncio.create_task(request(client, volume_id))
                await hang.reached.wait()
                assert (await act(operator, volume_id, "os-reset_status", {"status": "error"})).status_code == 202
                hang.release()
                await task
                await at_rest(run)
                await check_sound(run, bench, client, volume_id)
                assert await status_of(client, volume_id) == "error", name
                await leave(client, volume_id)

    bench.run(work)


# At the same time -----------------------------------------------------------------------------------------------


async def snapshot(client: Client, volume_id: str) -> Any:
    body = {"snapshot": {"volume_id": volume_id, "force": True}}
    return await client.call("POST", "/v3/{p}/snapshots", body)


async def extend(client: Client, volume_id: str) -> Any:
    return await act(client, volume_id, "os-extend", {"new_size": 2})


async def delete(client: Client, volume_id: str) -> Any:
    return await client.call("DELETE", f"/v3/{{p}}/volumes/{volume_id}?cascade=true")


async def copy(client: Client, volume_id: str) -> Any:
    return await client.call("POST", "/v3/{p}/volumes", {"volume": {"source_volid": volume_id, "size": None}})


async def revert(client: Client, volume_id: str) -> Any:
    rows = (await client.get(f"/v3/{{p}}/snapshots?volume_id={volume_id}&limit=1"))["snapshots"]
    return await act(client, volume_id, "revert", {"snapshot_id": rows[0]["id"] if rows else volume_id})


async def attach_(client: Client, volume_id: str) -> Any:
    return await act(client, volume_id, "os-attach", ATTACH)


async def reserve_(client: Client, volume_id: str) -> Any:
    return await act(client, volume_id, "os-reserve")


async def unreserve(client: Client, volume_id: str) -> Any:
    return await act(client, volume_id, "os-unreserve")


REQUESTS = [
    *(post_connected, initialize, terminate, delete_attachment, attach_, reserve_, unreserve) * 2,
    *(snapshot, extend, delete, copy, revert),
]


def test_requests_at_the_same_time_leave_nothing_stuck(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    async def work() -> None:
        async with bench.up() as (run, client):
            for seed in range(12):
                chosen = random.Random(seed).sample(REQUESTS, 9)
                volume_id = (await client.volume())["id"]
                replies = await asyncio.gather(*(request(client, volume_id) for request in chosen))
                assert {reply.status_code for reply in replies} <= {200, 202, 400, 404, 409}, seed
                await at_rest(run)
                gone = await client.call("GET", f"/v3/{{p}}/volumes/{volume_id}")
                if gone.status_code == 200:
                    await check_sound(run, bench, client, volume_id)
                    await leave(client, volume_id)
            assert not bench.storage.exports
            rest = (await client.get("/v3/{p}/volumes/detail"))["volumes"]
            assert {volume["status"] for volume in rest} <= {"available"}

    bench.run(work)
