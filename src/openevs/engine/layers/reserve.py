"""Room that a full pool still has, so that what makes room can be committed.

To delete and to detach is to write a manifest, beside the old one, whose place it then takes. On a full file system
there is no room for that, and nobody could make any. So a pool keeps a file in reserve. When there is no room, that is
written over, where its blocks are, and takes the old manifest's place; the old one is the reserve then. No block is
free in between: guests that write would have it at once.
"""

import contextlib
import errno
import os
import threading
from pathlib import Path
from typing import Final

from openevs import durable

_BYTES: Final = 1 << 20
"""Manifests of volumes with a thousand snapshots are smaller."""
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class Reserve:
    """The reserve of one pool. Blocking; methods raise OSError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._next = path.with_name(f".{path.name}.tmp")
        self._is_whole = False
        self._lock = threading.Lock()

    def open(self) -> None:
        """Make the reserve, as far as there is room."""
        with self._lock:
            self._next.unlink(missing_ok=True)
            # Whatever happened to an earlier process: what has another name too is not written over.
            if self._path.exists() and self._path.stat().st_nlink > 1:
                self._path.unlink()
            self._fill()

    def replace_file(self, path: Path, data: bytes) -> None:
        """As `durable.replace_file`, also when there is no room."""
        try:
            durable.replace_file(path, data)
        except OSError as error:
            if error.errno not in _FULL or not self._path.exists():
                raise
            with self._lock:
                self._put(path, data)
                self._fill()
        else:
            if not self._is_whole:
                with self._lock:
                    self._fill()

    def _put(self, path: Path, data: bytes) -> None:
        self._is_whole = False
        file = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            view, at = memoryview(data), 0
            while at < len(data):
                at += os.pwrite(file, view[at:], at)
            os.ftruncate(file, len(data))
            os.fsync(file)
        finally:
            os.close(file)
        self._next.unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):  # a new volume's
            os.link(path, self._next)
        self._path.rename(path)
        durable.sync_folder(path.parent)
        # Not before: the old manifest would be written over while a power failure could bring it back.
        if self._next.exists():
            self._next.rename(self._path)

    def _fill(self) -> None:
        with contextlib.suppress(OSError):  # what there is of it stays; the next one that finds room has the rest
            file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(file, 0, _BYTES)
                self._is_whole = True
            finally:
                os.close(file)
