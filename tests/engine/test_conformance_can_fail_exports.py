"""The conformance suite's checks of exports: engines with one mistake each, which the named checks must find."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from openevs.domain.ids import SnapshotId, VolumeId
from openevs.engine.port import ExportFacts, ExportSpec, VolumeFacts
from openevs.testing.conformance import ExportBench
from openevs.testing.exporting import ExportingMemoryEngine, ExportingMemoryStorage
from openevs.testing.nbd_server import NbdServer
from tests.engine.mistakes import WrongExportingEngine, expect_found


class ServesOn(WrongExportingEngine):
    """Forgets the export, and leaves the server running."""

    async def ensure_no_export(self, volume_id: VolumeId) -> None:
        export = self.storage.exports.get(volume_id)
        if export is not None:
            server, export.server = export.server, None
            await super().ensure_no_export(volume_id)
            if server is not None:
                _abandoned.append(server)


_abandoned: list[NbdServer] = []


class RepeatMovesTheExport(WrongExportingEngine):
    async def ensure_export(self, spec: ExportSpec) -> ExportFacts:
        facts = await super().ensure_export(spec)
        present = self.storage.exports[spec.volume_id]
        present.facts = replace(facts, tls_username=f"{facts.tls_username}again")
        return facts


class TakesAnyWayForTheSame(WrongExportingEngine):
    async def ensure_export(self, spec: ExportSpec) -> ExportFacts:
        present = self.storage.exports.get(spec.volume_id)
        return present.facts if present is not None else await super().ensure_export(spec)


class ReadOnlyIsWritable(WrongExportingEngine):
    async def ensure_export(self, spec: ExportSpec) -> ExportFacts:
        facts = await super().ensure_export(replace(spec, read_only=False))
        return replace(facts, read_only=spec.read_only)


class DeletesExported(WrongExportingEngine):
    async def ensure_no_volume(self, volume_id: VolumeId) -> None:
        await self.ensure_no_export(volume_id)
        await super().ensure_no_volume(volume_id)


class RevertsExported(WrongExportingEngine):
    async def ensure_reverted(self, volume_id: VolumeId, snapshot_id: SnapshotId, token: int) -> VolumeFacts:
        await self.ensure_no_export(volume_id)
        return await super().ensure_reverted(volume_id, snapshot_id, token)


class ForgetsExportsOnRestart(WrongExportingEngine):
    async def open(self) -> None:
        await super().open()
        for volume_id in list(self.storage.exports):
            await self.ensure_no_export(volume_id)


class ListsNone(WrongExportingEngine):
    async def list_exports(self) -> Mapping[VolumeId, ExportFacts]:
        return {}


class LosesBytesAtTheEnd(WrongExportingEngine):
    async def ensure_no_export(self, volume_id: VolumeId) -> None:
        was_exported = volume_id in self.storage.exports
        await super().ensure_no_export(volume_id)
        if was_exported:
            await (await self.alone()).write_zeros(volume_id, 0, 512)


MISTAKES: list[tuple[Callable[[ExportingMemoryStorage], ExportingMemoryEngine], str]] = [
    (ServesOn, "export_ends"),
    (RepeatMovesTheExport, "export_twice"),
    (TakesAnyWayForTheSame, "export_twice"),
    (ReadOnlyIsWritable, "export_read_only"),
    (DeletesExported, "export_busy"),
    (RevertsExported, "export_busy"),
    (ForgetsExportsOnRestart, "export_outlives_us"),
    (ListsNone, "export_twice"),
    (LosesBytesAtTheEnd, "export_ends"),
]


@pytest.mark.parametrize(("wrong", "check_name"), MISTAKES)
def test_mistake_is_found(
    wrong: Callable[[ExportingMemoryStorage], ExportingMemoryEngine], check_name: str, tmp_path: Path
) -> None:
    storage = ExportingMemoryStorage(tmp_path)

    async def end() -> None:
        await storage.stop_serving()
        while _abandoned:
            await _abandoned.pop().stop()

    expect_found(check_name, ExportBench(lambda: wrong(storage), end=end))
