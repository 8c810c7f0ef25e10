"""The runner itself: leases, tries, hand-set statuses, waiting, stopping."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from openevs.compose import utc_now
from openevs.domain.backup import BACKUP_STATUSES
from openevs.domain.errors import Unavailable
from openevs.domain.ids import VolumeId
from openevs.domain.lifecycle import SNAPSHOT_STATUSES, VOLUME_STATUSES, reset
from openevs.engine.errors import Broken, OutcomeUnknown, Transient
from openevs.operations.catalog import KINDS
from openevs.operations.kind import Facts, Kind
from openevs.operations.runner import LONGEST_PAUSE_SECONDS, Runner, close_operation
from openevs.service import snapshots, volumes
from openevs.store.backups import move_backup
from openevs.store.operations import (
    Lease,
    LostLease,
    claim_due,
    find_operation,
    record_step,
    reschedule,
    retry_operation,
)
from openevs.store.snapshots import move_snapshot
from openevs.store.volumes import move_volume
from openevs.testing.faulty import Hang
from tests.operations.scenarios import SCENARIOS
from tests.operations.scenarios.scenario import Scenario, one_volume
from tests.operations.scenarios.snapshots import new_snapshot, snapshot_made
from tests.operations.scenarios.volumes import delete_volume, extend_volume, volume_extended
from tests.operations.stage import Stage, When, on_stage


def runner_of(stage: Stage, node: str, kinds: dict[str, Kind], ahead_seconds: float = 0.0) -> Runner:
    """Return another node's runner, whose clock may be ahead, so that leases of others have run out for it."""
    settings = msgspec.structs.replace(stage.app.settings.operations, scan_seconds=0.01)
    clock = lambda: utc_now() + timedelta(seconds=ahead_seconds)  # noqa: E731
    return Runner(stage.app.db, stage.app.engine, kinds, clock, node, settings, stage.app.runner._beside)


def hanging(kind: Kind, number: int, when: When) -> tuple[Kind, Hang]:
    """Return a kind one step of which waits, before its effect or after it, and what it waits for."""
    hang = Hang()
    steps = list(kind.steps)
    run = steps[number].run

    async def step(*given: Any) -> Facts:
        if when == "before":
            await hang.wait()
        result = await run(*given)
        if when == "after":
            await hang.wait()
        return result

    steps[number] = steps[number]._replace(run=step)
    return kind._replace(steps=tuple(steps)), hang


async def _snapshot_under_way(stage: Stage) -> Hang:
    """Begin a snapshot of a new volume, and return what holds its only step up."""
    await one_volume(stage)
    hang = stage.faults.hang("ensure_snapshot")
    await new_snapshot(stage)
    await hang.reached.wait()
    return hang


def each_step() -> Iterator[object]:
    for scenario in SCENARIOS:
        for number, step in enumerate(KINDS[scenario.kind].steps):
            yield pytest.param(scenario, number, id=f"{scenario}-{step.name}")


@pytest.mark.parametrize(("scenario", "number"), list(each_step()))
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_lease_is_lost_in_the_middle_of_a_step(tmp_path: Path, scenario: Scenario, number: int, when: When) -> None:
    """Another node takes the work over and ends it; what the first one then does changes nothing."""

    async def act(stage: Stage) -> None:
        await scenario.prepare(stage)
        slow, hang = hanging(KINDS[scenario.kind], number, when)
        runner = stage.app.runner
        runner._kinds = {**KINDS, scenario.kind: slow}
        # The client that asked hears of an end on another node by looking, not by the bell.
        runner._settings = msgspec.structs.replace(runner._settings, scan_seconds=0.05)
        asking = asyncio.ensure_future(scenario.start(stage))
        await asyncio.wait_for(hang.reached.wait(), 10)
        (late,) = runner._working.values()
        other = runner_of(stage, "other", dict(KINDS), ahead_seconds=3600)
        await other.start()
        await stage.settled()
        await asyncio.wait_for(asking, 10)
        operation = await stage.last_operation()
        assert (operation.state, operation.fence) == ("succeeded", 2)
        was = await stage.read(scenario.kept) if scenario.kept else ""
        if scenario.kept:
            await stage.write(scenario.kept, "since then")
        hang.release()
        await asyncio.wait_for(late, 10)
        assert await stage.last_operation() == operation, "the late one has written nothing"
        if scenario.kept:
            assert await stage.read(scenario.kept) == "since then", "nor has it put back any bytes"
            await stage.write(scenario.kept, was)
        await other.stop()
        # A late call may have made anew what was let go of; that is known, and swept.
        await stage.app.sweeper.sweep()
        await stage.app.sweeper.sweep()
        await scenario.succeeded(stage)

    on_stage(tmp_path, act)


def test_writes_of_a_lost_lease_are_refused(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        hang = await _snapshot_under_way(stage)
        mine = await stage.last_operation()
        later = utc_now() + timedelta(hours=1)
        (theirs,) = await stage.app.db.write(claim_due, Lease("other", later), later, 9, timedelta(0))
        assert theirs.fence == mine.fence + 1
        with pytest.raises(LostLease):
            await stage.app.db.write(record_step, mine, 1, {})
        hang.release()
        while stage.app.runner._working:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        assert await stage.last_operation() == theirs
        other = runner_of(stage, "other", dict(KINDS))
        await other.start()
        await stage.settled()
        await other.stop()
        await snapshot_made(stage)

    on_stage(tmp_path, act)


def test_a_machine_that_slept_takes_its_own_work_up_again(tmp_path: Path) -> None:
    """Our own lease has run out: the scan takes the operation again, while a task of ours still works on it."""

    async def act(stage: Stage) -> None:
        await _snapshot_under_way(stage)
        runner = stage.app.runner
        (first,) = runner._working.values()
        awake = utc_now() + timedelta(hours=1)
        runner._clock = lambda: awake
        runner._wake.set()
        await stage.settled()
        assert first.cancelled()
        # The rows say that it has ended a moment before the task itself has.
        async with asyncio.timeout(10):
            while runner._working:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        await snapshot_made(stage)

    on_stage(tmp_path, act)


def test_a_clock_that_is_set_back_puts_nothing_off(tmp_path: Path) -> None:
    """What waits for its next try waits for a pause, and not until the clock shows again what it has shown before."""

    async def act(stage: Stage) -> None:
        hang = await _snapshot_under_way(stage)
        runner, before = stage.app.runner, utc_now() + timedelta(hours=3)
        runner._clock = lambda: before
        await runner._again(await stage.last_operation(), "once")
        runner._clock = utc_now
        assert (await stage.last_operation()).run_after > utc_now() + timedelta(hours=2)
        hang.release()
        await stage.settled()
        await snapshot_made(stage)

    on_stage(tmp_path, act)


def test_restarts_are_no_failures(tmp_path: Path) -> None:
    """However often the process is killed, an operation has as many tries as before."""

    async def act(stage: Stage) -> None:
        await one_volume(stage)
        hang = stage.faults.hang("ensure_snapshot")
        await new_snapshot(stage)
        for _ in range(5):
            await hang.reached.wait()
            await stage.crash()
            hang = stage.faults.hang("ensure_snapshot")
            await stage.start()
        await hang.reached.wait()
        assert (await stage.last_operation()).attempts == 0
        await stage.crash()
        stage.faults.fail("ensure_snapshot", Transient("once"))
        await stage.start()
        await stage.settled()
        await snapshot_made(stage)

    on_stage(tmp_path, act)


def test_pauses_grow_to_a_limit(tmp_path: Path) -> None:
    """A forward-only operation may be tried for days."""

    async def act(stage: Stage) -> None:
        await one_volume(stage)
        hang = stage.faults.hang("ensure_volume_size")
        await extend_volume(stage)
        await hang.reached.wait()
        operation = await stage.last_operation()
        before = utc_now()
        await stage.app.runner._again(operation._replace(attempts=5000), "for days")
        again = await stage.last_operation()
        assert again.run_after - before <= timedelta(seconds=1.25 * LONGEST_PAUSE_SECONDS + 1)
        await stage.app.db.write(retry_operation, operation.id, utc_now())
        hang.release()
        stage.app.runner._wake.set()
        await stage.settled()
        await volume_extended(stage)

    on_stage(tmp_path, act)


BY_HAND: dict[str, tuple[Any, Any, Any]] = {
    "volume": (move_volume, VOLUME_STATUSES, Stage.volume),
    "snapshot": (move_snapshot, SNAPSHOT_STATUSES, Stage.snapshot),
    "backup": (move_backup, BACKUP_STATUSES, Stage.backup),
}
WITH_STATUS = [
    scenario
    for scenario in SCENARIOS
    if not any(word in scenario.kind for word in ("connect", "manage", "group"))
    and scenario.kind not in ("limit_volumes", "look_for_strays", "label_volume")
]
"""Of connections it is the attachment's status that tells; QoS specs, labels and the pool have none; and managing
changes which rows there are, so that what was set by hand is that of another row, or of none."""


# Statuses set by hand -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", ["succeeds", "fails"])
@pytest.mark.parametrize("status", ["available", "error"])
@pytest.mark.parametrize("scenario", WITH_STATUS, ids=str)
def test_a_status_set_by_hand_stands(tmp_path: Path, scenario: Scenario, status: str, outcome: str) -> None:
    """The operation ends all the same, and sizes, quotas, other rows and storage agree."""

    async def act(stage: Stage) -> None:
        await scenario.prepare(stage)
        number = len(KINDS[scenario.kind].steps) - 1
        slow, hang = hanging(KINDS[scenario.kind], number, "before")
        if outcome == "fails":
            run = slow.steps[number].run

            async def fail(*given: Any) -> Facts:
                await run(*given)
                raise Broken("for good")

            slow = slow._replace(steps=(*slow.steps[:number], slow.steps[number]._replace(run=fail)))
        stage.app.runner._kinds = {**KINDS, scenario.kind: slow}
        await scenario.start(stage)
        await hang.reached.wait()
        operation = await stage.last_operation()
        move, statuses, find = BY_HAND[operation.resource_kind]
        await stage.app.db.write(move, operation.resource_id, reset(status, statuses), utc_now())
        hang.release()
        await stage.settled()
        ended = await stage.app.db.read(find_operation, operation.id)
        assert ended.state == ("succeeded" if outcome == "succeeds" else "failed")
        name = next(name for name, value in stage.things.items() if value == operation.resource_id)
        row = await find(stage, name)
        if scenario.kind.startswith("delete") and outcome == "succeeds":
            assert row is None
        else:
            assert row is not None
            assert row.status == status
        if operation.resource_kind == "backup":
            return
        if scenario.kind.startswith("create") and outcome == "fails" and status == "available":
            # What the administrator said is not so, and the sweep tells; deleting it works as ever.
            assert (await stage.app.sweeper.sweep()).lost == (operation.resource_id,)
            delete = volumes.delete_volume if operation.resource_kind == "volume" else None
            if delete is not None:
                await delete(stage.deps, stage.caller, operation.resource_id, cascade=False)
            else:
                await snapshots.delete_snapshot(stage.deps, stage.caller, operation.resource_id)
            await stage.settled()
        if outcome == "fails" and scenario.kind.startswith(("delete", "extend")):
            # Failed after its effect: storage is gone or larger, as the doctor would say.
            await volumes.delete_volume(stage.deps, stage.caller, stage.things["volume"], cascade=True, force=True)
            await stage.settled()

    on_stage(tmp_path, act)


def test_a_snapshot_taken_of_a_volume_that_was_deleted_after_a_reset(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        await one_volume(stage)
        volume_id = VolumeId(stage.things["volume"])
        hang = stage.faults.hang("ensure_no_volume", when="after")
        await delete_volume(stage)
        await hang.reached.wait()
        await volumes.reset_volume_status(stage.deps, stage.caller, volume_id, "available")
        await new_snapshot(stage)
        while (await stage.last_operation()).finished_at is None:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        hang.release()
        await stage.settled()
        row = await stage.volume("volume")
        assert row is not None
        assert (row.status, "bytes were deleted" in (row.reason or "")) == ("error", True)
        await volumes.delete_volume(stage.deps, stage.caller, volume_id, cascade=True)
        await stage.settled()
        assert await stage.volume("volume") is None

    on_stage(tmp_path, act)


def test_a_snapshot_of_a_volume_that_grew_meanwhile(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        hang = await _snapshot_under_way(stage)
        await extend_volume(stage)
        while (await stage.last_operation()).finished_at is None:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        hang.release()
        await stage.settled()
        row = await stage.snapshot("new")
        assert row is not None
        assert (row.status, row.size_gib) == ("available", 3)

    on_stage(tmp_path, act)


# Waiting and stopping -------------------------------------------------------------------------------------------


def test_waiters_hear_of_what_another_node_ended(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        await one_volume(stage)
        stage.app.runner._settings = msgspec.structs.replace(stage.app.runner._settings, scan_seconds=0.01)
        hang = stage.faults.hang("ensure_snapshot")
        await new_snapshot(stage)
        await hang.reached.wait()
        operation = await stage.last_operation()
        waiting = asyncio.create_task(stage.app.runner.finished(operation.id, 10))
        assert await stage.app.runner.finished(operation.id, 0.02) is None
        other = runner_of(stage, "other", dict(KINDS), ahead_seconds=3600)
        await other.start()
        ended = await waiting
        assert ended is not None
        assert ended.state == "succeeded"
        hang.release()
        await other.stop()

    on_stage(tmp_path, act)


def test_an_engine_call_that_hangs_is_given_up_and_made_again(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        await one_volume(stage)
        stage.faults.fail("ensure_snapshot", OutcomeUnknown("given up after 120 s"), when="after")
        await new_snapshot(stage)
        await stage.settled()
        await snapshot_made(stage)
        assert len(stage.faults.called("ensure_snapshot")) == 2

    on_stage(tmp_path, act)


def test_work_that_waits_for_the_database_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(stage: Stage) -> None:
        await one_volume(stage)
        hang = stage.faults.hang("ensure_snapshot")
        await new_snapshot(stage)
        await hang.reached.wait()
        write = stage.app.db.write
        said: list[str] = []

        async def full_once(fn: Any, *args: Any) -> Any:
            if fn is close_operation and not said:
                raise Unavailable("No space is left for the database.")
            if fn is reschedule:
                said.append(args[-1])
            return await write(fn, *args)

        monkeypatch.setattr(stage.app.db, "write", full_once)
        hang.release()
        await stage.settled()
        assert said == ["No space is left for the database."]
        await snapshot_made(stage)

    on_stage(tmp_path, act)


def test_stop_gives_back_what_it_drops(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        await one_volume(stage)
        stage.faults.hang("ensure_snapshot")
        await new_snapshot(stage)
        while not stage.faults.called("ensure_snapshot"):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        await asyncio.wait_for(stage.app.runner.stop(grace_seconds=0.01), 10)
        operation = await stage.last_operation()
        assert (operation.state, operation.lease_owner, operation.attempts) == ("queued", None, 0)
        other = runner_of(stage, "other", dict(KINDS))
        await other.start()
        await stage.settled()
        await other.stop()
        await snapshot_made(stage)

    on_stage(tmp_path, act)


def test_stop_is_not_held_up_by_a_bell(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        for _ in range(50):
            runner = runner_of(stage, "other", dict(KINDS))
            await runner.start()
            await asyncio.sleep(0)
            runner._wake.set()
            await asyncio.wait_for(runner.stop(), 5)

    on_stage(tmp_path, act)


def test_work_beyond_the_workers_is_done_too(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        await one_volume(stage)
        runner = stage.app.runner
        runner._settings = msgspec.structs.replace(runner._settings, workers=2)
        for _ in range(9):
            await new_snapshot(stage)
        await stage.settled()

    on_stage(tmp_path, act)
