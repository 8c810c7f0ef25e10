"""Letting go of volumes and snapshots and managing them again, with their bytes; files that were put into the pool."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from openevs.compose import build_engine
from openevs.store.quotas import wrong_usage
from openevs.testing.application import Client, Running, settings_for
from tests.api import asking
from tests.api.asking import ok

HOST = "openevs@layers#layers"
LIST = "/v3/{p}/os-volume-manage?host=openevs"
TEXT = b"by hand ".ljust(512, b".")


def at_work(folder: Path, work: Callable[[Running, Client, Client], Awaitable[None]], *, layers: bool = False) -> None:
    """Run `work` as the demo user and as an administrator, each on a project of their own."""
    kind = "layers" if layers else "memory"
    engine = build_engine(settings_for(folder, {("engine", "kind"): kind})) if layers else None

    async def both(run: Running, client: Client) -> None:
        await work(run, client, await run.client("admin", project="admin"))
        assert await run.app.db.read(wrong_usage) == {}

    asking.at_work(folder, both, None, engine, engine__kind=kind)


async def let_go(admin: Client, kind: str, resource_id: str) -> None:
    await ok(admin, "POST", f"/v3/{{p}}/{kind}s/{resource_id}/action", {"os-unmanage": {}})
    await admin.until(kind, resource_id, "gone")


async def read(run: Running, object_id: str, length: int = 512) -> bytes:
    engine: Any = run.app.engine
    found: bytes = await engine.read(object_id, 0, length)
    return found


async def write(run: Running, volume_id: str, data: bytes) -> None:
    engine: Any = run.app.engine
    await engine.write(volume_id, 0, data)
    await engine.flush(volume_id)


@pytest.mark.parametrize("layers", [False, True])
def test_volume_let_go_and_managed_again(tmp_path: Path, layers: bool) -> None:
    async def work(run: Running, client: Client, admin: Client) -> None:
        volume = await client.volume(2, name="old")
        await write(run, volume["id"], TEXT)
        await let_go(admin, "volume", volume["id"])
        swept = await run.app.sweeper.sweep()
        assert (swept.deleted, swept.unknown, swept.lost) == ((), (), ())
        name = f"volume-{volume['id']}"
        (shown,) = (await admin.get(f"/v3/{{p}}/os-volume-manage?host={HOST.replace('#', '%23')}"))[
            "manageable-volumes"
        ]
        assert shown == {"reference": {"source-name": name}, "size": 2, "safe_to_manage": True}
        body = {"host": HOST, "ref": {"source-name": name}, "name": "new", "metadata": {"k": "v"}, "bootable": True}
        managed = (await ok(admin, "POST", "/v3/{p}/os-volume-manage", {"volume": body}))["volume"]
        assert managed["status"] == "managing"
        found = await admin.until("volume", managed["id"], "available")
        assert (found["size"], found["name"], found["bootable"]) == (2, "new", "true")
        assert (found["os-vol-host-attr:host"], found["volume_type"]) == (HOST, "layers")
        assert await read(run, managed["id"]) == TEXT
        again = await admin.call("POST", "/v3/{p}/os-volume-manage", {"volume": body})
        assert again.status_code == 400
        assert name in again.text
        listed = await admin.get("/v3/{p}/os-volume-manage/detail?host=openevs%40layers%23layers")
        (only,) = listed["manageable-volumes"]
        assert (only["cinder_id"], only["safe_to_manage"]) == (managed["id"], False)
        assert only["reason_not_safe"] == "already managed"
        await let_go(admin, "volume", managed["id"])
        body = {"host": HOST, "ref": {"source-name": f"volume-{managed['id']}"}, "bootable": None}
        managed = (await ok(admin, "POST", "/v3/{p}/os-volume-manage", {"volume": body}))["volume"]
        assert (await admin.until("volume", managed["id"], "available"))["bootable"] == "false"
        await ok(admin, "DELETE", f"/v3/{{p}}/volumes/{managed['id']}")
        await admin.until("volume", managed["id"], "gone")

    at_work(tmp_path, work, layers=layers)


@pytest.mark.parametrize("layers", [False, True])
def test_snapshot_let_go_and_managed_again(tmp_path: Path, layers: bool) -> None:
    async def work(run: Running, client: Client, admin: Client) -> None:
        volume = await client.volume(1)
        await write(run, volume["id"], TEXT)
        snapshot = await client.snapshot(volume["id"])
        await write(run, volume["id"], b"later".ljust(512))
        await let_go(admin, "snapshot", snapshot["id"])
        name = f"snapshot-{snapshot['id']}"
        admin.version = "3.8"
        (shown,) = (await admin.get("/v3/manageable_snapshots?host=openevs"))["manageable-snapshots"]
        assert shown == {
            "reference": {"source-name": name},
            "size": 1,
            "safe_to_manage": True,
            "source_reference": {"source-name": f"volume-{volume['id']}"},
        }
        other = await client.volume(1)
        body = {"volume_id": other["id"], "ref": {"source-name": name}, "name": "new", "metadata": {"k": "v"}}
        refused = await admin.call("POST", "/v3/{p}/manageable_snapshots", {"snapshot": body})
        assert refused.status_code == 400
        body["volume_id"] = volume["id"]
        managed = (await ok(admin, "POST", "/v3/{p}/manageable_snapshots", {"snapshot": body}))["snapshot"]
        found = await client.until("snapshot", managed["id"], "available")
        assert (found["size"], found["name"], found["metadata"]) == (1, "new", {"k": "v"})
        assert await read(run, managed["id"]) == TEXT
        copy = await client.volume(1, snapshot_id=managed["id"])
        assert await read(run, copy["id"]) == TEXT

    at_work(tmp_path, work, layers=layers)


def test_a_file_in_the_pool_is_managed(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, admin: Client) -> None:
        folder = run.app.settings.pool_folder / "incoming"
        (folder / "disk.raw").write_bytes(TEXT * 10)
        (folder / "link.raw").symlink_to("/etc/hostname")
        (folder / "bad.qcow2").write_bytes(b"QFI\xfb")
        found = (await admin.get("/v3/{p}/os-volume-manage/detail?host=openevs"))["manageable-volumes"]
        safe = {one["reference"]["source-name"]: one["safe_to_manage"] for one in found}
        assert safe == {"incoming/disk.raw": True, "incoming/bad.qcow2": False}
        for name in ("incoming/bad.qcow2", "incoming/link.raw", "../../etc/passwd"):
            body = {"volume": {"host": HOST, "ref": {"source-name": name}}}
            assert (await admin.call("POST", "/v3/{p}/os-volume-manage", body)).status_code == 400
        body = {"volume": {"host": HOST, "ref": {"source-name": "incoming/disk.raw"}, "volume_type": "SSD"}}
        managed = (await ok(admin, "POST", "/v3/{p}/os-volume-manage", body))["volume"]
        volume = await admin.until("volume", managed["id"], "available")
        assert (volume["size"], volume["volume_type"]) == (1, "SSD")
        assert await read(run, managed["id"], 512 * 11) == TEXT * 10 + bytes(512)
        assert not (folder / "disk.raw").exists()
        snapshot = await admin.snapshot(managed["id"])
        copy = await admin.volume(1, snapshot_id=snapshot["id"])
        assert await read(run, copy["id"]) == TEXT

    at_work(tmp_path, work, layers=True)


def test_what_is_refused(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, admin: Client) -> None:
        volume = await client.volume(1)
        action = f"/v3/{{p}}/volumes/{volume['id']}/action"
        assert (await client.call("POST", action, {"os-unmanage": {}})).status_code == 403
        snapshot = await client.snapshot(volume["id"])
        refused = await admin.call("POST", action, {"os-unmanage": {}})
        assert (refused.status_code, "snapshots" in refused.text) == (400, True)
        await let_go(admin, "snapshot", snapshot["id"])
        await ok(client, "POST", action, {"os-reserve": {}})
        assert (await admin.call("POST", action, {"os-unmanage": {}})).status_code == 400
        await ok(client, "POST", action, {"os-unreserve": {}})
        assert (await client.call("GET", "/v3/{p}/os-volume-manage?host=openevs")).status_code == 403
        for query in (
            "",
            "?host=openevs&sort=name",
            "?host=openevs&marker=x",
        ):
            assert (await admin.call("GET", f"/v3/{{p}}/os-volume-manage{query}")).status_code == 400, query
        for query in ("?host=other", "?host=openevs&cluster=c"):
            assert (await admin.call("GET", f"/v3/{{p}}/os-volume-manage{query}")).status_code == 404, query
        good = {"host": HOST, "ref": {"source-name": "volume-none"}}
        wrongs: tuple[dict[str, Any], ...] = (
            {},
            {"host": "other"},
            {"ref": {}},
            {"ref": "x" * 300},
            {"ref": {"source-name": 1}},
            {"availability_zone": "moon"},
            {"cluster": "c"},
            {"bootable": "maybe"},
        )
        for wrong in wrongs:
            reply = await admin.call("POST", "/v3/{p}/os-volume-manage", {"volume": {**good, **wrong}})
            assert reply.status_code == 400, wrong
        assert (await admin.call("POST", "/v3/{p}/os-volume-manage", {"volume": {"host": HOST}})).status_code == 400
        assert (await admin.call("GET", "/v3/{p}/manageable_volumes?host=openevs")).status_code == 404
        # Its snapshot is nobody's, and not to be lost with it.
        await ok(client, "DELETE", f"/v3/{{p}}/volumes/{volume['id']}")
        failed = await admin.until("volume", volume["id"], "error_deleting")
        assert failed["status"] == "error_deleting"
        client.version = "3.3"
        assert "not managed" in (await client.get("/v3/{p}/messages"))["messages"][0]["user_message"]

    at_work(tmp_path, work)


def test_pages(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, admin: Client) -> None:
        for size in (1, 3, 2):
            await client.volume(size)
        path = "/v3/{p}/os-volume-manage?host=openevs&sort=size:asc"
        every = (await admin.get(path))["manageable-volumes"]
        assert [one["size"] for one in every] == [1, 2, 3]
        assert (await admin.get(path + "&limit=1&offset=1"))["manageable-volumes"] == every[1:2]
        marker = f'{{"source-name": "{every[0]["reference"]["source-name"]}"}}'
        assert (await admin.get(f"{path}&marker={marker}"))["manageable-volumes"] == every[1:]

    at_work(tmp_path, work)
