"""Transfers: a volume changes its project, with its snapshots and what both count against."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from openevs.domain.ids import SnapshotId, VolumeId
from openevs.store import tables
from openevs.store.quotas import wrong_usage
from openevs.testing.application import Client, Running
from tests.api import asking
from tests.api.asking import fault

NEW, OLD = "/v3/{p}/volume-transfers", "/v3/{p}/os-volume-transfer"
Work = Callable[[Running, Client, Client], Awaitable[None]]


def at_work(folder: Path, work: Work, version: str = "3.71") -> None:
    """Run `work` as two users, each with a project."""

    async def both(run: Running, giver: Client) -> None:
        taker = await run.person("taker", "other", "member")
        taker.version = version
        await work(run, giver, taker)
        assert await run.app.db.read(wrong_usage) == {}

    asking.at_work(folder, both, version)


async def offer(client: Client, volume_id: str, path: str = NEW, **fields: Any) -> dict[str, Any]:
    reply = await client.call("POST", path, {"transfer": {"volume_id": volume_id, **fields}})
    assert reply.status_code == 202, reply.text
    made: dict[str, Any] = reply.json()["transfer"]
    return made


async def accept(client: Client, transfer: dict[str, Any], path: str = NEW, key: str | None = None) -> Any:
    body = {"accept": {"auth_key": key or transfer["auth_key"]}}
    return await client.call("POST", f"{path}/{transfer['id']}/accept", body)


async def used(client: Client) -> dict[str, int]:
    shown = await client.get(f"/v3/{{p}}/os-quota-sets/{client.project_id}?usage=true")
    return {name: shown["quota_set"][name]["in_use"] for name in ("volumes", "snapshots", "gigabytes")}


async def labelled(run: Running, project_id: str, volume_id: str, snapshot_id: str) -> None:
    """Wait until storage says whose they are, from which a lost database is made anew."""
    async with asyncio.timeout(10):
        while True:
            objects = await run.app.engine.list_objects()
            found = [objects.volumes[VolumeId(volume_id)].labels, objects.snapshots[SnapshotId(snapshot_id)].labels]
            if all(labels["project_id"] == project_id for labels in found):
                return
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("path", [NEW, OLD])
def test_a_volume_and_its_snapshots_change_hands(tmp_path: Path, path: str) -> None:
    async def work(run: Running, giver: Client, taker: Client) -> None:
        volume = await giver.volume(2)
        snapshot = await giver.snapshot(volume["id"])
        transfer = await offer(giver, volume["id"], path, name=" present ")
        assert transfer["name"] == "present"
        assert (transfer["no_snapshots"], transfer["accepted"]) == (False, False)
        assert transfer["source_project_id"] == giver.project_id
        await giver.until("volume", volume["id"], "awaiting-transfer")
        shown = (await giver.get(f"{path}/{transfer['id']}"))["transfer"]
        assert shown == {name: value for name, value in transfer.items() if name != "auth_key"}
        assert (await giver.get(f"{path}/detail"))["transfers"] == [shown]
        (short,) = (await giver.get(path))["transfers"]
        assert short.keys() == {"id", "volume_id", "name", "links"}

        assert (await taker.get(path))["transfers"] == []
        assert fault(await taker.call("GET", f"{path}/{transfer['id']}"))[:2] == (404, "itemNotFound")
        assert fault(await taker.call("DELETE", f"{path}/{transfer['id']}"))[:2] == (404, "itemNotFound")
        assert fault(await accept(taker, transfer, path, key="0" * 32))[:2] == (400, "badRequest")
        assert await used(giver) == {"volumes": 1, "snapshots": 1, "gigabytes": 4}

        accepted = await accept(taker, transfer, path)
        assert accepted.status_code == 202
        assert accepted.json()["transfer"] == short | {"links": accepted.json()["transfer"]["links"]}
        moved = await taker.until("volume", volume["id"], "available")
        assert moved["os-vol-tenant-attr:tenant_id"] == taker.project_id
        assert moved["user_id"] != volume["user_id"]
        assert (await taker.until("snapshot", snapshot["id"], "available"))["volume_id"] == volume["id"]
        assert fault(await giver.call("GET", f"/v3/{{p}}/volumes/{volume['id']}"))[:2] == (404, "itemNotFound")
        assert fault(await giver.call("GET", f"/v3/{{p}}/snapshots/{snapshot['id']}"))[:2] == (404, "itemNotFound")
        assert fault(await giver.call("GET", f"{path}/{transfer['id']}"))[:2] == (404, "itemNotFound")
        assert await used(giver) == {"volumes": 0, "snapshots": 0, "gigabytes": 0}
        assert await used(taker) == {"volumes": 1, "snapshots": 1, "gigabytes": 4}
        await labelled(run, taker.project_id, volume["id"], snapshot["id"])
        assert fault(await accept(taker, transfer, path))[:2] == (404, "itemNotFound")
        assert (await taker.call("DELETE", f"/v3/{{p}}/volumes/{volume['id']}?cascade=true")).status_code == 202
        await taker.until("volume", volume["id"], "gone")

    at_work(tmp_path, work)


def test_an_offer_is_taken_back(tmp_path: Path) -> None:
    async def work(run: Running, giver: Client, taker: Client) -> None:
        volume = await giver.volume()
        transfer = await offer(giver, volume["id"])
        assert (await giver.call("DELETE", f"{NEW}/{transfer['id']}")).status_code == 202
        await giver.until("volume", volume["id"], "available")
        assert fault(await accept(taker, transfer))[:2] == (404, "itemNotFound")

    at_work(tmp_path, work)


def test_without_snapshots(tmp_path: Path) -> None:
    async def work(run: Running, giver: Client, taker: Client) -> None:
        volume = await giver.volume()
        snapshot = await giver.snapshot(volume["id"])
        transfer = await offer(giver, volume["id"], no_snapshots=True)
        assert transfer["no_snapshots"] is True
        assert (await accept(taker, transfer)).status_code == 202
        await giver.until("snapshot", snapshot["id"], "available")
        assert fault(await taker.call("GET", f"/v3/{{p}}/snapshots/{snapshot['id']}"))[:2] == (404, "itemNotFound")
        assert await used(giver) == {"volumes": 0, "snapshots": 1, "gigabytes": 1}
        assert await used(taker) == {"volumes": 1, "snapshots": 0, "gigabytes": 1}
        # Neither does the giver get at the volume by its snapshot, nor the taker at the snapshot by the volume.
        back = {"rollback": {"volume_id": volume["id"]}}
        refused = await giver.call("POST", f"/v2/{{p}}/cloudsnapshots/{snapshot['id']}/rollback", back)
        assert refused.status_code == 404, refused.text
        refused = await taker.call("DELETE", f"/v3/{{p}}/volumes/{volume['id']}?cascade=true")
        assert fault(refused)[:2] == (400, "badRequest")
        await giver.until("snapshot", snapshot["id"], "available")
        assert (await giver.call("DELETE", f"/v3/{{p}}/snapshots/{snapshot['id']}")).status_code == 202
        await giver.until("snapshot", snapshot["id"], "gone")
        assert (await taker.call("DELETE", f"/v3/{{p}}/volumes/{volume['id']}")).status_code == 202

    at_work(tmp_path, work)


def test_fields_by_microversion(tmp_path: Path) -> None:
    async def work(run: Running, giver: Client, taker: Client) -> None:
        base = {"id", "created_at", "name", "volume_id", "links", "auth_key"}
        history = {"source_project_id", "destination_project_id", "accepted"}
        for version, more in (("3.0", set()), ("3.55", {"no_snapshots"}), ("3.57", {"no_snapshots", *history})):
            giver.version = version
            made = await offer(giver, (await giver.volume())["id"])
            assert made.keys() == base | more
        giver.version = "3.54"
        body = {"transfer": {"volume_id": (await giver.volume())["id"], "no_snapshots": True}}
        assert fault(await giver.call("POST", NEW, body))[:2] == (400, "badRequest")
        giver.version = "3.71"
        assert fault(await giver.call("POST", OLD, body))[:2] == (400, "badRequest")
        newest = [one["created_at"] for one in (await giver.get(f"{NEW}/detail"))["transfers"]]
        assert newest == sorted(newest, reverse=True)
        page = await giver.get(f"{NEW}?limit=2&sort=created_at:asc")
        assert len(page["transfers"]) == 2
        assert page["transfers_links"][0]["rel"] == "next"
        giver.version = "3.56"
        oldest = [one["created_at"] for one in (await giver.get(f"{NEW}/detail"))["transfers"]]
        assert oldest == newest[::-1]

    at_work(tmp_path, work)


def test_what_cannot_be_offered(tmp_path: Path) -> None:
    async def work(run: Running, giver: Client, taker: Client) -> None:
        volume_id = (await giver.volume())["id"]
        body = {"transfer": {"volume_id": volume_id}}
        assert fault(await taker.call("POST", NEW, body))[:2] == (404, "itemNotFound")
        wrong: Any
        named = [{"transfer": {"volume_id": volume_id, "name": name}} for name in ("", "n" * 256)]
        for wrong in ({"transfer": {}}, {"transfer": {"volume_id": "no-uuid"}}, {}, *named):
            assert fault(await giver.call("POST", NEW, wrong))[:2] == (400, "badRequest")
        reserved = {"attachment": {"volume_uuid": volume_id, "instance_uuid": None}}
        attachment = (await giver.call("POST", "/v3/{p}/attachments", reserved)).json()["attachment"]
        assert fault(await giver.call("POST", NEW, body))[:2] == (400, "badRequest")
        await giver.call("DELETE", f"/v3/{{p}}/attachments/{attachment['id']}")
        await giver.call(
            "POST", f"/v3/{{p}}/volumes/{volume_id}/action", {"os-initialize_connection": {"connector": {"host": "h"}}}
        )
        assert fault(await giver.call("POST", NEW, body))[:2] == (400, "badRequest")
        await giver.until("volume", volume_id, "available")
        ended = {"os-terminate_connection": {"connector": {"host": "h"}}}
        await giver.call("POST", f"/v3/{{p}}/volumes/{volume_id}/action", ended)

    at_work(tmp_path, work)


def test_what_cannot_be_accepted(tmp_path: Path) -> None:
    async def work(run: Running, giver: Client, taker: Client) -> None:
        admin = await run.client("admin", project="admin")
        volume = await giver.volume(2)
        transfer = await offer(giver, volume["id"])
        few = {"quota_set": {"gigabytes": 1}}
        await admin.call("PUT", f"/v3/{{p}}/os-quota-sets/{taker.project_id}", few)
        assert fault(await accept(taker, transfer))[:2] == (413, "overLimit")
        await giver.until("volume", volume["id"], "awaiting-transfer")
        await admin.call("DELETE", f"/v3/{{p}}/os-quota-sets/{taker.project_id}")
        admin.version = "3.71"
        action = f"/v3/{{p}}/volumes/{volume['id']}/action"
        await admin.call("POST", action, {"os-reset_status": {"status": "error"}})
        assert fault(await accept(taker, transfer))[:2] == (400, "badRequest")
        assert (await giver.call("DELETE", f"{NEW}/{transfer['id']}")).status_code == 202
        await giver.until("volume", volume["id"], "error")

    at_work(tmp_path, work)


def test_the_key_is_kept_nowhere(tmp_path: Path) -> None:
    async def work(run: Running, giver: Client, taker: Client) -> None:
        volume = await giver.volume()
        body = {"transfer": {"volume_id": volume["id"]}}
        first = (await giver.call("POST", NEW, body, X_Client_Token="once")).json()["transfer"]
        again = (await giver.call("POST", NEW, body, X_Client_Token="once")).json()["transfer"]
        assert again == first | {"auth_key": None}

        def everything(tx: sa.Connection) -> str:
            return repr([tx.execute(sa.select(table)).all() for table in tables.metadata.sorted_tables])

        assert first["auth_key"] not in await run.app.db.read(everything)
        assert (await accept(taker, first)).status_code == 202

    at_work(tmp_path, work)


def test_a_volume_that_is_deleted_takes_its_transfer_along(tmp_path: Path) -> None:
    async def work(run: Running, giver: Client, taker: Client) -> None:
        volume = await giver.volume()
        transfer = await offer(giver, volume["id"])
        admin = await run.client("admin", project=run.made.demo_project)
        await admin.call("POST", f"/v3/{{p}}/volumes/{volume['id']}/action", {"os-force_delete": {}})
        await giver.until("volume", volume["id"], "gone")
        assert fault(await accept(taker, transfer))[:2] == (404, "itemNotFound")
        assert (await giver.get(NEW))["transfers"] == []

    at_work(tmp_path, work)


def test_snapshots_that_an_earlier_owner_has_kept_are_not_given_away(tmp_path: Path) -> None:
    async def work(run: Running, giver: Client, taker: Client) -> None:
        third = await run.person("third", "elsewhere", "member")
        third.version = giver.version
        volume = await giver.volume(2)
        kept = await giver.snapshot(volume["id"])
        assert (await accept(taker, await offer(giver, volume["id"], no_snapshots=True))).status_code == 202
        own = await taker.snapshot(volume["id"])
        last_kept = await giver.get(f"/v3/{{p}}/snapshots/{kept['id']}")

        assert (await accept(third, await offer(taker, volume["id"]))).status_code == 202
        await third.until("snapshot", own["id"], "available")
        assert await giver.get(f"/v3/{{p}}/snapshots/{kept['id']}") == last_kept
        assert fault(await third.call("GET", f"/v3/{{p}}/snapshots/{kept['id']}"))[:2] == (404, "itemNotFound")
        assert await used(giver) == {"volumes": 0, "snapshots": 1, "gigabytes": 2}
        assert await used(taker) == {"volumes": 0, "snapshots": 0, "gigabytes": 0}
        assert await used(third) == {"volumes": 1, "snapshots": 1, "gigabytes": 4}

    at_work(tmp_path, work)


def test_a_kept_snapshot_does_not_show_when_the_volume_is_reverted(tmp_path: Path) -> None:
    async def work(run: Running, giver: Client, taker: Client) -> None:
        volume = await giver.volume()
        own = await giver.snapshot(volume["id"])
        assert (await accept(taker, await offer(giver, volume["id"], no_snapshots=True))).status_code == 202
        newer = await taker.snapshot(volume["id"])
        assert (await accept(giver, await offer(taker, volume["id"], no_snapshots=True))).status_code == 202
        action = f"/v3/{{p}}/volumes/{volume['id']}/action"
        assert (await giver.call("POST", action, {"revert": {"snapshot_id": own["id"]}})).status_code == 202
        await giver.until("volume", volume["id"], "available")
        await taker.until("snapshot", newer["id"], "available")

    at_work(tmp_path, work)
