"""Engines on which the concurrency tests run: one in memory, and the real one."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from openevs.engine.layers.engine import LayersEngine
from openevs.engine.port import Engine
from openevs.testing.exporting import ExportingMemoryEngine, ExportingMemoryStorage

MakeEngine = Callable[[], Engine]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A data folder; its path is short, for a unix socket's may have 107 bytes only."""
    path = Path(tempfile.mkdtemp(prefix="ec-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(params=["memory", "layers"])
def make_engine(request: pytest.FixtureRequest, folder: Path) -> MakeEngine:
    """A function that makes an engine in `folder`."""

    def make() -> Engine:
        if request.param == "memory":
            return ExportingMemoryEngine(ExportingMemoryStorage(folder))
        (folder / "pool").mkdir(exist_ok=True)
        return LayersEngine(folder / "pool", folder / "run")

    return make
