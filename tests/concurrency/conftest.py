"""Engines on which the concurrency tests run: one in memory, and the real one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from openevs.engine.layers.engine import LayersEngine
from openevs.engine.port import Engine
from openevs.testing.exporting import ExportingMemoryEngine, ExportingMemoryStorage

MakeEngine = Callable[[], Engine]


@pytest.fixture(params=["memory", "layers"])
def make_engine(request: pytest.FixtureRequest, tmp_path: Path) -> MakeEngine:
    """A function that makes an engine in `tmp_path`."""

    def make() -> Engine:
        if request.param == "memory":
            return ExportingMemoryEngine(ExportingMemoryStorage(tmp_path))
        (tmp_path / "pool").mkdir(exist_ok=True)
        return LayersEngine(tmp_path / "pool", tmp_path / "run")

    return make
