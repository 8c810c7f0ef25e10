"""A file system that is full: requests are refused with the reason, and what was accepted before is there."""

from pathlib import Path

from openevs.store.database import Tx
from openevs.testing.application import Client, Running
from tests.api.asking import at_work, fault

HUGE = 1 << 30


def allow_pages(tx: Tx, more: int) -> None:
    """Let the database have so many pages more than it has, as a file system would that is full then."""
    (pages,) = tx.driver.execute("PRAGMA page_count").fetchone()
    tx.driver.execute(f"PRAGMA max_page_count={pages + more}")


def test_without_space_nothing_is_accepted_and_nothing_lost(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        body = {"volume": {"size": 1, "metadata": {f"key {number}": "x" * 255 for number in range(100)}}}
        accepted = []
        await run.app.db.write(allow_pages, 0)
        while (reply := await client.call("POST", "/v3/{p}/volumes", body)).status_code == 202:
            accepted.append(reply.json()["volume"]["id"])
        status, name, message = fault(reply)
        assert (status, name) == (503, "serviceUnavailable")
        assert "No space is left" in message
        disk = {"volume_type": "SSD", "availability_zone": "nova", **body["volume"]}
        reply = await client.call("POST", "/v2/{p}/cloudvolumes", {"volume": disk})
        assert "No space is left" in reply.json()["error"]["message"], reply.text
        assert (await client.call("GET", "/v3/{p}/volumes")).status_code == 200
        await run.app.db.write(allow_pages, HUGE)
        accepted.append((await client.volume())["id"])
        for volume_id in accepted:
            await client.until("volume", volume_id, "available")
        assert len((await client.get("/v3/{p}/volumes"))["volumes"]) == len(accepted)

    at_work(tmp_path, work)
