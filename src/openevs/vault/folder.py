"""Objects as files in a folder, on any file system.

lock            held (flock) by the one process that uses the folder
tmp/            files that are being written
ended/          made at once, so that a note in it takes no room when there is none
everything else an object's name is its path

A file is written beside the others, fsynced, and then renamed: what has a name is whole. `settle` fsyncs the folders:
those that were changed, and those in which something was found, for an earlier process may have been killed between a
rename and its own `settle`, and what it stored is relied on all the same.
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

from openevs import durable
from openevs.vault.errors import Broken, Damaged, NoSpace, Transient, VaultError
from openevs.vault.objects import LARGEST_BYTES

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
        self._settled: set[Path] = set()
        """Folders whose own names, and all that an earlier process did in them, are on stable storage."""
        self._guard = threading.Lock()
        self._settling = threading.Lock()
        """Held while folders are fsynced: who finds nothing left to do waits for who does it."""

    @property
    def location(self) -> str:
        return str(self._folder)

    def open(self) -> None:
        with self._guard, _translated(self._folder):
            if self._lock is not None:
                return
            if self._make:
                durable.make_folder(self._folder)
            elif not self._folder.is_dir():
                raise Broken(
                    f"there is no folder {self._folder} for backups: create it, or mount the disk that holds it"
                )
            lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                _lock(lock, self._folder)
                (self._folder / "tmp").mkdir(mode=0o700, exist_ok=True)
                with suppress(OSError):  # a full disk: there is none yet only if no backup was ever deleted
                    (self._folder / "ended").mkdir(mode=0o700, exist_ok=True)
                for left in (self._folder / "tmp").iterdir():
                    left.unlink(missing_ok=True)
            except BaseException:
                os.close(lock)
                raise
            self._lock = lock

    def close(self) -> None:
        with self._guard:
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    def head(self, name: str) -> int | None:
        path = self._folder / name
        with _translated(self._folder):
            try:
                found = path.stat()
            except (FileNotFoundError, NotADirectoryError):
                return None
            self._note(path.parent)
            return found.st_size if stat.S_ISREG(found.st_mode) else None

    def put(self, name: str, data: bytes) -> None:
        path = self._folder / name
        with _translated(self._folder):
            unfinished = self._folder / "tmp" / f"{next(self._numbers)}"
            try:
                durable.write_file(unfinished, data, cached=False)
                try:
                    unfinished.rename(path)
                except FileNotFoundError:
                    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                    unfinished.rename(path)
            except BaseException:
                with suppress(OSError):
                    unfinished.unlink(missing_ok=True)
                raise
            self._note(path.parent, changed=True)

    def copy(self, name: str, to: str) -> None:
        source, path = self._folder / name, self._folder / to
        try:
            with suppress(FileExistsError):
                path.hardlink_to(source)
        except OSError as error:
            if (data := self.get(name)) is None:
                raise _translate(error, self._folder) from error
            self.put(to, data)  # the folder is not there yet, or this file system has no second names
        self._note(path.parent, changed=True)

    def get(self, name: str) -> bytes | None:
        path = self._folder / name
        with _translated(self._folder):
            try:
                with path.open("rb") as file:
                    data = file.read(LARGEST_BYTES + 1)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                return None
        if len(data) > LARGEST_BYTES:
            raise Damaged(f"{path} is larger than anything that a vault keeps")
        self._note(path.parent)
        return data

    def delete(self, names: Sequence[str]) -> None:
        with _translated(self._folder):
            for name in names:
                path = self._folder / name
                with suppress(FileNotFoundError, NotADirectoryError):
                    path.unlink()
                    self._note(path.parent, changed=True)

    def list(self, prefix: str) -> Iterator[str]:
        with _translated(self._folder):
            # Without `onerror` a folder that cannot be read just now would look like an empty one.
            for folder, _, files in os.walk(self._folder / prefix, onerror=_raise_unless_absent):
                for file in files:
                    yield (Path(folder) / file).relative_to(self._folder).as_posix()

    def settle(self) -> None:
        with self._settling:
            with self._guard:
                changed, self._changed = self._changed, set()
            try:
                with _translated(self._folder):
                    for folder in changed:
                        durable.sync_folder(folder)
            except BaseException:
                with self._guard:
                    self._changed |= changed
                raise
            with self._guard:
                self._settled |= changed

    def _note(self, folder: Path, *, changed: bool = False) -> None:
        """See that `settle` makes what is in the folder last, and the folder itself."""
        with self._guard:
            if changed:
                self._changed.add(folder)
            for each in (folder, *folder.parents):
                if each in self._settled:
                    return
                self._changed.add(each)
                if each == self._folder:
                    return


def _lock(file: int, folder: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Broken(f"another process keeps backups in {folder}: stop it first") from None


def _raise_unless_absent(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


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
