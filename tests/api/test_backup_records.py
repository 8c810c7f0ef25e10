"""Backups that are taken elsewhere by their records, and rows that are the same backup in the vault."""

import base64
import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from openevs.testing.application import Client, Running
from openevs.testing.exporting import ExportingMemoryEngine, ExportingMemoryStorage
from openevs.testing.faulty import Faults, faulty
from tests.api.asking import ok, refused, with_admin
from tests.api.test_backups import ALL, at_work, back_up, restore


async def exported(admin: Client, backup_id: str) -> dict[str, Any]:
    """Return what the record of a backup says."""
    record = (await ok(admin, "GET", f"{ALL}/{backup_id}/export_record", status=200))["backup-record"]
    facts: dict[str, Any] = json.loads(base64.b64decode(record["backup_url"]))
    return {**facts, "backup_service": record["backup_service"]}


def record_with(facts: dict[str, Any], **to: Any) -> dict[str, Any]:
    """Return the body of an import, with some facts changed."""
    given = {**facts, **to}
    service = given.pop("backup_service")
    url = base64.b64encode(json.dumps(given).encode()).decode()
    return {"backup-record": {"backup_service": service, "backup_url": url}}


def test_export_and_import(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, admin: Client, engine: ExportingMemoryEngine) -> None:
        volume = await admin.volume(1)
        backup = await back_up(admin, volume["id"], name="there")
        record = (await ok(admin, "GET", f"{ALL}/{backup['id']}/export_record", status=200))["backup-record"]
        assert record["backup_service"].startswith("cinder.backup.drivers")
        assert (await refused(admin, "POST", f"{ALL}/import_record", {"backup-record": record}))[0] == 400
        facts = json.loads(base64.b64decode(record["backup_url"]))
        twin, lost = str(uuid.uuid4()), str(uuid.uuid4())

        def changed(**to: Any) -> dict[str, Any]:
            url = base64.b64encode(json.dumps({**facts, **to}).encode()).decode()
            return {"backup-record": {**record, "backup_url": url}}

        made = await ok(admin, "POST", f"{ALL}/import_record", changed(id=twin), 201)
        assert made["backup"]["id"] == twin
        assert (await admin.until("backup", twin, "available"))["name"] == "there"
        await ok(admin, "DELETE", f"{ALL}/{backup['id']}")
        await admin.until("backup", backup["id"], "gone")
        await restore(admin, twin)
        await ok(admin, "POST", f"{ALL}/import_record", changed(id=lost, record="nothing"), 201)
        assert (await admin.until("backup", lost, "error"))["fail_reason"]
        for body in (changed(id="x"), changed(size=0), {"backup-record": {**record, "backup_url": "???"}}):
            assert (await refused(admin, "POST", f"{ALL}/import_record", body))[0] == 400
        assert (await client.call("GET", f"{ALL}/{twin}/export_record")).status_code == 403

    at_work(tmp_path, work)


@pytest.mark.parametrize(
    ("change", "names_it"),
    [
        ({"name": "\ud800"}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"name": 7}, "name"),
        ({"description": "x" * 256}, "description"),
        ({"metadata": {"a": "\ud800"}}, "metadata"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"metadata": "text"}, "metadata"),
        ({"volume_metadata": {"__system__encrypted": "1"}}, "__system__encrypted"),
        ({"record": "\ud800"}, "record"),
        ({"record": ""}, "record"),
        ({"record": None}, "record"),
        ({"size": True}, "size"),
        ({"size": 1.0}, "size"),
        ({"size": 1 << 63}, "size"),
        ({"id": "ID"}, "id"),
        ({"vault_id": "ID"}, "vault_id"),
        ({"volume_id": "urn"}, "volume_id"),
    ],
)
def test_a_record_with_mistakes_is_refused(tmp_path: Path, change: dict[str, Any], names_it: str) -> None:
    async def work(run: Running, client: Client, admin: Client, engine: ExportingMemoryEngine) -> None:
        facts = await exported(admin, (await back_up(admin, (await admin.volume(1))["id"]))["id"])
        odd = {"ID": str(uuid.uuid4()).upper(), "urn": uuid.uuid4().urn}
        given = {name: odd.get(value, value) if isinstance(value, str) else value for name, value in change.items()}
        body = record_with(facts, **{"id": str(uuid.uuid4()), **given})
        status, text = await refused(admin, "POST", f"{ALL}/import_record", body)
        assert (status, names_it in text) == (400, True), text
        assert len((await admin.get(ALL))["backups"]) == 1

    at_work(tmp_path, work)


def test_a_record_that_is_nested_without_end_is_refused(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, admin: Client, engine: ExportingMemoryEngine) -> None:
        facts = await exported(admin, (await back_up(admin, (await admin.volume(1))["id"]))["id"])
        body = record_with(facts)
        body["backup-record"]["backup_url"] = base64.b64encode(b"[" * 100_000).decode()
        assert (await refused(admin, "POST", f"{ALL}/import_record", body))[0] == 400

    at_work(tmp_path, work)


def test_rows_that_are_one_backup_in_the_vault_take_turns(tmp_path: Path) -> None:
    """While one of them is being deleted nothing can be said of the others: is it the last, is there anything left?"""
    faults = Faults()

    async def work(run: Running, client: Client, admin: Client) -> None:
        volume = await admin.volume(1)
        first = await back_up(admin, volume["id"])
        facts, twin, late = await exported(admin, first["id"]), str(uuid.uuid4()), str(uuid.uuid4())
        await ok(admin, "POST", f"{ALL}/import_record", record_with(facts, id=twin), 201)
        await admin.until("backup", twin, "available")
        hang = faults.hang("ensure_no_snapshot")
        await ok(admin, "DELETE", f"{ALL}/{first['id']}")
        await hang.reached.wait()
        status, text = await refused(admin, "DELETE", f"{ALL}/{twin}")
        assert (status, "under way" in text) == (409, True)
        assert (await refused(admin, "POST", f"{ALL}/import_record", record_with(facts, id=late)))[0] == 409
        hang.release()
        await admin.until("backup", first["id"], "gone")
        assert await restore(admin, twin)
        await ok(admin, "DELETE", f"{ALL}/{twin}")
        await admin.until("backup", twin, "gone")
        assert await run.app.vault.list_backups() == []
        await ok(admin, "POST", f"{ALL}/import_record", record_with(facts, id=late), 201)
        await admin.until("backup", late, "error")

    with_admin(tmp_path, work, engine=faulty(ExportingMemoryEngine(ExportingMemoryStorage(tmp_path)), faults))
