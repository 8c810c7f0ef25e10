"""Objects as files in a folder, on any file system.

lock            held (flock) by the one process that uses the folder
tmp/            files that are being written
everything else an object's name is its path

A file is written beside the others, fsynced, and then renamed: what has a name is whole. `settle` fsyncs the folders.
"""

import errno
import fcntl
import itertools
import os
import stat
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from openevs.vault.errors import Broken, NoSpace, Transient, VaultError

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_PASSING: Final = frozenset({errno.EINTR, errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EBUSY})


class FolderStore:
    """An `ObjectStore` on one folder."""

    kind = "folder"

    def __init__(self, folder: Path, *, make: bool = False) -> None:
        """With `make` the folder is made if it is not there; otherwise that is taken for a disk that is not mounted."""
        self._folder = folder.absolute()
        self._make = make
        self._lock: int | None = None
        self._numbers = itertools.count()
        self._changed: set[Path] = set()
        self._guard = threading.Lock()

    @property
    def location(self) -> str:
        return str(self._folder)

    def open(self) -> None:
        with self._guard, _translated(self._folder):
            if self._lock is not None:
                return
            if self._make:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            elif not self._folder.is_dir():
                raise Broken(
                    f"there is no folder {self._folder} for backups: create it, or mount the disk that holds it"
                )
            lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                raise Broken(f"another process keeps backups in {self._folder}: stop it first") from None
            except BaseException:
                os.close(lock)
                raise
            self._lock = lock
            (self._folder / "tmp").mkdir(mode=0o700, exist_ok=True)
            for left in (self._folder / "tmp").iterdir():
                left.unlink(missing_ok=True)

    def close(self) -> None:
        with self._guard:
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    def head(self, name: str) -> int | None:
        with _translated(self._folder):
            try:
                found = (self._folder / name).stat()
            except (FileNotFoundError, NotADirectoryError):
                return None
            return found.st_size if stat.S_ISREG(found.st_mode) else None

    def put(self, name: str, data: bytes) -> None:
        path = self._folder / name
        with _translated(self._folder):
            unfinished = self._folder / "tmp" / f"{next(self._numbers)}"
            try:
                _write(unfinished, data)
                try:
                    unfinished.rename(path)
                except FileNotFoundError:
                    self._make_folders(path.parent)
                    unfinished.rename(path)
            except BaseException:
                with suppress(OSError):
                    unfinished.unlink(missing_ok=True)
                raise
            with self._guard:
                self._changed.add(path.parent)

    def get(self, name: str) -> bytes | None:
        with _translated(self._folder):
            try:
                return (self._folder / name).read_bytes()
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                return None

    def delete(self, names: Sequence[str]) -> None:
        with _translated(self._folder):
            for name in names:
                path = self._folder / name
                with suppress(FileNotFoundError, NotADirectoryError):
                    path.unlink()
                    with self._guard:
                        self._changed.add(path.parent)

    def list(self, prefix: str) -> Iterator[str]:
        with _translated(self._folder):
            for folder, _, files in os.walk(self._folder / prefix):
                for file in files:
                    yield (Path(folder) / file).relative_to(self._folder).as_posix()

    def settle(self) -> None:
        with self._guard:
            changed, self._changed = self._changed, set()
        try:
            with _translated(self._folder):
                for folder in changed:
                    _sync_folder(folder)
        except BaseException:
            with self._guard:
                self._changed |= changed
            raise

    def _make_folders(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._guard:
            while folder != self._folder:
                folder = folder.parent
                self._changed.add(folder)


def _write(path: Path, data: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(file, view) :]
        os.fsync(file)
    finally:
        os.close(file)


def _sync_folder(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


@contextmanager
def _translated(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _translate(error, folder) from error


def _translate(error: OSError, folder: Path) -> VaultError:
    if error.errno in _FULL:
        return NoSpace(f"there is no room left for backups in {folder}")
    reason = f"backups in {folder}: {error.strerror or error}"
    return Transient(reason) if error.errno in _PASSING else Broken(reason)
