"""The conformance suite's checks of groups, limits and several clients: engines with one mistake each."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from openevs.domain.ids import VolumeId
from openevs.engine.port import UNTHROTTLED, ExportFacts, ExportSpec, Limits, SnapshotFacts, SnapshotSpec
from openevs.testing.conformance import ExportBench
from openevs.testing.conformance.groups import faults_of_group
from openevs.testing.exporting import ExportingMemoryEngine, ExportingMemoryStorage
from openevs.testing.nbd_server import NbdServer
from openevs.testing.pace import Pace
from tests.engine.mistakes import WrongExportingEngine, expect_found


class OneAfterTheOther(WrongExportingEngine):
    async def ensure_group_snapshot(self, specs: Sequence[SnapshotSpec]) -> Sequence[SnapshotFacts]:
        for spec in specs:
            await self.ensure_snapshot(spec)
            await asyncio.sleep(0.002)
        together = frozenset(spec.snapshot_id for spec in specs)
        kept = self.storage.memory.snapshots
        for spec in specs:
            kept[spec.snapshot_id] = replace(kept[spec.snapshot_id], together=together)
        return await super().ensure_group_snapshot(specs)


class RepeatFreezesAgain(WrongExportingEngine):
    async def ensure_group_snapshot(self, specs: Sequence[SnapshotSpec]) -> Sequence[SnapshotFacts]:
        kept, together = self.storage.memory.snapshots, frozenset(spec.snapshot_id for spec in specs)
        for spec in specs:
            if spec.snapshot_id in kept and kept[spec.snapshot_id].together == together:
                del kept[spec.snapshot_id]
        return await super().ensure_group_snapshot(specs)


class TakesTheRest(WrongExportingEngine):
    """Takes what is not there yet, at a moment of its own."""

    async def ensure_group_snapshot(self, specs: Sequence[SnapshotSpec]) -> Sequence[SnapshotFacts]:
        kept = self.storage.memory.snapshots
        missing = [spec for spec in specs if spec.snapshot_id not in kept]
        await super().ensure_group_snapshot(missing)
        return [kept[spec.snapshot_id].facts for spec in specs]


class LeavesAHalf(WrongExportingEngine):
    """Refused or cut short, leaves the snapshots that it has got to."""

    async def ensure_group_snapshot(self, specs: Sequence[SnapshotSpec]) -> Sequence[SnapshotFacts]:
        memory, kept = await self.alone(), self.storage.memory.snapshots
        together = frozenset(spec.snapshot_id for spec in specs)
        for spec in specs:
            await memory.ensure_snapshot(spec)
            kept[spec.snapshot_id] = replace(kept[spec.snapshot_id], together=together)
            await asyncio.sleep(0)
        return await super().ensure_group_snapshot(specs)


class FreezesWhatIsApart(WrongExportingEngine):
    async def ensure_group_snapshot(self, specs: Sequence[SnapshotSpec]) -> Sequence[SnapshotFacts]:
        return await (await self.alone()).ensure_group_snapshot(specs)


class OnlyServedOnes(WrongExportingEngine):
    """Freezes those in use, and copies the others when they are asked for again."""

    async def ensure_group_snapshot(self, specs: Sequence[SnapshotSpec]) -> Sequence[SnapshotFacts]:
        taken = await super().ensure_group_snapshot(specs)
        kept = self.storage.memory.snapshots
        for spec in specs:
            if spec.volume_id not in self.storage.exports:
                kept[spec.snapshot_id] = replace(kept[spec.snapshot_id], pages=type(kept[spec.snapshot_id].pages)())
        return taken


class IgnoresLimits(WrongExportingEngine):
    async def ensure_export(self, spec: ExportSpec) -> ExportFacts:
        return await super().ensure_export(replace(spec, limits=UNTHROTTLED))


class LimitsAreForTheNextClient(WrongExportingEngine):
    async def ensure_limits(self, volume_id: VolumeId, limits: Limits) -> None:
        before = self.storage.exports[volume_id].pace.limits if volume_id in self.storage.exports else limits
        await super().ensure_limits(volume_id, limits)
        if before == UNTHROTTLED:
            await super().ensure_limits(volume_id, before)


class ForgetsLimits(WrongExportingEngine):
    async def open(self) -> None:
        await super().open()
        for volume_id in self.storage.exports:
            await self.ensure_limits(volume_id, UNTHROTTLED)


class KeepsLimits(WrongExportingEngine):
    """Serves anew with the limits of before."""

    def __init__(self, storage: ExportingMemoryStorage) -> None:
        super().__init__(storage)
        self.kept: dict[VolumeId, Limits] = {}

    async def ensure_export(self, spec: ExportSpec) -> ExportFacts:
        return await super().ensure_export(replace(spec, limits=self.kept.get(spec.volume_id, spec.limits)))

    async def ensure_limits(self, volume_id: VolumeId, limits: Limits) -> None:
        await super().ensure_limits(volume_id, limits)
        self.kept[volume_id] = limits


class OneClient(NbdServer):
    async def _negotiate(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        return len(self._connections) == 1 and await super()._negotiate(reader, writer)


class ServesOneClient(WrongExportingEngine):
    async def _serve(self, asked: ExportFacts, pace: Pace) -> tuple[NbdServer, ExportFacts]:
        server, facts = await super()._serve(asked, pace)
        server.__class__ = OneClient
        return server, facts


MISTAKES: list[tuple[Callable[[ExportingMemoryStorage], ExportingMemoryEngine], str]] = [
    (OneAfterTheOther, "group_is_one_instant"),
    (RepeatFreezesAgain, "group_snapshot"),
    (TakesTheRest, "group_snapshot"),
    (LeavesAHalf, "interrupted_group"),
    (LeavesAHalf, "group_snapshot"),
    (FreezesWhatIsApart, "group_apart_is_refused"),
    (OnlyServedOnes, "group_of_served_and_unserved"),
    (IgnoresLimits, "limits"),
    (LimitsAreForTheNextClient, "limits"),
    (ForgetsLimits, "limits"),
    (KeepsLimits, "limits"),
    (ServesOneClient, "export_several_clients"),
]


@pytest.mark.parametrize(("wrong", "check_name"), MISTAKES)
def test_mistake_is_found(
    wrong: Callable[[ExportingMemoryStorage], ExportingMemoryEngine], check_name: str, tmp_path: Path
) -> None:
    storage = ExportingMemoryStorage(tmp_path)
    expect_found(check_name, ExportBench(lambda: wrong(storage), end=storage.stop_serving))


def test_snapshots_one_after_the_other_are_no_group_snapshot(tmp_path: Path) -> None:
    """The control of `group_is_one_instant`: what it must find fault with."""

    async def run() -> list[str]:
        storage = ExportingMemoryStorage(tmp_path)
        bench = await ExportBench(lambda: ExportingMemoryEngine(storage), end=storage.stop_serving).open()

        async def take(specs: Sequence[SnapshotSpec]) -> list[SnapshotFacts]:
            taken = []
            for spec in specs:
                taken.append(await bench.engine.ensure_snapshot(spec))
                await asyncio.sleep(0.002)
            return taken

        try:
            return await faults_of_group(bench, take, 3)
        finally:
            await bench.close()

    assert asyncio.run(run())
