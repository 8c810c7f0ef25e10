"""The one conformance suite for engines: the contract of `engine.port`, as checks against the real thing.

`CHECKS` is the table of them. Under pytest, run each as a test of its own with `run_check`; `openevs engine check` runs
them all with `run_checks`, against a pool of the user's own. A check makes volumes, looks at bytes, and deletes what it
has made; it touches nothing else in the pool.
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Final, Literal

from openevs.engine.errors import EngineError
from openevs.engine.port import Exports, Objects, Power
from openevs.testing.conformance import (
    basics,
    contents,
    exports,
    groups,
    interruption,
    snapshots,
    strays,
    throttles,
    trees,
    walk,
)
from openevs.testing.conformance.bench import (
    ConformanceError,
    EngineBench,
    ExportBench,
    ExportingEngine,
    MemoryBench,
    expect,
    expect_equal,
)

__all__ = [
    "CHECKS",
    "Check",
    "CheckResult",
    "ConformanceError",
    "EngineBench",
    "ExportBench",
    "ExportingEngine",
    "MemoryBench",
    "run_check",
    "run_checks",
]

Outcome = Literal["passed", "failed", "skipped"]

_BYTES: Final[frozenset[Power]] = frozenset({"reads"})
_CHANGES: Final[frozenset[Power]] = frozenset({"reads", "changed_blocks"})
_WRITES: Final[frozenset[Power]] = frozenset({"reads", "writes"})
_SERVED: Final[frozenset[Power]] = frozenset({"reads", "exports"})
_GROUPS: Final[frozenset[Power]] = frozenset({"reads", "group_snapshots"})
_ADOPTING: Final[frozenset[Power]] = frozenset({"reads", "writes", "adopts"})
_THROTTLED: Final[frozenset[Power]] = frozenset({"reads", "exports", "throttles"})


@dataclass(frozen=True, slots=True)
class Check:
    """One property of an engine."""

    name: str
    run: Callable[[EngineBench], Awaitable[None]]
    needs: frozenset[Power]
    """Powers without which the property cannot be seen."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """How a check ended."""

    check: Check
    outcome: Outcome
    reason: str
    """Why it failed or was skipped, else empty."""
    seconds: float


CHECKS: Final = (
    Check("describe_is_honest", basics.check_describe_is_honest, frozenset()),
    Check("calls_twice", basics.check_calls_twice, _BYTES),
    Check("unknown_ids", basics.check_unknown_ids, _BYTES),
    Check("size_mismatch", basics.check_size_mismatch, _BYTES),
    Check("new_space_is_zero", basics.check_new_space_is_zero, _BYTES),
    Check("deleted_bytes_stay_away", basics.check_deleted_bytes_stay_away, _BYTES),
    Check("list_equals_what_was_made", basics.check_list_equals_what_was_made, frozenset()),
    Check("capacity", basics.check_capacity, frozenset()),
    Check("labels", basics.check_labels, frozenset()),
    Check("reached", basics.check_reached, frozenset()),
    Check("busy_names_the_snapshots", basics.check_busy_names_the_snapshots, _BYTES),
    Check("at_once", basics.check_at_once, _BYTES),
    Check("frozen_while_written", snapshots.check_frozen_while_written, _BYTES),
    Check("repeat_is_the_same_moment", snapshots.check_repeat_is_the_same_moment, _BYTES),
    Check("snapshots_are_independent", snapshots.check_snapshots_are_independent, _BYTES),
    Check("same_id_at_once", snapshots.check_same_id_at_once, _BYTES),
    Check("many_snapshots", snapshots.check_many_snapshots, _BYTES),
    Check("branching_tree", trees.check_branching_tree, _BYTES),
    Check("tree_deleted_in_every_order", trees.check_tree_deleted_in_every_order, _BYTES),
    Check("clone_outlives_its_source", trees.check_clone_outlives_its_source, _BYTES),
    Check("clone_repeat_keeps_writes", trees.check_clone_repeat_keeps_writes, _BYTES),
    Check("larger_clone_reads_zeros", trees.check_larger_clone_reads_zeros, _BYTES),
    Check("revert", trees.check_revert, _BYTES),
    Check("revert_token", trees.check_revert_token, _BYTES),
    Check("grow_then_revert", trees.check_grow_then_revert, _BYTES),
    Check("interrupted_creation", interruption.check_interrupted_creation, _BYTES),
    Check("interrupted_snapshot", interruption.check_interrupted_snapshot, _BYTES),
    Check("interrupted_deletion", interruption.check_interrupted_deletion, _BYTES),
    Check("interrupted_revert", interruption.check_interrupted_revert, _BYTES),
    Check("interrupted_growth_and_removal", interruption.check_interrupted_growth_and_removal, _BYTES),
    Check("export_serves_the_volume", exports.check_export_serves_the_volume, _SERVED),
    Check("export_twice", exports.check_export_twice, _SERVED),
    Check("export_read_only", exports.check_export_read_only, _SERVED),
    Check("export_ends", exports.check_export_ends, _SERVED),
    Check("export_busy", exports.check_export_busy, _SERVED),
    Check("export_outlives_us", exports.check_export_outlives_us, _SERVED),
    Check("export_outlives_its_helper", exports.check_export_outlives_its_helper, _SERVED),
    Check("export_several_clients", exports.check_export_several_clients, _SERVED),
    Check("limits", throttles.check_limits, _THROTTLED),
    Check("group_snapshot", groups.check_group_snapshot, _GROUPS),
    Check("group_of_served_and_unserved", groups.check_group_of_served_and_unserved, _GROUPS | _SERVED),
    Check("group_apart_is_refused", groups.check_group_apart_is_refused, _GROUPS | _SERVED),
    Check("group_is_one_instant", groups.check_group_is_one_instant, _GROUPS | _SERVED),
    Check("interrupted_group", groups.check_interrupted_group, _GROUPS),
    Check("changed_blocks", contents.check_changed_blocks, _CHANGES),
    Check("changes_of_clones", contents.check_changes_of_clones, _CHANGES),
    Check("changes_refused", contents.check_changes_refused, _CHANGES),
    Check("writes", contents.check_writes, _WRITES),
    Check("writes_refused", contents.check_writes_refused, _WRITES),
    Check("writes_and_exports", contents.check_writes_and_exports, _WRITES | _SERVED),
    Check("volume_released_and_adopted", strays.check_volume_released_and_adopted, _ADOPTING),
    Check("snapshot_released_and_adopted", strays.check_snapshot_released_and_adopted, _ADOPTING),
    Check("released_with_a_released_snapshot", strays.check_released_with_a_released_snapshot, _ADOPTING),
    Check("random_walk", walk.check_random_walk, _BYTES),
)


async def run_check(check: Check, bench: EngineBench) -> None:
    """Run one check on an open bench, delete what it has made, close the engine, and see that nothing is left.
    Raises ConformanceError, or whatever the engine raised where the contract allows nothing."""
    before = await bench.engine.list_objects()
    residue = await bench.residue()
    try:
        await check.run(bench)
    except BaseException:
        with contextlib.suppress(Exception):  # an engine under test may raise anything; why the check failed says more
            await _clean(bench, before, quietly=True)
        raise
    await _clean(bench, before, quietly=False)
    after = await bench.engine.list_objects()
    expect_equal(set(after.volumes), set(before.volumes), "volumes after everything was deleted")
    expect_equal(set(after.snapshots), set(before.snapshots), "snapshots after everything was deleted")
    await bench.engine.close()
    left = sorted(set(await bench.residue()) - set(residue))
    expect(not left, f"left on storage after everything was deleted: {', '.join(left)}")


async def run_checks(
    make_bench: Callable[[], Awaitable[EngineBench]], only: Collection[str] = ()
) -> AsyncIterator[CheckResult]:
    """Run every check (or `only` those of these names), each on a bench of its own from `make_bench` (open; closed
    here), and tell how each ended."""
    for check in CHECKS:
        if only and check.name not in only:
            continue
        bench = await make_bench()
        started = perf_counter()
        try:
            result = await _result(check, bench)
        finally:
            await bench.close()
        yield CheckResult(check, *result, perf_counter() - started)


async def _result(check: Check, bench: EngineBench) -> tuple[Outcome, str]:
    missing = check.needs - bench.engine.describe().powers
    if missing:
        return "skipped", f"the engine has no power {', '.join(sorted(missing))}"
    try:
        await run_check(check, bench)
    except Exception as error:  # noqa: BLE001 - an engine under test may raise anything; the next check goes on
        return "failed", f"{type(error).__name__}: {error}"
    return "passed", ""


async def _clean(bench: EngineBench, before: Objects, *, quietly: bool) -> None:
    """Delete all that was not there `before`; `quietly` goes on after an error, since another one is on its way."""
    engine = bench.engine
    now = await engine.list_objects()
    volumes = [volume_id for volume_id in now.volumes if volume_id not in before.volumes]
    snapshots = [snapshot_id for snapshot_id in now.snapshots if snapshot_id not in before.snapshots]
    removals: list[Callable[[], Awaitable[None]]] = []
    if isinstance(engine, Exports):
        removals += [partial(engine.ensure_no_export, volume_id) for volume_id in volumes]
    removals += [partial(engine.ensure_no_snapshot, snapshot_id) for snapshot_id in snapshots]
    removals += [partial(engine.ensure_no_volume, volume_id) for volume_id in volumes]
    for remove in (*removals, engine.settle):
        try:
            await remove()
        except EngineError:
            if not quietly:
                raise
