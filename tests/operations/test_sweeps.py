"""Sweeps: what they delete, and above all what they never delete."""

import asyncio
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from openevs.compose import utc_now
from openevs.domain.errors import Busy, Unavailable
from openevs.domain.ids import GIB, SnapshotId, VolumeId, new_uuid
from openevs.engine.errors import Transient
from openevs.engine.port import ExportSpec, SnapshotSpec, VolumeSpec
from openevs.store import tables
from openevs.store.database import Tx
from openevs.store.listing import count_rows
from tests.operations.scenarios.attachments import attached_volume, connect_volume, volume_connected
from tests.operations.scenarios.scenario import add_volume, one_volume, volume_with_past
from tests.operations.scenarios.snapshots import new_snapshot
from tests.operations.scenarios.volumes import delete_volume, new_volume_from_volume, volume_made
from tests.operations.stage import Stage, on_stage


def run(tx: Tx, statement: sa.Update) -> None:
    tx.execute(statement)


def test_deletes_what_a_finished_operation_accounts_for(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        await volume_with_past(stage)
        volume, snapshot = VolumeId(stage.things["volume"]), SnapshotId(stage.things["snapshot"])
        await new_volume_from_volume(stage)
        await stage.settled()
        passing = SnapshotId((await stage.last_operation()).input["passing_snapshot_id"])
        await delete_volume(stage)
        await stage.settled()
        # Late calls of a runner that had lost its leases, say.
        engine = stage.app.engine
        await engine.ensure_volume(VolumeSpec(volume, GIB))
        await engine.ensure_snapshot(SnapshotSpec(snapshot, volume))
        await engine.ensure_snapshot(SnapshotSpec(passing, VolumeId(stage.things["new"])))
        await engine.ensure_export(ExportSpec(volume))  # type: ignore[attr-defined]
        swept = await stage.app.sweeper.sweep()
        assert set(swept.deleted) == {volume, snapshot, passing}
        assert (swept.unknown, swept.lost, swept.outcome) == ((), (), "ok")
        assert await stage.app.sweeper.sweep() == type(swept)()

    on_stage(tmp_path, act)


def test_deletes_nothing_that_it_never_knew(tmp_path: Path) -> None:
    """As after the database was restored from an old backup."""

    async def act(stage: Stage) -> None:
        volume, snapshot = VolumeId(new_uuid()), SnapshotId(new_uuid())
        engine = stage.app.engine
        await engine.ensure_volume(VolumeSpec(volume, GIB))
        await engine.ensure_snapshot(SnapshotSpec(snapshot, volume))
        await engine.ensure_export(ExportSpec(volume))  # type: ignore[attr-defined]
        swept = await stage.app.sweeper.sweep()
        assert (swept.deleted, set(swept.unknown), swept.exports_ended) == ((), {volume, snapshot}, ())
        objects = await stage.objects()
        assert (set(objects.volumes), set(objects.snapshots)) == ({volume}, {snapshot})
        await engine.ensure_no_export(volume)  # type: ignore[attr-defined]
        await engine.ensure_no_snapshot(snapshot)
        await engine.ensure_no_volume(volume)

    on_stage(tmp_path, act)


def test_leaves_work_under_way_alone(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        await one_volume(stage)
        hang = stage.faults.hang("ensure_volume_from_snapshot", when="after")
        await new_volume_from_volume(stage)
        await hang.reached.wait()
        swept = await stage.app.sweeper.sweep()
        assert swept == type(swept)()
        hang.release()
        await stage.settled()
        await volume_made("present")(stage)

    on_stage(tmp_path, act)


def test_reports_rows_without_storage(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        await one_volume(stage)
        volume = VolumeId(stage.things["volume"])
        await stage.app.engine.ensure_no_volume(volume)
        assert (await stage.app.sweeper.sweep()).lost == (volume,)
        row = await stage.volume("volume")
        assert row is not None
        assert row.status == "available"
        await stage.app.engine.ensure_volume(VolumeSpec(volume, GIB))

    on_stage(tmp_path, act)


def test_ends_exports_that_nobody_asks_for(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        await attached_volume(stage)
        attached = stage.things["volume"]
        await add_volume(stage, "other", "")
        other = VolumeId(stage.things["other"])
        await stage.app.engine.ensure_export(ExportSpec(other))  # type: ignore[attr-defined]
        assert (await stage.app.sweeper.sweep()).exports_ended == (other,)
        await stage.settled()
        assert set(stage.storage.exports) == {attached}

    on_stage(tmp_path, act)


def test_nobody_is_given_an_export_that_is_being_ended(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        await one_volume(stage)
        volume = VolumeId(stage.things["volume"])
        await stage.app.engine.ensure_export(ExportSpec(volume))  # type: ignore[attr-defined]
        hang = stage.faults.hang("ensure_no_export")
        sweeping = asyncio.create_task(stage.app.sweeper.sweep())
        await hang.reached.wait()
        with pytest.raises(Busy):
            await connect_volume(stage)
        hang.release()
        await sweeping
        await stage.settled()
        await connect_volume(stage)
        await volume_connected(stage)

    on_stage(tmp_path, act)


def test_counts_usage_anew(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        await one_volume(stage)
        wrong = sa.update(tables.quota_usage).values(in_use=77)
        await stage.app.db.write(lambda tx: tx.execute(wrong))
        assert (await stage.app.sweeper.sweep()).usage_corrected == 4

    on_stage(tmp_path, act)


def test_goes_on_after_a_fault_of_storage(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        await volume_with_past(stage)
        await delete_volume(stage)
        await stage.settled()
        volume = VolumeId(stage.things["volume"])
        await stage.app.engine.ensure_volume(VolumeSpec(volume, GIB))
        stage.faults.fail("ensure_no_volume", Transient("not now"))
        swept = await stage.app.sweeper.sweep()
        assert (swept.deleted, swept.outcome) == ((), "failed")
        assert (await stage.app.sweeper.sweep()).deleted == (volume,)
        stage.faults.fail("list_objects", Transient("not now"))
        with pytest.raises(Transient):
            await stage.app.sweeper.sweep()

    on_stage(tmp_path, act)


def test_forgets_what_finished_long_ago(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        await one_volume(stage)
        long_ago = utc_now() - timedelta(days=91)
        for column in (tables.operation.c.finished_at, tables.event.c.at):
            age = sa.update(column.table).values({column: long_ago})
            await stage.app.db.write(run, age)
        await stage.app.sweeper.sweep()
        for table in (tables.operation, tables.event):
            assert (await stage.app.db.read(count_rows, table, [])) == 0

    on_stage(tmp_path, act)


def test_metrics_tell_of_sweeps_and_of_waiting_work(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        seen: dict[str, list[object]] = {"sweep": [], "oldest": []}

        class Seen:
            def sweep(self, outcome: str, orphans: int) -> None:
                seen["sweep"].append((outcome, orphans))

            def oldest_operation(self, seconds: float) -> None:
                seen["oldest"].append(seconds)

        await one_volume(stage)
        hang = stage.faults.hang("ensure_snapshot")
        await new_snapshot(stage)
        await hang.reached.wait()
        assert await stage.app.sweeper.oldest_seconds() > 0
        hang.release()
        await stage.settled()
        assert await stage.app.sweeper.oldest_seconds() == 0
        stage.app.metrics.sweep("ok", 3)
        assert b"openevs_orphans 3.0" in stage.app.metrics.render()

    on_stage(tmp_path, act)


def test_a_database_that_fails_is_not_asked_without_pause(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        asked: list[str] = []

        class Seen:
            def sweep(self, outcome: str, orphans: int) -> None:
                asked.append(outcome)

            def oldest_operation(self, seconds: float) -> None:
                raise Unavailable("The database cannot be used.")

        sweeper, settings = stage.app.sweeper, stage.app.settings
        often = msgspec.structs.replace(settings.operations, sweep_seconds=0.1)
        sweeper._settings = msgspec.structs.replace(settings, operations=often)
        sweeping = asyncio.create_task(sweeper.run(Seen()))
        await asyncio.sleep(0.5)
        while not asked:  # noqa: ASYNC110 - a busy machine takes its time
            await asyncio.sleep(0.01)
        sweeping.cancel()
        assert set(asked) == {"failed"}
        assert len(asked) < 8

    on_stage(tmp_path, act)
