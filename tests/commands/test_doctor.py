"""`openevs doctor`, `operation`, `migrate` and `engine check`, as processes, on real QEMU."""

import asyncio
import json
import re
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from openevs.store.schema import SCHEMA
from tests.commands.serving import Service, block, openevs, read, served, stored

pytestmark = pytest.mark.skipif(shutil.which("qemu-storage-daemon") is None, reason="needs QEMU")


def lose_database(folder: Path) -> None:
    for path in folder.glob("openevs.db*"):
        path.unlink()


def test_a_lost_database_is_made_anew_and_every_byte_is_there(folder: Path) -> None:
    with served(folder) as service:
        project = service.project_id
        first, second = service.volume("first"), service.volume("second")
        service.write(first, "past")
        past = service.snapshot("yesterday", first)
        service.write(first, "present")
        clone = service.volume("clone", snapshot_id=past)
        assert "A service is running" in openevs(folder, "doctor")[1]
    assert openevs(folder, "doctor") == (0, "The pool has 3 volumes and 1 snapshots.\nAll is well.\n")

    lose_database(folder)
    status, said = openevs(folder, "doctor")
    assert (status, "There is no database" in said) == (1, True)
    status, said = openevs(folder, "serve", "--port", "0")
    assert (status, "The database is new, but the pool" in said, "doctor --rebuild" in said) == (1, True, True)
    status, said = openevs(folder, "doctor")
    assert (status, said.count("no row")) == (1, 4), said

    status, said = openevs(folder, "doctor", "--rebuild")
    assert status == 0, said
    assert said.startswith(f"Made rows for 3 volumes and 1 snapshots in recovered-{project[:12]}.")
    assert "Made rows for 0 volumes and 0 snapshots." in openevs(folder, "doctor", "--rebuild")[1]

    with served(folder, project) as service:
        volumes = {volume["name"]: volume for volume in service.call("GET", "/volumes/detail")["volumes"]}
        assert {name: volume["id"] for name, volume in volumes.items()} == {
            "first": first, "second": second, "clone": clone,
        }  # fmt: skip
        assert {volume["status"] for volume in volumes.values()} == {"available"}
        (snapshot,) = service.call("GET", "/snapshots/detail")["snapshots"]
        assert (snapshot["id"], snapshot["name"], snapshot["volume_id"]) == (past, "yesterday", first)
        assert asyncio.run(read(service.attach(first)[1])) == block("present")
        service.snapshot("today", first)
    # Still attached: the volume goes on being served, and a second loss of the database keeps that.
    lose_database(folder)
    status, said = openevs(folder, "doctor", "--rebuild", "--project", "mine")
    assert (status, "3 volumes and 2 snapshots in mine" in said) == (0, True), said
    with sqlite3.connect(folder / "openevs.db") as db:
        (mine,) = db.execute("SELECT id FROM project WHERE name = 'mine'").fetchone()
    with served(folder, mine) as service:
        (attachment,) = service.call("GET", f"/attachments?volume_id={first}")["attachments"]
        assert service.call("GET", f"/volumes/{first}")["volume"]["status"] == "in-use"
        service.call("DELETE", f"/attachments/{attachment['id']}")
        service.until("volume", first, "available")
        service.call("POST", f"/volumes/{first}/action", {"revert": {"snapshot_id": newest(service, first)}})
        service.until("volume", first, "available")
    assert openevs(folder, "doctor")[0] == 0
    assert asyncio.run(stored(folder, first, past, clone)) == [block("present"), block("past"), block("past")]


def newest(service: Service, volume_id: str) -> str:
    found = service.call("GET", f"/snapshots/detail?volume_id={volume_id}")["snapshots"]
    return str(max(found, key=lambda snapshot: snapshot["created_at"])["id"])


def test_backups_of_a_lost_database_are_found_and_what_was_not_managed_stays_so(folder: Path) -> None:
    with served(folder) as service:
        project = service.project_id
        saved, released = service.volume("saved"), service.volume("released")
        service.write(saved, "past")
        full = service.backup(saved, "full")
        service.write(saved, "present")
        more = service.backup(saved, "more", incremental=True)
        service.write(released, "nobody's")
    with served(folder, project) as service:
        service.call("POST", f"/volumes/{released}/action", {"os-unmanage": {}})
        service.until_gone(released)
    assert openevs(folder, "doctor") == (0, "The pool has 1 volumes and 1 snapshots.\nAll is well.\n")
    # What a service leaves that is killed while it makes a backup.
    vault = folder / "backups"
    chunk = vault / "chunks" / "ab" / ("ab" + "0" * 62)
    chunk.parent.mkdir(exist_ok=True)
    chunk.write_bytes(b"of no index")
    (vault / "begun" / "another").write_bytes(b"begun")

    lose_database(folder)
    status, said = openevs(folder, "doctor", "--rebuild")
    assert status == 0, said
    assert said.splitlines() == [
        f"Made rows for 1 volumes and 0 snapshots in recovered-{project[:12]}.",
        "Made rows for 2 backups.",
        f"To use them, source {folder / 'openrc'} and set OS_PROJECT_NAME=recovered-{project[:12]}.",
        f"Not managed, and left so; manage what you want: volume-{released}.",
        "The pool has 1 volumes and 1 snapshots.",
        "All is well.",
    ]
    assert (chunk.exists(), list((vault / "begun").iterdir())) == (False, [])
    with sqlite3.connect(folder / "openevs.db") as db:
        db.execute("DELETE FROM backup WHERE id = ?", (more,))
        db.execute("UPDATE backup SET vault_id = 'none' WHERE id = ?", (full,))
    status, said = openevs(folder, "doctor")
    for what, about in (("no row", more), ("no row", full), ("no storage", "none")):
        assert [line for line in said.splitlines() if line.startswith(what) and about in line], said
    lose_database(folder)
    assert "Made rows for 2 backups." in openevs(folder, "doctor", "--rebuild")[1]

    with served(folder, project) as service:
        found = {each["name"]: each for each in service.call("GET", "/backups/detail")["backups"]}
        assert {name: (each["id"], each["volume_id"], each["is_incremental"]) for name, each in found.items()} == {
            "full": (full, saved, False), "more": (more, saved, True),
        }  # fmt: skip
        third = service.backup(saved, "third", incremental=True)
        shown = service.call("GET", f"/backups/{third}")["backup"]
        assert (shown["is_incremental"], shown["status"]) == (True, "available")
        for backup_id, text in ((full, "past"), (more, "present"), (third, "present")):
            body: dict[str, Any] = {"restore": {"name": text}}
            made = service.call("POST", f"/backups/{backup_id}/restore", body)["restore"]["volume_id"]
            service.until("volume", made, "available")
            assert asyncio.run(read(service.attach(made)[1])) == block(text)
        body = {"host": "openevs@layers#layers", "ref": {"source-name": f"volume-{released}"}, "name": "managed"}
        managed = service.call("POST", "/os-volume-manage", {"volume": body})["volume"]["id"]
        service.until("volume", managed, "available")
        assert asyncio.run(read(service.attach(managed)[1])) == block("nobody's")
        assert service.call("GET", "/snapshots/detail")["snapshots"] == [], "frozen states of backups are no user's"
    with sqlite3.connect(folder / "openevs.db") as db:
        (read_bytes, base) = db.execute(
            "SELECT bytes_read, base_snapshot_id FROM backup WHERE id = ?", (third,)
        ).fetchone()
        assert (read_bytes, base is not None) == (0, True), "only what has changed was read"


def test_a_vault_that_cannot_be_used_does_not_keep_the_pool_from_being_looked_at(folder: Path) -> None:
    with served(folder) as service:
        service.volume("one")
    lose_database(folder)
    (folder / "openevs.toml").write_text(f'[backups]\nfolder = "{folder}/none"\n')
    status, said = openevs(folder, "doctor", "--rebuild", "--config", str(folder / "openevs.toml"))
    assert (status, "Made rows for 1 volumes" in said, "no vault" in said, "mount the disk" in said) == (
        1, True, True, True,
    ), said  # fmt: skip


def test_doctor_reads_backups_and_a_new_full_one_mends_them(folder: Path) -> None:
    def chunks() -> list[Path]:
        return [path for path in (folder / "backups" / "chunks").rglob("*") if path.is_file()]

    with served(folder) as service:
        volume = service.volume("saved")
        service.write(volume, "saved")
        backup = service.backup(volume, "saved")
    assert openevs(folder, "doctor", "--read-backups")[0] == 0
    damaged = max(chunks(), key=lambda path: path.stat().st_size)
    damaged.write_bytes(damaged.read_bytes()[:9])
    status, said = openevs(folder, "doctor", "--read-backups")
    assert (status, damaged.name in said, backup in said) == (1, True, True), said
    with served(folder) as service:
        service.backup(volume, "again")
    status, said = openevs(folder, "doctor", "--read-backups")
    assert status == 0, said


def test_doctor_names_everything_that_is_wrong(folder: Path) -> None:
    with served(folder) as service:
        lost, stuck, large, damaged = (service.volume(name) for name in ("lost", "stuck", "large", "damaged"))
    (folder / "pool" / "volumes" / f"{lost}.json").unlink()
    head = json.loads((folder / "pool" / "volumes" / f"{damaged}.json").read_text())["head"]
    with (folder / "pool" / "layers" / f"{head}.qcow2").open("r+b") as file:
        file.seek(3 << 17)  # the table that says where everything is, which is empty
        file.write(b"\x80" + b"\xff" * 4)
    unneeded = "99999999-9999-4999-8999-999999999999"
    (folder / "pool" / "layers" / f"{unneeded}.qcow2").touch()
    with sqlite3.connect(folder / "openevs.db") as db:
        db.execute("UPDATE volume SET status = 'extending' WHERE id = ?", (stuck,))
        db.execute("UPDATE volume SET size_gib = 9 WHERE id = ?", (large,))
    status, said = openevs(folder, "doctor")
    assert status == 1
    lines = said.splitlines()
    wrong = (
        ("no storage", lost),
        ("stuck", stuck),
        ("size", large),
        ("damage", head),
        ("damage", unneeded),
        ("usage", ""),
    )
    for what, about in wrong:
        assert [line for line in lines if line.startswith(what) and about in line], (what, said)
    other = folder / "other"
    shutil.copytree(folder / "pool", other / "pool", ignore=shutil.ignore_patterns("pool.json", "*.json"))
    (other / "pool" / "pool.json").write_text('{"pool_id":"another","format":1}')
    shutil.copy(folder / "openevs.db", other / "openevs.db")
    for words in (["serve", "--port", "0"], ["doctor", "--rebuild"]):
        status, said = openevs(other, *words)
        assert (status, "The database belongs to the pool" in said, "data.pool_folder" in said) == (1, True, True), said


def test_operations_are_listed_shown_and_made_due(folder: Path) -> None:
    assert "There is no database" in openevs(folder, "operation", "list")[1]
    with served(folder) as service:
        service.volume("one")
        status, said = openevs(folder, "operation", "list")
        (head, row) = said.splitlines()
        assert (status, head.split()[:3], "create_volume" in row, "succeeded" in row) == (
            0, ["ID", "KIND", "RESOURCE"], True, True,
        )  # fmt: skip
        operation_id = row.split()[0]
        shown = json.loads(openevs(folder, "operation", "show", operation_id)[1])
        assert (shown["kind"], shown["history"][0]["name"]) == ("create_volume", "create_volume.succeeded")
        assert len(openevs(folder, "operation", "list", "--open")[1].splitlines()) == 1, "the head"
        status, said = openevs(folder, "operation", "retry", operation_id)
        assert (status, "is succeeded; only a queued one" in said) == (1, True)
    with sqlite3.connect(folder / "openevs.db") as db:
        db.execute("UPDATE operation SET state = 'queued', finished_at = NULL, run_after = run_after + 3600000000")
    assert openevs(folder, "operation", "retry", operation_id)[0] == 0
    with sqlite3.connect(folder / "openevs.db") as db:
        assert db.execute("SELECT run_after <= (strftime('%s') + 1) * 1000000 FROM operation").fetchone() == (1,)
    assert "could not be found" in openevs(folder, "operation", "show", "nothing")[1]


def test_migrate(folder: Path) -> None:
    assert openevs(folder, "migrate")[1].endswith(f"from schema none to {SCHEMA}.\n")
    assert openevs(folder, "migrate")[1].endswith("already.\n")
    with sqlite3.connect(folder / "openevs.db") as db:
        db.execute("UPDATE alembic_version SET version_num = '9999'")
        db.execute("UPDATE setting SET value = '9999' WHERE name = 'schema_oldest_compatible'")
    for words in (["migrate"], ["serve", "--port", "0"], ["doctor"]):
        status, said = openevs(folder, *words)
        assert (status, "which needs an OpenEVS that knows schema 9999" in said) == (1, True), said


def test_engine_check(folder: Path) -> None:
    (folder / "pool").mkdir()
    words = ("engine", "check", "--only", "capacity", "--only", "calls_twice")
    status, said = openevs(folder, *words)
    assert status == 0, said
    assert re.search(r"^calls_twice +passed", said, re.MULTILINE)
    assert "All is well." in said
    assert list((folder / "pool").iterdir()) == [], "nothing is left"
    assert "There is no check nonsense" in openevs(folder, "engine", "check", "--only", "nonsense")[1]
