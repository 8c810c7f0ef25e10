"""What tests of engines share."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """An empty folder with a short path. `tmp_path` has the test's name in it, and may be too long for a unix socket,
    whose path has at most 107 bytes."""
    path = Path(tempfile.mkdtemp(prefix="evs-"))
    yield path
    shutil.rmtree(path)
