"""Copies of what a service keeps: put back, or run beside it. Nothing is destroyed, nor led to the wrong bytes."""

import asyncio
import re
import shutil
import sqlite3
from pathlib import Path

import pytest

from openevs.demo.service import end_daemons
from tests.commands.serving import block, openevs, read, served, stored, write

pytestmark = pytest.mark.skipif(shutil.which("qemu-storage-daemon") is None, reason="needs QEMU")


def keep(folder: Path, name: str) -> Path:
    """Put a copy of the database or of the pool aside, as a backup at night does."""
    copy = folder / f"{name}.old"
    if name == "pool":
        shutil.copytree(folder / name, copy)
    else:
        with sqlite3.connect(folder / name) as db, sqlite3.connect(copy) as to:
            db.backup(to)
    return copy


def put_back(copy: Path) -> None:
    for path in copy.parent.glob(f"{copy.stem}*"):
        if path != copy:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    copy.rename(copy.with_suffix(""))


def begin_again(folder: Path, kind: str, statuses: dict[str, str]) -> None:
    """Make a finished operation one that goes on, as it is in a copy that was made meanwhile."""
    with sqlite3.connect(folder) as db:
        (operation,) = db.execute("SELECT id FROM operation WHERE kind = ?", (kind,)).fetchone()
        db.execute("UPDATE operation SET state = 'queued', finished_at = NULL, step = 0 WHERE id = ?", (operation,))
        for key, status in statuses.items():
            table = status.split()[0]
            db.execute(f"UPDATE {table} SET status = ? WHERE id = ?", (status.split()[1], key))  # noqa: S608
            db.execute("INSERT INTO operation_claim VALUES (?, ?, ?)", (table, key, operation))


def test_a_database_of_yesterday_over_the_pool_of_today_destroys_nothing(folder: Path) -> None:
    with served(folder) as service:
        restored, attached, detached, deleted = (service.volume(each) for each in ("one", "two", "three", "four"))
        service.write(restored, "backed up")
        backup = service.backup(restored, "full")
        service.call("POST", f"/backups/{backup}/restore", {"restore": {"volume_id": restored}})
        service.until("volume", restored, "available")
        attachment, _ = service.attach(detached)
    yesterday = keep(folder, "openevs.db")
    begin_again(yesterday, "restore_backup", {restored: "volume restoring-backup", backup: "backup restoring"})
    with served(folder) as service:
        service.write(restored, "today")
        service.call("DELETE", f"/attachments/{attachment}")
        service.until("volume", detached, "available")
        _, uri = service.attach(attached)
        asyncio.run(write(uri, "today"))
        new = service.volume("five")
        service.write(new, "new")
        taken = service.snapshot("six", new)
        service.call("POST", f"/volumes/{new}/action", {"os-extend": {"new_size": 2}})
        service.until("volume", new, "available")
        service.call("POST", f"/volumes/{restored}/action", {"os-extend": {"new_size": 3}})
        service.until("volume", restored, "available")
        service.call("DELETE", f"/volumes/{deleted}")
        service.until_gone(deleted)
    put_back(yesterday)

    status, said = openevs(folder, "serve", "--port", "0")
    assert (status, "The database is older than the pool" in said, "doctor --rebuild" in said) == (1, True, True), said
    status, said = openevs(folder, "doctor")
    for what, about in (
        ("old copy", "older than the pool"),
        ("no row", new),
        ("no row", taken),
        ("no storage", deleted),
    ):
        assert [line for line in said.splitlines() if line.startswith(what) and about in line], said
    status, said = openevs(folder, "doctor", "--rebuild")
    assert said.splitlines()[:2] == [
        "Made rows for 1 volumes and 1 snapshots in demo.",
        "Ended 1 operations, as failed: what had become of them is not known.",
    ]
    findings = [line.split("  ")[0] for line in said.splitlines() if line.split()[-1:] == ["pool"]]
    assert (status, findings) == (1, ["no storage"]), said

    with served(folder) as service:
        volumes = {each["id"]: each for each in service.call("GET", "/volumes/detail")["volumes"]}
        assert {key: (each["status"], each["size"]) for key, each in volumes.items()} == {
            restored: ("error_restoring", 3), attached: ("in-use", 1), detached: ("available", 1),
            deleted: ("available", 1), new: ("available", 2),
        }  # fmt: skip
        assert asyncio.run(read(uri)) == block("today"), "its client was not cut off"
        (shown,) = service.call("GET", f"/attachments?volume_id={attached}")["attachments"]
        service.call("DELETE", f"/attachments/{shown['id']}")
        service.until("volume", attached, "available")
        asyncio.run(write(service.attach(detached)[1], "again"))
        service.call("DELETE", f"/volumes/{deleted}")
    assert asyncio.run(stored(folder, restored, attached, new)) == [block("today"), block("today"), block("new")]
    assert openevs(folder, "doctor")[0] == 0


def test_a_pool_of_yesterday_under_the_database_of_today_destroys_nothing(folder: Path) -> None:
    with served(folder) as service:
        deleted, kept = service.volume("deleted"), service.volume("kept")
        service.write(deleted, "yesterday")
    yesterday = keep(folder, "pool")
    with served(folder) as service:
        service.call("DELETE", f"/volumes/{deleted}")
        new = service.volume("new")
        service.until_gone(deleted)
    put_back(yesterday)

    status, said = openevs(folder, "serve", "--port", "0")
    assert (status, "is older than the database" in said, "doctor --rebuild" in said) == (1, True, True), said
    status, said = openevs(folder, "doctor")
    assert [line for line in said.splitlines() if line.startswith("no row") and deleted in line], said
    status, said = openevs(folder, "doctor", "--rebuild")
    assert (status, "Made rows for 1 volumes and 0 snapshots in demo." in said, new in said) == (1, True, True), said
    with served(folder) as service:
        volumes = {each["id"]: each["name"] for each in service.call("GET", "/volumes/detail")["volumes"]}
        assert volumes == {deleted: "deleted", kept: "kept", new: "new"}
        assert asyncio.run(read(service.attach(deleted)[1])) == block("yesterday")
        service.call("DELETE", f"/volumes/{new}")
    assert openevs(folder, "doctor")[0] == 0


def test_a_copied_data_folder_leads_to_its_own_bytes(folder: Path) -> None:
    with served(folder) as service:
        project = service.project_id
        volume = service.volume("one")
        attachment, uri = service.attach(volume)
        asyncio.run(write(uri, "original"))
    copy = folder / "copy"
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("run", "copy"))
    try:
        with served(copy, project) as service:
            found = service.call("GET", f"/attachments/{attachment}")["attachment"]["connection_info"]
            assert found["socket_path"].startswith(str(copy))
            assert (found["access_mode"], found["qos_specs"]) == ("rw", None)
            asyncio.run(write(found["uri"], "copied"))
    finally:
        end_daemons(copy / "run")
    assert asyncio.run(read(uri)) == block("original")


def test_a_pool_that_is_served_elsewhere_is_not_served(folder: Path) -> None:
    """Its clients write to the other place: orders would go there too, and what they wrote be missing here."""
    with served(folder) as service:
        volume = service.volume("one")
        _, uri = service.attach(volume)
    moved = folder / "moved"
    shutil.copytree(folder / "pool", moved)
    asyncio.run(write(uri, "after it was copied"))
    (folder / "openevs.toml").write_text(f'[data]\npool_folder = "{moved}"\n')
    other = ("--config", str(folder / "openevs.toml"))
    for words in (["serve", "--port", "0", *other], ["doctor", *other]):
        status, said = openevs(folder, *words)
        assert status == 1
        assert "storage daemons serve volumes of this pool from another folder" in said
        assert re.search(rf"pid \d+: {folder}/pool/layers", said), said
    end_daemons(folder / "run")
    shutil.rmtree(moved)
    (folder / "pool").rename(moved)
    with served(folder, config=folder / "openevs.toml") as service:
        assert asyncio.run(read(uri)) == block("after it was copied")


def test_another_run_folder_than_that_of_the_daemons_is_named(folder: Path) -> None:
    with served(folder) as service:
        _, uri = service.attach(service.volume("one"))
    (folder / "openevs.toml").write_text(f'[data]\nrun_folder = "{folder}/other"\n')
    for words in (["serve", "--port", "0"], ["doctor"]):
        status, said = openevs(folder, *words, "--config", str(folder / "openevs.toml"))
        assert (status, "from another run folder" in said, f"{folder}/run" in said) == (1, True, True), said
    asyncio.run(write(uri, "served on"))
    # A pool that was moved within its file system is the same one.
    (folder / "pool").rename(folder / "moved")
    (folder / "openevs.toml").write_text(f'[data]\npool_folder = "{folder}/moved"\n')
    assert openevs(folder, "doctor", "--config", str(folder / "openevs.toml"))[0] == 0
    assert asyncio.run(read(uri)) == block("served on")


def test_two_copies_of_a_pool_do_not_share_a_run_folder(folder: Path) -> None:
    with served(folder) as service:
        service.volume("one")
    copy = folder / "copy"
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("run", "copy"))
    (folder / "openevs.toml").write_text(f'[data]\nrun_folder = "{folder}/run"\n')
    with served(folder):
        status, said = openevs(copy, "serve", "--port", "0", "--config", str(folder / "openevs.toml"))
    assert (status, "a run folder of its own (data.run_folder)" in said) == (1, True), said
