"""What a restore asks of the engine, and in which order."""

from pathlib import Path

from openevs.domain.ids import VolumeId
from openevs.engine.port import ExportSpec
from openevs.service import backups, volumes
from openevs.service.backups import NewBackup
from openevs.service.volumes import NewVolume
from openevs.testing.exporting import ExportingMemoryEngine
from tests.operations.scenarios.backups import restore_backup
from tests.operations.stage import Stage, on_stage

SIZE_GIB = 3


def test_it_waits_for_what_was_given_up_and_zeroes_no_more_than_a_call_can(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        made = await volumes.create_volume(stage.deps, stage.caller, NewVolume(SIZE_GIB, "volume"))
        stage.things["volume"] = made.id
        await stage.settled()
        await stage.write("volume", "past")
        backup = await backups.create_backup(stage.deps, stage.caller, NewBackup(made.id, name="backup"))
        stage.things["backup"] = backup.id
        await stage.settled()
        await stage.write("volume", "present")
        # As a connection leaves it that has failed, and could not be taken back.
        engine = ExportingMemoryEngine(stage.storage)
        await engine.open()
        await engine.ensure_export(ExportSpec(VolumeId(made.id)))

        stage.doom.arm()
        assert await stage.run(restore_backup)
        calls = [point.removeprefix("call ") for point in stage.doom.points if point.startswith("call ")]
        assert (calls[:2], calls[-1]) == (["ensure_no_export", "flush"], "flush")
        assert sorted(calls[2:-1]) == ["write", *["write_zeros"] * SIZE_GIB]
        assert await stage.read("volume") == "past"

    on_stage(tmp_path, act)
