"""What the tests of commands share."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from openevs.demo.service import end_daemons


@pytest.fixture
def folder() -> Iterator[Path]:
    """A data folder with a short path, for sockets. What is left attached is not served after the test."""
    path = Path(tempfile.mkdtemp(prefix="evs-"))
    yield path
    end_daemons(path / "run")
    shutil.rmtree(path)
