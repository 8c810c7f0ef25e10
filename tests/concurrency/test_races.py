"""Two requests on one volume of which the second is sent while the engine still works on the first.

The engine is made to wait, so that it is the second that gets there first if the service lets it.
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from openevs.store.quotas import recount
from openevs.testing.application import running
from openevs.testing.exporting import ExportingMemoryEngine, ExportingMemoryStorage
from openevs.testing.faulty import Faults, faulty
from tests.concurrency.storms import check_all, until_quiet

VERSION = "3.44"


async def _race(folder: Path, first: str, second: str, held: str) -> tuple[int, list[str]]:
    """Send `first`, whose engine call `held` waits, then `second`; return its answer and what is wrong at the end."""
    faults = Faults()
    engine = faulty(ExportingMemoryEngine(ExportingMemoryStorage(folder)), faults)
    async with running(folder, engine) as one:
        client = await one.client()
        client.version = VERSION
        volume_id = (await client.volume())["id"]
        snapshot_id = (await client.snapshot(volume_id))["id"]
        requests: dict[str, tuple[str, str, Any]] = {
            "snapshot": ("POST", "/v3/{p}/snapshots", {"snapshot": {"volume_id": volume_id}}),
            "clone": ("POST", "/v3/{p}/volumes", {"volume": {"source_volid": volume_id}}),
            "from snapshot": ("POST", "/v3/{p}/volumes", {"volume": {"snapshot_id": snapshot_id}}),
            "extend": ("POST", f"/v3/{{p}}/volumes/{volume_id}/action", {"os-extend": {"new_size": 2}}),
            "rollback": (
                "POST",
                f"/v2/{{p}}/cloudsnapshots/{snapshot_id}/rollback",
                {"rollback": {"volume_id": volume_id}},
            ),
            "delete snapshot": ("DELETE", f"/v3/{{p}}/snapshots/{snapshot_id}", None),
            "delete volume": ("DELETE", f"/v3/{{p}}/volumes/{volume_id}?cascade=true", None),
        }
        hang = faults.hang(held)
        assert (await client.call(*requests[first])).status_code == 202
        await asyncio.wait_for(hang.reached.wait(), 30)
        reply = await client.call(*requests[second])
        await asyncio.sleep(0.05)  # time for the second to get to the engine, if it was accepted
        hang.release()
        await until_quiet(one)
        return reply.status_code, await check_all(one, client)


@pytest.mark.parametrize("second", ["extend", "rollback", "delete snapshot", "delete volume"])
@pytest.mark.parametrize(
    ("first", "held"),
    [("snapshot", "ensure_snapshot"), ("clone", "ensure_snapshot"), ("from snapshot", "ensure_volume_from_snapshot")],
)
def test_what_is_being_made_is_not_pulled_away(tmp_path: Path, first: str, held: str, second: str) -> None:
    status, wrong = asyncio.run(_race(tmp_path, first, second, held))
    assert (status in (202, 400, 409), wrong) == (True, [])


@pytest.mark.parametrize("first", ["snapshot", "clone"])
def test_no_rolling_back_under_what_is_being_taken(tmp_path: Path, first: str) -> None:
    """What is taken has the bytes from before: they were there when its request was answered."""
    status, _ = asyncio.run(_race(tmp_path, first, "rollback", "ensure_snapshot"))
    assert status == 400


def test_a_recount_of_the_quotas_leaves_growth_that_is_under_way(tmp_path: Path) -> None:
    async def recounted() -> tuple[object, list[str]]:
        faults = Faults()
        engine = faulty(ExportingMemoryEngine(ExportingMemoryStorage(tmp_path)), faults)
        async with running(tmp_path, engine) as one:
            client = await one.client()
            volume_id = (await client.volume())["id"]
            hang = faults.hang("ensure_volume_size")
            body = {"os-extend": {"new_size": 3}}
            assert (await client.call("POST", f"/v3/{{p}}/volumes/{volume_id}/action", body)).status_code == 202
            await asyncio.wait_for(hang.reached.wait(), 30)
            corrected = await one.app.db.write(recount)
            hang.release()
            await until_quiet(one)
            return corrected, await check_all(one, client)

    assert asyncio.run(recounted()) == ({}, [])
