"""One real service for all clients: its own process, real volumes."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from openevs.demo.service import Service


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    """A running service; its folder has a short path, since unix sockets need one."""
    folder = Path(tempfile.mkdtemp(prefix="evs-"))
    try:
        with Service(folder) as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)
