"""Files that are still there after the power has failed: the few calls that this takes, for whoever keeps files.

A file's bytes last when the file is fsynced, and its name when its folder is. All of it blocks, and raises OSError.
"""

import os
from pathlib import Path


def write_file(path: Path, data: bytes, *, cached: bool = True) -> None:
    """Make the file hold exactly `data`, which lasts; its name may not yet. What is hardly read again soon (`cached` is
    False) takes no memory that others could use."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(file, view) :]
        os.fsync(file)
        if not cached:
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(file)


def replace_file(path: Path, data: bytes) -> None:
    """Put `data` at `path`, wholly or not at all. After an error the old file stands, unless what failed was to make
    the new one's name last."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        write_file(temporary, data)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def make_folder(path: Path) -> None:
    """Make the folder, and those above it that are missing, unless it is there. Only we may look into it."""
    if not path.is_dir():
        if not path.parent.is_dir():
            make_folder(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)
        sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """Make what was written to the file last."""
    _sync(path, os.O_RDONLY | os.O_CLOEXEC)


def sync_folder(path: Path) -> None:
    """Make what was created, renamed or removed in the folder last."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _sync(path: Path, flags: int) -> None:
    opened = os.open(path, flags)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
