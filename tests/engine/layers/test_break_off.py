"""A merge that is broken off leaves nothing, at whatever moment: a thread goes on when its caller is cancelled."""

import asyncio
import time
from pathlib import Path

import pytest

from openevs.domain.ids import GIB, SnapshotId, VolumeId
from openevs.engine.layers.daemon import Daemon
from openevs.engine.layers.engine import LayersEngine
from openevs.engine.layers.graph import LayerId
from openevs.engine.layers.pool import Pool
from openevs.engine.port import ExportSpec, SnapshotSpec, VolumeSpec

VOLUME = VolumeId("11111111-1111-4111-8111-111111111111")
SNAPSHOT = SnapshotId("22222222-2222-4222-8222-222222222222")


def test_a_merge_broken_off_while_its_layer_is_made_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, started = Pool.create_on, []

    def slowly(self: Pool, layer: LayerId, parent: LayerId) -> None:
        started.append(layer)
        time.sleep(0.3)
        create(self, layer, parent)

    async def merge_and_attach() -> list[str]:
        (tmp_path / "pool").mkdir()
        engine = LayersEngine(tmp_path / "pool", tmp_path / "run")
        await engine.open()
        try:
            await engine.ensure_volume(VolumeSpec(VOLUME, GIB))
            await engine.ensure_snapshot(SnapshotSpec(SNAPSHOT, VOLUME))
            monkeypatch.setattr(Pool, "create_on", slowly)
            await engine.ensure_no_snapshot(SNAPSHOT)
            while not started:  # noqa: ASYNC110 - a thread rings no bell of this loop
                await asyncio.sleep(0.01)
            await engine.ensure_export(ExportSpec(VOLUME))
            await asyncio.sleep(0.5)
            return [layer for layer in started if (tmp_path / "pool" / "layers" / f"{layer}.qcow2").exists()]
        finally:
            await engine.ensure_no_export(VOLUME)
            await engine.close()

    assert asyncio.run(merge_and_attach()) == []


def test_a_merge_broken_off_while_it_cleans_up_leaves_no_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill, ending = Daemon.kill, asyncio.Event()

    async def slowly(self: Daemon) -> None:
        ending.set()
        await asyncio.sleep(0.3)
        await kill(self)

    async def merge_and_attach() -> list[str]:
        (tmp_path / "pool").mkdir()
        engine = LayersEngine(tmp_path / "pool", tmp_path / "run")
        await engine.open()
        try:
            await engine.ensure_volume(VolumeSpec(VOLUME, GIB))
            await engine.ensure_snapshot(SnapshotSpec(SNAPSHOT, VOLUME))
            with monkeypatch.context() as patch:
                patch.setattr(Daemon, "kill", slowly)
                await engine.ensure_no_snapshot(SNAPSHOT)
                await asyncio.wait_for(ending.wait(), 10)
                await engine.ensure_snapshot(SnapshotSpec(SNAPSHOT, VOLUME))
            await engine.settle()  # the merge has been begun again, and ends
            return [path.name for path in (tmp_path / "run").iterdir() if path.suffix != ".lock"]
        finally:
            await engine.close()

    assert asyncio.run(merge_and_attach()) == []
