"""Every kind of operation, interrupted everywhere: made from `SCENARIOS`, the steps of each kind, and the commits and
engine calls that a run of it makes."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from openevs.domain.model import Operation
from openevs.engine.errors import Broken, Busy, EngineError, NoSpace, OutcomeUnknown, Transient
from openevs.operations.catalog import KINDS
from openevs.operations.kind import PASSING, Facts, Kind
from tests.operations.conftest import quick_folder
from tests.operations.scenarios import SCENARIOS
from tests.operations.scenarios.scenario import Scenario
from tests.operations.stage import Stage, When

Run = Callable[..., Awaitable[Facts]]
LOOK = "commit claim_due"
WHENS: tuple[When, ...] = ("before", "after")
REASON = "the test said so"
POINTS: Mapping[str, tuple[int, int]] = {
    "connect_volume-attach": (3, 5),
    "disconnect_volume-detach": (3, 3),
    "connect_volume-attach_another": (3, 4),
    "disconnect_volume-detach_one_of_two": (2, 2),
    "create_volume-empty": (5, 8),
    "create_volume-from_snapshot": (5, 8),
    "create_volume-from_volume": (7, 11),
    "create_snapshot-of_volume": (3, 5),
    "delete_snapshot-only_one": (3, 3),
    "delete_volume-with_snapshot": (6, 6),
    "extend_volume-detached": (3, 3),
    "retype_volume-attached": (3, 5),
    "limit_volumes-attached": (3, 3),
    "create_backup-incremental": (8, 10),
    "delete_backup-only_one": (3, 3),
    "restore_backup-into_volume": (8, 8),
    "restore_backup-of_creation": (10, 10),
    "restore_backup-into_new_volume": (9, 9),
    "import_backup-twin": (2, 2),
    "rollback_volume-to_snapshot": (4, 4),
    "revert_volume-to_snapshot": (4, 4),
    "label_volume-handed_over": (4, 4),
    "unmanage_volume-detached": (5, 5),
    "unmanage_volume-backed_up": (6, 6),
    "manage_volume-of_stray": (3, 5),
    "unmanage_snapshot-only_one": (3, 3),
    "manage_snapshot-of_stray": (3, 5),
    "look_for_strays-one": (4, 4),
    "create_group_snapshot-of_two": (4, 7),
    "delete_group_snapshot-of_two": (4, 4),
    "delete_group-of_two": (6, 6),
    "delete_group-backed_up": (7, 7),
    "create_group-from_group": (10, 16),
    "create_group-from_snapshot": (7, 11),
}
"""Scenario → how many commits and engine calls it makes in all, when it succeeds and when its last step fails for good:
an operation that has lost a step, or its commit, makes fewer."""


def altered(kind: str, number: int, alter: Callable[[Run], Run], *, undo: bool = False) -> Mapping[str, Kind]:
    """Return the catalog with one step of one kind altered."""
    found = KINDS[kind]
    steps = list(found.undo if undo else found.steps)
    steps[number] = steps[number]._replace(run=alter(steps[number].run))
    changed = found._replace(undo=tuple(steps)) if undo else found._replace(steps=tuple(steps))
    return {**KINDS, kind: changed}


def failing(error: EngineError, when: When, times: int) -> Callable[[Run], Run]:
    """Alter a step so that it fails the first few times, before or after its effect."""

    def alter(run: Run) -> Run:
        left = [times]

        async def step(*given: Any) -> Facts:
            fails = left[0] > 0
            left[0] -= 1
            if fails and when == "before":
                raise error
            result = await run(*given)
            if fails:
                raise error
            return result

        return step

    return alter


def twice(run: Run) -> Run:
    """Alter a step so that it is done twice."""

    async def step(*given: Any) -> Facts:
        await run(*given[:-1], dict(given[-1]))
        return await run(*given)

    return step


def steps_of(scenarios: tuple[Scenario, ...] = SCENARIOS) -> Iterator[object]:
    """Return every step of every scenario."""
    for scenario in scenarios:
        for number, step in enumerate(KINDS[scenario.kind].steps):
            yield pytest.param(scenario, number, id=f"{scenario}-{step.name}")


each_step = pytest.mark.parametrize(("scenario", "number"), list(steps_of()))
each_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
each_when = pytest.mark.parametrize("when", WHENS)


async def ended_well(stage: Stage, scenario: Scenario) -> None:
    await scenario.succeeded(stage)
    await stage.check()
    assert stage.faults.pending == []


@pytest.fixture(scope="module")
def prepared() -> Iterator[Callable[[Scenario], Stage]]:
    """A function that returns a stage on which the scenario has been prepared; each preparation is made once."""
    made: dict[object, Stage] = {}
    folders = ExitStack()

    async def prepare(folder: Path, scenario: Scenario) -> Stage:
        async with Stage(folder) as stage:
            await scenario.prepare(stage)
        return stage

    def get(scenario: Scenario) -> Stage:
        if scenario.prepare not in made:
            folder = folders.enter_context(quick_folder())
            made[scenario.prepare] = asyncio.run(prepare(folder, scenario))
        return made[scenario.prepare]

    with folders:
        yield get


Prepared = Callable[[Scenario], Stage]


def play(
    ground: Stage, folder: Path, scenario: Scenario, kinds: Mapping[str, Kind], end: Callable[[Stage], Awaitable[None]]
) -> None:
    """Run the scenario with altered steps, and see how it ended."""

    async def main() -> None:
        async with Stage.like(folder, ground, kinds) as stage:
            assert await stage.run(scenario.start)
            await end(stage)
            await stage.check()

    asyncio.run(main())


def test_every_kind_has_a_scenario() -> None:
    missing = set(KINDS) - {scenario.kind for scenario in SCENARIOS}
    assert not missing, f"add to SCENARIOS how {missing} are set up, started and checked"


def test_forward_only_is_what_the_scenarios_say() -> None:
    for scenario in SCENARIOS:
        kind = KINDS[scenario.kind]
        said = "forward only" if kind.forward_only else "undone" if kind.undo else "retried by force"
        assert said == scenario.after_failure, str(scenario)


@each_step
@each_when
@pytest.mark.parametrize("error", [*PASSING, RuntimeError], ids=lambda error: error.__name__)
def test_a_step_fails_once(
    prepared: Prepared, tmp_path: Path, scenario: Scenario, number: int, when: When, error: type[EngineError]
) -> None:
    kinds = altered(scenario.kind, number, failing(error(REASON), when, 1))
    play(prepared(scenario), tmp_path, scenario, kinds, lambda stage: ended_well(stage, scenario))


@each_step
def test_a_step_is_done_twice(prepared: Prepared, tmp_path: Path, scenario: Scenario, number: int) -> None:
    play(
        prepared(scenario),
        tmp_path,
        scenario,
        altered(scenario.kind, number, twice),
        lambda stage: ended_well(stage, scenario),
    )


@each_step
@each_when
@pytest.mark.parametrize("error", [Broken(REASON), Transient(REASON)], ids=["for_good", "too_often"])
def test_a_step_never_succeeds(
    prepared: Prepared, tmp_path: Path, scenario: Scenario, number: int, when: When, error: EngineError
) -> None:
    """It is given up: at once for an error that cannot pass, after some tries for one that may; or never."""
    kind, attempts = KINDS[scenario.kind], 3
    forever = kind.forward_only and isinstance(error, Transient)
    # Force-deleting afterwards needs a step that works again.
    times = 2 * attempts if forever else 1 if isinstance(error, Broken) else attempts

    async def end(stage: Stage) -> None:
        if forever:
            await scenario.succeeded(stage)
            return
        operation = await stage.last_operation()
        assert (operation.state, operation.error) == ("failed", REASON)
        await stage.check()
        await scenario.failed(stage)

    play(prepared(scenario), tmp_path, scenario, altered(scenario.kind, number, failing(error, when, times)), end)


@each_scenario
def test_a_full_pool(prepared: Prepared, tmp_path: Path, scenario: Scenario) -> None:
    """What makes something new is refused at once; everything else waits for room."""

    async def end(stage: Stage) -> None:
        await (scenario.failed if scenario.after_failure == "undone" else scenario.succeeded)(stage)

    last = len(KINDS[scenario.kind].steps) - 1
    play(
        prepared(scenario),
        tmp_path,
        scenario,
        altered(scenario.kind, last, failing(NoSpace(REASON), "before", 2)),
        end,
    )


@pytest.mark.parametrize(
    ("scenario", "number"),
    [
        pytest.param(scenario, number, id=f"{scenario}-{step.name}")
        for scenario in SCENARIOS
        for number, step in enumerate(KINDS[scenario.kind].undo)
    ],
)
@each_when
@pytest.mark.parametrize("error", [Busy(REASON), NoSpace(REASON), OutcomeUnknown(REASON)], ids=str)
def test_an_undo_fails_once(
    prepared: Prepared, tmp_path: Path, scenario: Scenario, number: int, when: When, error: EngineError
) -> None:
    kind = KINDS[scenario.kind]
    broken = altered(scenario.kind, len(kind.steps) - 1, failing(Broken("first reason"), "after", 1))
    undo = altered(scenario.kind, number, failing(error, when, 1), undo=True)[scenario.kind].undo

    async def end(stage: Stage) -> None:
        assert (await stage.last_operation()).error == "first reason"
        await scenario.failed(stage)

    play(
        prepared(scenario),
        tmp_path,
        scenario,
        {**KINDS, scenario.kind: broken[scenario.kind]._replace(undo=undo)},
        end,
    )


async def crash_everywhere(
    ground: Stage,
    folder: Path,
    scenario: Scenario,
    when: When,
    alter: Callable[[], Mapping[str, Kind]],
    end: Callable[[Stage], Awaitable[None]],
) -> int:
    """Stop the process at each of its points in turn, start another, and see how things end; return how many points
    there were, less those at which a process only looks for what there is to do."""
    for at in count(1):
        # The same for both processes: a step that has failed for good does so once, whoever runs it.
        kinds = alter()
        async with Stage.like(folder / str(at), ground, kinds) as stage:
            before = await stage.last_operation() if stage.things else None
            stage.doom.arm(at, when)
            alive = await stage.run(scenario.start)
            point = f"crashed {when} point {at} of {stage.doom.points}"
            if alive:
                return sum(name != LOOK for name in stage.doom.points)
            try:
                await stage.crash()
                await stage.start(kinds)
                await stage.settled()
                await stage.check()
                if await begun(stage, before):
                    await end(stage)
                    await stage.check()
            except BaseException as error:
                error.add_note(point)
                raise
    raise AssertionError


async def begun(stage: Stage, before: Operation | None) -> bool:
    """Say whether the request was accepted before the crash."""
    operations = await stage.app.db.read(lambda tx: tx.exec_driver_sql("SELECT max(seq) FROM operation").scalar())
    if (operations or 0) == (before.seq if before else 0):
        return False
    # The client has not heard the id of what it asked for.
    stage.things.setdefault("new", (await stage.last_operation()).resource_id)
    return True


@each_scenario
@each_when
def test_a_crash_anywhere(prepared: Prepared, tmp_path: Path, scenario: Scenario, when: When) -> None:
    points = asyncio.run(
        crash_everywhere(prepared(scenario), tmp_path, scenario, when, lambda: KINDS, scenario.succeeded)
    )
    assert points == POINTS[str(scenario)][0]


@each_scenario
@each_when
def test_a_crash_anywhere_in_what_fails(prepared: Prepared, tmp_path: Path, scenario: Scenario, when: When) -> None:
    """The same, for an operation whose last step fails for good: its way back is interrupted too."""
    last = len(KINDS[scenario.kind].steps) - 1

    def alter() -> Mapping[str, Kind]:
        return altered(scenario.kind, last, failing(Broken(REASON), "after", 1))

    async def end(stage: Stage) -> None:
        await (scenario.failed if (await stage.last_operation()).state == "failed" else scenario.succeeded)(stage)

    points = asyncio.run(crash_everywhere(prepared(scenario), tmp_path, scenario, when, alter, end))
    assert points == POINTS[str(scenario)][1]
