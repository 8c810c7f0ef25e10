"""What tests of operations share."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def quick_folder() -> Iterator[Path]:
    """Yield an empty folder with a short path, for sockets; in memory where that can be had, since a crash here is not
    one of the machine, and these tests would do little else than wait for a disk."""
    memory = Path("/dev/shm")  # noqa: S108
    path = Path(tempfile.mkdtemp(prefix="evs-", dir=memory if memory.is_dir() else None))
    try:
        yield path
    finally:
        shutil.rmtree(path)


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """As everywhere, but quick."""
    with quick_folder() as path:
        yield path
