"""What every object store must do, run on a folder and on a real S3 server."""

import os
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from openevs.vault.errors import Broken, NoSpace, Transient
from openevs.vault.folder import FolderStore
from openevs.vault.objects import ObjectStore
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
    store.close()
