"""What every test has: a folder with a short path, since the path of a unix socket has at most 107 bytes."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder of the test's own, removed after it: the disk is not the tests' to fill."""
    folder = Path(tempfile.mkdtemp(prefix="evs-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
