"""Backups over the API, on an engine in memory and a vault in a folder."""

import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from openevs.domain.ids import VolumeId
from openevs.testing.application import Client, Running
from openevs.testing.exporting import ExportingMemoryEngine, ExportingMemoryStorage
from tests.api.asking import ok, refused, with_admin

ALL = "/v3/{p}/backups"
Work = Callable[[Running, Client, Client, ExportingMemoryEngine], Awaitable[None]]
FIELDS = set(
    "id name links status size object_count availability_zone container created_at updated_at description fail_reason "
    "volume_id is_incremental has_dependent_backups snapshot_id data_timestamp".split()
)


def at_work(folder: Path, work: Work, version: str = "3.71") -> None:
    """Run `work` as a member and as an administrator of one project."""
    engine = ExportingMemoryEngine(ExportingMemoryStorage(folder))
    with_admin(folder, lambda run, client, admin: work(run, client, admin, engine), version, engine)


async def back_up(client: Client, volume_id: str, **fields: Any) -> dict[str, Any]:
    made = (await ok(client, "POST", ALL, {"backup": {"volume_id": volume_id, **fields}}))["backup"]
    return await client.until("backup", made["id"], "available")


async def restore(client: Client, backup_id: str, **fields: Any) -> str:
    """Restore a backup; return the volume's id when all is as it is to be."""
    restored = (await ok(client, "POST", f"{ALL}/{backup_id}/restore", {"restore": fields}))["restore"]
    await client.until("volume", restored["volume_id"], "available")
    await client.until("backup", backup_id, "available")
    volume_id: str = restored["volume_id"]
    return volume_id


def shown_by_cinder(view: dict[str, Any]) -> set[str]:
    """Return the fields of an answer that are not our own."""
    return {name for name in view if not name.startswith("openevs:")}


async def used(client: Client) -> tuple[int, int]:
    usage = (await client.get(f"/v3/{{p}}/os-quota-sets/{client.project_id}?usage=true"))["quota_set"]
    return usage["backups"]["in_use"], usage["backup_gigabytes"]["in_use"]


def test_a_backup_is_made_shown_changed_and_deleted(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, admin: Client, engine: ExportingMemoryEngine) -> None:
        volume = await client.volume(2, metadata={"a": "b"})
        await engine.write(VolumeId(volume["id"]), 0, b"bytes")
        given = {"name": " first ", "description": "text", "container": "box", "metadata": {"k": "v"}}
        reply = await ok(client, "POST", ALL, {"backup": {"volume_id": volume["id"], **given}})
        assert reply["backup"].keys() == {"id", "name", "links"}
        made = await client.until("backup", reply["backup"]["id"], "available")
        assert shown_by_cinder(made) == FIELDS | {"metadata"}
        assert (made["name"], made["size"], made["container"], made["is_incremental"]) == ("first", 2, "box", False)
        assert made["object_count"] == 1
        assert made["availability_zone"] == "nova"
        assert (await client.get(f"/v3/{{p}}/volumes/{volume['id']}"))["volume"]["status"] == "available"
        assert (await client.get("/v3/{p}/snapshots"))["snapshots"] == []
        assert await used(client) == (1, 2)
        for_admin = (await admin.get(f"{ALL}/{made['id']}"))["backup"]
        assert for_admin.keys() == made.keys() | {"os-backup-project-attr:project_id", "user_id"}
        changed = await ok(client, "PUT", f"{ALL}/{made['id']}", {"backup": {"name": "new", "metadata": {}}}, 200)
        assert changed["backup"]["name"] == "new"
        assert await ok(client, "PUT", f"{ALL}/{made['id']}", {"backup": {}}, 200) == changed
        (listed,) = (await client.get(ALL + "/detail"))["backups"]
        assert (listed["name"], listed["metadata"], listed["description"]) == ("new", {}, "text")
        stored = [path for path in (tmp_path / "backups").rglob("*") if path.is_file()]
        await ok(client, "DELETE", f"{ALL}/{made['id']}")
        await client.until("backup", made["id"], "gone")
        assert await used(client) == (0, 0)
        assert len([path for path in stored if path.exists()]) < len(stored)
        assert (await engine.list_objects()).snapshots == {}
        await ok(client, "DELETE", f"/v3/{{p}}/volumes/{volume['id']}")
        await client.until("volume", volume["id"], "gone")

    at_work(tmp_path, work)


def test_fields_follow_the_microversion(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, admin: Client, engine: ExportingMemoryEngine) -> None:
        made = await back_up(client, (await client.volume(1))["id"])
        path, owner = f"{ALL}/{made['id']}", {"os-backup-project-attr:project_id"}
        for version, more, for_admin in (
            ("3.0", set(), set()),
            ("3.18", set(), owner),
            ("3.43", {"metadata"}, owner),
            ("3.56", {"metadata"}, owner | {"user_id"}),
        ):
            client.version = admin.version = version
            assert shown_by_cinder((await client.get(path))["backup"]) == FIELDS | more
            assert shown_by_cinder((await admin.get(path))["backup"]) == FIELDS | more | for_admin
        client.version = "3.8"
        assert (await refused(client, "PUT", path, {"backup": {"name": "a"}}))[0] == 404
        own = (await client.get(path))["backup"]
        assert (own["openevs:bytes_read"], own["openevs:parent_id"]) == (0, None)
        client.version = None
        assert (await client.get("/v2/{p}/backups/detail"))["backups"][0]["id"] == made["id"]

    at_work(tmp_path, work)


def test_incremental_backups_stand_on_one_another(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, admin: Client, engine: ExportingMemoryEngine) -> None:
        volume = await client.volume(1)
        volume_id = VolumeId(volume["id"])
        none = {"backup": {"volume_id": volume["id"], "incremental": True}}
        status, text = await refused(client, "POST", ALL, none)
        assert (status, "no backup" in text) == (400, True)
        await engine.write(volume_id, 0, b"first")
        whole = await back_up(client, volume["id"])
        await engine.write(volume_id, 1 << 20, b"second")
        part = await back_up(client, volume["id"], incremental="true")
        assert (part["is_incremental"], part["has_dependent_backups"]) == (True, False)
        assert (await client.get(f"{ALL}/{whole['id']}"))["backup"]["has_dependent_backups"] is True
        status, text = await refused(client, "DELETE", f"{ALL}/{whole['id']}")
        assert (status, "on top of it" in text) == (400, True)
        # One frozen state of the volume is kept, from which the next one's changes are told.
        assert len((await engine.list_objects()).snapshots) == 1
        await engine.write_zeros(volume_id, 0, 4096)
        last = await back_up(client, volume["id"], incremental=True, force=False)
        assert len((await engine.list_objects()).snapshots) == 1
        assert (await run.app.sweeper.sweep()).unknown == ()
        for backup, first, second in (
            (whole, b"first", bytes(6)),
            (part, b"first", b"second"),
            (last, bytes(5), b"second"),
        ):
            new = VolumeId(await restore(client, backup["id"]))
            assert await engine.read(new, 0, 5) == first
            assert await engine.read(new, 1 << 20, 6) == second
        # The volume goes, and takes the frozen state along; backups stay, and can be restored.
        await ok(client, "DELETE", f"/v3/{{p}}/volumes/{volume['id']}")
        await client.until("volume", volume["id"], "gone")
        assert (await engine.list_objects()).snapshots == {}
        assert await restore(client, part["id"], name="again")

    at_work(tmp_path, work)


def test_a_backup_of_a_snapshot_and_of_an_attached_volume(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, admin: Client, engine: ExportingMemoryEngine) -> None:
        volume = await client.volume(1)
        snapshot = await client.snapshot(volume["id"])
        of_it = await back_up(client, volume["id"], snapshot_id=snapshot["id"])
        assert of_it["snapshot_id"] == snapshot["id"]
        assert of_it["data_timestamp"] == snapshot["created_at"]
        await client.until("snapshot", snapshot["id"], "available")
        other = await client.volume(1)
        body = {"backup": {"volume_id": other["id"], "snapshot_id": snapshot["id"]}}
        assert (await refused(client, "POST", ALL, body))[0] == 400
        attach = {"attachment": {"volume_uuid": volume["id"], "connector": {"host": "here"}}}
        attached = (await ok(client, "POST", "/v3/{p}/attachments", attach, 200))["attachment"]
        await ok(client, "POST", f"/v3/{{p}}/attachments/{attached['id']}/action", {"os-complete": {}}, 204)
        status, text = await refused(client, "POST", ALL, {"backup": {"volume_id": volume["id"]}})
        assert (status, "in-use" in text) == (400, True)
        await back_up(client, volume["id"], force=True)
        await client.until("volume", volume["id"], "in-use")
        await ok(client, "DELETE", f"/v3/{{p}}/attachments/{attached['id']}", status=200)
        await ok(client, "DELETE", f"/v3/{{p}}/snapshots/{snapshot['id']}")
        await client.until("snapshot", snapshot["id"], "gone")
        await back_up(client, volume["id"], incremental=True)

    at_work(tmp_path, work)


def test_a_vault_that_cannot_be_used_leaves_nothing_frozen(tmp_path: Path) -> None:
    """Or the volume could not be deleted."""
    (tmp_path / "backups").write_text("no folder")

    async def work(run: Running, client: Client, admin: Client, engine: ExportingMemoryEngine) -> None:
        volume = await client.volume()
        made = (await ok(client, "POST", ALL, {"backup": {"volume_id": volume["id"]}}))["backup"]
        shown = await client.until("backup", made["id"], "error")
        assert "Not a directory" in shown["fail_reason"] or "File exists" in shown["fail_reason"]
        assert (await engine.list_objects()).snapshots == {}
        assert (await client.call("DELETE", f"/v3/{{p}}/volumes/{volume['id']}")).status_code == 202
        await client.until("volume", volume["id"], "gone")

    at_work(tmp_path, work)


def test_restoring_into_a_volume(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, admin: Client, engine: ExportingMemoryEngine) -> None:
        volume = await client.volume(2, metadata={"a": "b"})
        await engine.write(VolumeId(volume["id"]), 4096, b"kept")
        backup = await back_up(client, volume["id"])
        path = f"{ALL}/{backup['id']}/restore"
        small, large = await client.volume(1), await client.volume(3)
        status, text = await refused(client, "POST", path, {"restore": {"volume_id": small["id"]}})
        assert (status, "1 GiB" in text) == (400, True)
        assert (await client.get(f"{ALL}/{backup['id']}"))["backup"]["status"] == "available"
        large_id, beyond = VolumeId(large["id"]), (2 << 30) + 5
        await engine.write(large_id, beyond, b"gone")
        await engine.write(large_id, 0, b"gone")
        assert await restore(client, backup["id"], volume_id=large["id"]) == large["id"]
        assert await engine.read(large_id, 4096, 4) == b"kept"
        assert await engine.read(large_id, 0, 4) == await engine.read(large_id, beyond, 4) == bytes(4)
        new = {"volume": {"backup_id": backup["id"], "name": "made", "volume_type": "SSD"}}
        made = (await ok(client, "POST", "/v3/{p}/volumes", new))["volume"]
        shown = await client.until("volume", made["id"], "available")
        assert (shown["size"], shown["name"], shown["volume_type"]) == (2, "made", "SSD")
        assert shown["metadata"] == {"a": "b", "src_backup_id": backup["id"]}
        assert await engine.read(VolumeId(made["id"]), 4096, 4) == b"kept"
        for body in ({"volume_id": "x"}, {"volume_id": 7}, {"other": 1}):
            assert (await refused(client, "POST", path, {"restore": body}))[0] == 400
        assert (await refused(client, "POST", path, {"restore": {"volume_id": str(uuid.uuid4())}}))[0] == 404
        client.version = "3.46"
        assert (await refused(client, "POST", "/v3/{p}/volumes", new))[0] == 400

    at_work(tmp_path, work)


def test_a_damaged_chunk_fails_the_restore_and_is_named(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, admin: Client, engine: ExportingMemoryEngine) -> None:
        volume = await client.volume(1)
        await engine.write(VolumeId(volume["id"]), 0, b"x" * 5000)
        backup = await back_up(client, volume["id"])
        chunks = [path for path in (tmp_path / "backups" / "chunks").rglob("*") if path.is_file()]
        for chunk in chunks:
            chunk.write_bytes(chunk.read_bytes()[:-3] + b"rot")
        restored = (await ok(client, "POST", f"{ALL}/{backup['id']}/restore", {"restore": {}}))["restore"]
        failed = await client.until("volume", restored["volume_id"], "error_restoring")
        (message,) = (await client.get("/v3/{p}/messages"))["messages"]
        assert any(chunk.name in message["user_message"] for chunk in chunks)
        assert failed["status"] == "error_restoring"
        await client.until("backup", backup["id"], "available")
        made = (await ok(client, "POST", "/v3/{p}/volumes", {"volume": {"backup_id": backup["id"]}}))["volume"]
        await client.until("volume", made["id"], "error")
        await client.until("backup", backup["id"], "available")
        await ok(client, "DELETE", f"/v3/{{p}}/volumes/{restored['volume_id']}")
        await client.until("volume", restored["volume_id"], "gone")

    at_work(tmp_path, work)


@pytest.mark.parametrize(
    ("body", "names_it"),
    [
        ({}, "volume_id"),
        ({"volume_id": "x"}, "volume_id"),
        ({"volume_id": None}, "volume_id"),
        ({"volume_id": "V", "name": "x" * 256}, "name"),
        ({"volume_id": "V", "incremental": "perhaps"}, "incremental"),
        ({"volume_id": "V", "force": "perhaps"}, "force"),
        ({"volume_id": "V", "availability_zone": "moon"}, "availability_zone"),
        ({"volume_id": "V", "metadata": {"a": 1}}, "metadata"),
        ({"volume_id": "V", "other": 1}, "other"),
    ],
)
def test_a_backup_with_mistakes_is_refused(tmp_path: Path, body: dict[str, Any], names_it: str) -> None:
    async def work(run: Running, client: Client, admin: Client, engine: ExportingMemoryEngine) -> None:
        volume = await client.volume(1)
        given = {key: volume["id"] if value == "V" else value for key, value in body.items()}
        status, text = await refused(client, "POST", ALL, {"backup": given})
        assert (status, names_it in text) == (400, True), text

    at_work(tmp_path, work)


def test_administrators_and_others(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, admin: Client, engine: ExportingMemoryEngine) -> None:
        backup = await back_up(client, (await client.volume(1))["id"])
        action, other = f"{ALL}/{backup['id']}/action", await run.person("else", "elsewhere", "member")
        for method in ("GET", "DELETE"):
            assert (await refused(other, method, f"{ALL}/{backup['id']}"))[0] == 404
        assert (await client.call("POST", action, {"os-reset_status": {"status": "error"}})).status_code == 403
        await ok(admin, "POST", action, {"os-reset_status": {"status": "error"}})
        await client.until("backup", backup["id"], "error")
        assert (await refused(client, "POST", f"{ALL}/{backup['id']}/restore", {"restore": {}}))[0] == 400
        assert (await refused(admin, "POST", action, {"os-reset_status": {"status": "none"}}))[0] == 400
        await ok(admin, "POST", action, {"os-force_delete": {}})
        await client.until("backup", backup["id"], "gone")

    at_work(tmp_path, work)


def test_quotas_of_backups(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, admin: Client, engine: ExportingMemoryEngine) -> None:
        volume = await client.volume(3)
        limit = {"quota_set": {"backup_gigabytes": 5}}
        await ok(admin, "PUT", f"/v3/{{p}}/os-quota-sets/{client.project_id}", limit, 200)
        await back_up(client, volume["id"])
        status, text = await refused(client, "POST", ALL, {"backup": {"volume_id": volume["id"]}})
        assert (status, "backup_gigabytes" in text) == (413, True)
        assert (await client.get(f"/v3/{{p}}/volumes/{volume['id']}"))["volume"]["status"] == "available"

    at_work(tmp_path, work)


def test_each_project_has_its_own_backups_of_a_volume(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, admin: Client, engine: ExportingMemoryEngine) -> None:
        other = await run.client("admin", project="admin")
        other.version = "3.71"
        volume = await client.volume(1)
        volume_id, asked = VolumeId(volume["id"]), {"backup": {"volume_id": volume["id"], "incremental": True}}
        await engine.write(volume_id, 0, b"first")
        theirs = await back_up(other, volume["id"])
        assert theirs["os-backup-project-attr:project_id"] == other.project_id
        assert (await used(other), await used(client)) == ((1, 1), (0, 0))
        assert (await refused(client, "GET", f"{ALL}/{theirs['id']}"))[0] == 404
        status, text = await refused(client, "POST", ALL, asked)
        assert (status, "no backup" in text) == (400, True)
        mine = await back_up(client, volume["id"])
        await engine.write(volume_id, 5, b"second")
        on_theirs = await back_up(other, volume["id"], incremental=True)
        assert (await client.get(f"{ALL}/{mine['id']}"))["backup"]["has_dependent_backups"] is False
        assert (await other.get(f"{ALL}/{theirs['id']}"))["backup"]["has_dependent_backups"] is True
        await engine.write(volume_id, 11, b"third")
        on_mine = await back_up(client, volume["id"], incremental=True)
        assert (on_theirs["openevs:parent_id"], on_mine["openevs:parent_id"]) == (theirs["id"], mine["id"])
        # Each project's newest backup has a frozen state, from which its next one's changes are told.
        assert len((await engine.list_objects()).snapshots) == 2
        for who, backup, held in (
            (other, theirs, b"first"),
            (client, mine, b"first"),
            (other, on_theirs, b"firstsecond"),
            (client, on_mine, b"firstsecondthird"),
        ):
            assert await engine.read(VolumeId(await restore(who, backup["id"])), 0, 20) == held.ljust(20, b"\0")
        for who, backup in ((other, on_theirs), (client, on_mine), (other, theirs), (client, mine)):
            await ok(who, "DELETE", f"{ALL}/{backup['id']}")
            await who.until("backup", backup["id"], "gone")
        assert (await used(other), await used(client)) == ((0, 0), (0, 0))
        assert (await engine.list_objects()).snapshots == {}

    at_work(tmp_path, work)


@pytest.mark.parametrize(
    ("fields", "names_it"),
    [
        ({"availability_zone": "moon"}, "availability_zone"),
        ({"metadata": {"__system__encrypted": "1"}}, "__system__encrypted"),
        ({"metadata": {"readonly": "True"}}, "readonly"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"size": 0}, "size"),
        ({"size": 1 << 64}, "size"),
        ({"size": 1}, "size"),
        ({"name": "x" * 256}, "name"),
        ({"volume_type": "none"}, "none"),
    ],
)
def test_a_volume_from_a_backup_is_checked_as_any(tmp_path: Path, fields: dict[str, Any], names_it: str) -> None:
    async def work(run: Running, client: Client, admin: Client, engine: ExportingMemoryEngine) -> None:
        backup = await back_up(client, (await client.volume(2))["id"])
        body = {"volume": {"backup_id": backup["id"], **fields}}
        status, text = await refused(client, "POST", "/v3/{p}/volumes", body)
        assert (status in (400, 404), names_it in text) == (True, True), text
        assert (await client.get(f"{ALL}/{backup['id']}"))["backup"]["status"] == "available"

    at_work(tmp_path, work)


def test_a_volume_says_of_which_backup_its_bytes_are(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, admin: Client, engine: ExportingMemoryEngine) -> None:
        async def origin(volume_id: str) -> str | None:
            found: str | None = (await client.get(f"/v3/{{p}}/volumes/{volume_id}"))["volume"]["metadata"].get(
                "src_backup_id"
            )
            return found

        volume, other = await client.volume(1, metadata={"a": "b"}), await client.volume(1)
        first, second = [await back_up(client, volume["id"]) for _ in range(2)]
        await restore(client, first["id"], volume_id=volume["id"])
        assert await origin(volume["id"]) is None
        foreign = await back_up(client, other["id"])
        for backup in (foreign, first, second):
            await restore(client, backup["id"], volume_id=volume["id"])
            assert await origin(volume["id"]) == backup["id"]
        assert await origin(await restore(client, first["id"])) == first["id"]

    at_work(tmp_path, work)
