"""What every object store must do, run on a folder and on a real S3 server."""

import os
import socket
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from openevs import durable
from openevs.vault.errors import Broken, Damaged, NoSpace, Transient
from openevs.vault.folder import FolderStore
from openevs.vault.objects import LARGEST_BYTES, ObjectStore
from tests.vault.s3_server import SECRET_KEY, bucket


@pytest.fixture(params=["folder", "s3"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], ObjectStore]:
    """Make a store on the same place each time."""
    if request.param == "folder":
        return lambda: FolderStore(tmp_path / "store", make=True)
    endpoint, prefix = request.getfixturevalue("endpoint"), f"{uuid.uuid4()}/"
    return lambda: bucket(endpoint, prefix)


def test_life_of_an_object(make: Callable[[], ObjectStore]) -> None:
    store = make()
    store.open()
    store.open()
    assert store.kind in store.location or store.kind == "folder" or "127.0.0.1" in store.location
    assert store.get("chunks/ab/abc") is None
    assert store.head("chunks/ab/abc") is None
    assert store.get("chunks") is None
    assert list(store.list("chunks/")) == []
    for data in (b"", b"x", os.urandom(3 << 20)):
        store.put("chunks/ab/abc", data)
        assert store.get("chunks/ab/abc") == data
        assert store.head("chunks/ab/abc") == len(data)
    store.put("chunks/cd/cde", b"other")
    store.put("backups/0-1", b"index")
    for _ in range(2):
        store.copy("backups/0-1", "ended/0-1")
    assert store.head("chunks/ab") is None
    assert sorted(store.list("chunks/")) == ["chunks/ab/abc", "chunks/cd/cde"]
    assert list(store.list("backups/")) == ["backups/0-1"]
    store.settle()
    store.close()
    store.close()

    store = make()
    store.open()
    assert store.get("chunks/cd/cde") == b"other"
    store.delete(["chunks/cd/cde", "chunks/ef/none", "backups/0-1"])
    store.delete(["chunks/cd/cde"])
    store.settle()
    assert list(store.list("chunks/")) == ["chunks/ab/abc"]
    assert list(store.list("backups/")) == []
    assert store.get("ended/0-1") == b"index"
    store.close()


def test_many_objects_are_listed(make: Callable[[], ObjectStore]) -> None:
    store = make()
    store.open()
    names = {f"chunks/{number:04x}"[:9] + f"/{number:04x}" for number in range(1100)}
    for name in names:
        store.put(name, b"1")
    assert set(store.list("chunks/")) == names
    store.close()


def test_bucket_that_cannot_be_used(endpoint: str) -> None:
    cases = [
        bucket(endpoint, "p/", secret="not-this-one"),
        bucket(endpoint, "p/", name="nobodys"),
        bucket(endpoint, "p/", name=""),
    ]
    for store in cases:
        with pytest.raises(Broken) as caught:
            store.open()
        assert "backups.s3" in caught.value.reason
        assert SECRET_KEY not in caught.value.reason
    with pytest.raises(Broken):
        bucket("not a url", "p/").open()


def test_store_that_does_not_answer() -> None:
    with pytest.raises(Transient):
        bucket("http://127.0.0.1:9", "p/").open()


def test_folder_is_one_process_s(tmp_path: Path) -> None:
    first, second = FolderStore(tmp_path / "f", make=True), FolderStore(tmp_path / "f")
    first.open()
    with pytest.raises(Broken, match="another process"):
        second.open()
    first.close()
    second.open()
    second.close()


def test_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(Broken, match="mount the disk"):
        FolderStore(tmp_path / "none").open()


def test_unfinished_files_are_removed(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp" / "7").write_bytes(b"half")
    store = FolderStore(tmp_path)
    store.open()
    assert list((tmp_path / "tmp").iterdir()) == []
    store.close()


def test_full_disk(tmp_path: Path) -> None:
    """/dev/full answers every write with ENOSPC."""
    store = FolderStore(tmp_path)
    store.open()
    (tmp_path / "tmp" / "0").symlink_to("/dev/full")
    with pytest.raises(NoSpace):
        store.put("chunks/ab/abc", b"x")
    assert list((tmp_path / "tmp").iterdir()) == []
    assert store.head("chunks/ab/abc") is None
    store.put("chunks/ab/abc", b"x")
    (tmp_path / "tmp" / "2").symlink_to("/dev/full")
    store.copy("chunks/ab/abc", "ended/abc")  # what is removed to make room is noted first
    store.delete(["chunks/ab/abc"])
    assert store.get("ended/abc") == b"x"
    store.close()


def test_a_folder_that_could_not_be_opened_can_be_opened_later(tmp_path: Path) -> None:
    """On a full disk the first try finds no room for the folder `tmp`."""
    store = FolderStore(tmp_path)
    (tmp_path / "tmp").touch()
    with pytest.raises(Broken):
        store.open()
    (tmp_path / "tmp").unlink()
    store.open()
    store.put("chunks/ab/abc", b"x")
    store.close()


def synced(monkeypatch: pytest.MonkeyPatch) -> set[Path]:
    """Give the set of folders that are fsynced from now on."""
    found: set[Path] = set()
    sync = durable.sync_folder

    def watched(path: Path) -> None:
        sync(path)
        found.add(path)

    monkeypatch.setattr(durable, "sync_folder", watched)
    return found


def test_what_a_killed_process_had_stored_lasts_when_it_is_relied_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = FolderStore(tmp_path / "a" / "store", make=True)
    killed.open()
    killed.put("chunks/ab/abc", b"x")
    killed.put("backups/one", b"x")
    killed.close()

    store, folders = FolderStore(tmp_path / "a" / "store"), synced(monkeypatch)
    store.open()
    assert store.head("chunks/ab/abc") == 1
    store.settle()
    assert folders == {tmp_path / "a" / "store" / name for name in ("", "chunks", "chunks/ab")}
    folders.clear()
    assert store.get("backups/one") == b"x"
    assert store.get("backups/two") is None
    store.settle()
    assert folders == {tmp_path / "a" / "store" / "backups"}
    folders.clear()
    assert store.head("chunks/ab/abc") == 1
    store.settle()
    assert folders == set(), "once is enough"
    store.put("chunks/ab/abd", b"x")
    store.settle()
    assert folders == {tmp_path / "a" / "store" / "chunks/ab"}
    store.close()


def test_a_folder_that_is_made_lasts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = synced(monkeypatch)
    store = FolderStore(tmp_path / "a" / "b", make=True)
    store.open()
    assert folders == {tmp_path, tmp_path / "a"}
    store.close()


def test_who_has_nothing_left_to_settle_waits_for_who_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, syncing, go_on = FolderStore(tmp_path), threading.Event(), threading.Event()
    store.open()
    store.put("chunks/ab/abc", b"x")

    def slow(_: Path) -> None:
        syncing.set()
        assert go_on.wait(10)

    monkeypatch.setattr(durable, "sync_folder", slow)
    one, other = threading.Thread(target=store.settle), threading.Thread(target=store.settle)
    one.start()
    assert syncing.wait(10)
    other.start()
    other.join(0.2)
    assert other.is_alive(), "what it had stored is not on stable storage yet"
    go_on.set()
    one.join(10)
    other.join(10)
    assert not other.is_alive()
    store.close()


def test_a_folder_that_cannot_be_listed_is_not_an_empty_one(tmp_path: Path) -> None:
    """Else everything would look like what no backup needs."""
    store = FolderStore(tmp_path)
    store.open()
    store.put("backups/one", b"x")
    (tmp_path / "backups").rename(tmp_path / "aside")
    (tmp_path / "backups").symlink_to("backups")  # leads nowhere but to itself
    with pytest.raises(Broken):
        list(store.list("backups/"))
    (tmp_path / "backups").unlink()
    (tmp_path / "aside").rename(tmp_path / "backups")
    assert list(store.list("backups/")) == ["backups/one"]
    store.close()


def test_an_object_that_is_too_large_is_not_taken(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.open()
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(Damaged, match="larger"):
        store.get("huge")
    store.close()


def answers_once_with(answer: bytes) -> str:
    """Return the endpoint of a server that answers a listing, then each request with `answer`, and hangs up."""
    listing = b"<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>"
    answers = [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(listing), listing)]
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            client, _ = server.accept()
            with client:
                client.recv(1 << 16)
                client.sendall(answers.pop() if answers else answer)

    threading.Thread(target=serve, daemon=True).start()
    return f"http://127.0.0.1:{server.getsockname()[1]}"


def test_an_answer_that_ends_half_way_is_asked_for_again() -> None:
    store = bucket(answers_once_with(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf"), "p/")
    store.open()
    with pytest.raises(Transient):
        store.get("backups/one")
    huge = bucket(answers_once_with(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (LARGEST_BYTES + 1)), "p/")
    huge.open()
    with pytest.raises(Damaged, match="larger"):
        huge.get("backups/one")
