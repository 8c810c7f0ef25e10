"""What tests of the store share."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """An empty folder with a short path, for sockets."""
    path = Path(tempfile.mkdtemp(prefix="evs-"))
    yield path
    shutil.rmtree(path)
