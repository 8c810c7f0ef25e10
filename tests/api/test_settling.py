"""Showing something that is being worked on waits a moment for the work, so that most clients look once only."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from openevs.testing.application import Client, Running
from openevs.testing.exporting import ExportingMemoryEngine, ExportingMemoryStorage
from openevs.testing.faulty import Faults, faulty
from tests.api.asking import at_work, fault, ok

LONG = "60"
"""Seconds: longer than any test goes on, however busy the machine."""


def patiently(folder: Path, seconds: str, work: Callable[[Running, Client, Faults], Awaitable[None]]) -> None:
    faults = Faults()
    engine = faulty(ExportingMemoryEngine(ExportingMemoryStorage(folder)), faults)
    at_work(
        folder, lambda run, client: work(run, client, faults), "3.71", engine, server__settle_seconds=seconds
    )  # fmt: skip


def test_the_first_look_sees_what_has_become_of_it(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, faults: Faults) -> None:
        hang = faults.hang("ensure_volume")
        volume = (await ok(client, "POST", "/v3/{p}/volumes", {"volume": {"size": 1}}))["volume"]
        assert volume["status"] == "creating"
        look = asyncio.create_task(client.call("GET", f"/v3/{{p}}/volumes/{volume['id']}"))
        await asyncio.sleep(0.05)
        assert not look.done()
        hang.release()
        assert (await look).json()["volume"]["status"] == "available"

        hang = faults.hang("ensure_no_volume")
        await ok(client, "DELETE", f"/v3/{{p}}/volumes/{volume['id']}")
        look = asyncio.create_task(client.call("GET", f"/v3/{{p}}/volumes/{volume['id']}"))
        await asyncio.sleep(0.05)
        assert not look.done()
        hang.release()
        assert fault(await look)[0] == 404

    patiently(tmp_path, LONG, work)


def test_what_takes_longer_is_shown_as_it_is(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, faults: Faults) -> None:
        hang = faults.hang("ensure_volume")
        volume = (await ok(client, "POST", "/v3/{p}/volumes", {"volume": {"size": 1}}))["volume"]
        began = time.monotonic()
        shown = (await ok(client, "GET", f"/v3/{{p}}/volumes/{volume['id']}", status=200))["volume"]
        assert time.monotonic() - began >= 0.1
        assert shown["status"] == "creating"
        hang.release()

    patiently(tmp_path, "0.1", work)


def test_neither_lists_nor_other_projects_wait(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, faults: Faults) -> None:
        other = await run.person("other", "elsewhere", "member")
        hang = faults.hang("ensure_volume")
        volume = (await ok(client, "POST", "/v3/{p}/volumes", {"volume": {"size": 1}}))["volume"]
        async with asyncio.timeout(30):
            listed = (await ok(client, "GET", "/v3/{p}/volumes/detail", status=200))["volumes"]
            assert [each["status"] for each in listed] == ["creating"]
            assert fault(await other.call("GET", f"/v3/{{p}}/volumes/{volume['id']}"))[0] == 404
        hang.release()

    patiently(tmp_path, LONG, work)
