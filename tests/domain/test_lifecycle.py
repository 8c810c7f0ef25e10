"""The transition tables hang together: known statuses only, a way out of every status that work holds."""

import pytest

from openevs.domain import lifecycle
from openevs.domain.lifecycle import PREVIOUS, Move, SnapshotMoves, VolumeMoves


def moves(table: type) -> dict[str, Move]:
    """Return the moves of a table by name."""
    return {name: value for name, value in vars(table).items() if isinstance(value, Move)}


TABLES = [
    (VolumeMoves, lifecycle.VOLUME_STATUSES, lifecycle.TRANSITIONAL_VOLUME_STATUSES),
    (SnapshotMoves, lifecycle.SNAPSHOT_STATUSES, lifecycle.TRANSITIONAL_SNAPSHOT_STATUSES),
]


@pytest.mark.parametrize(("table", "statuses", "transitional"), TABLES)
def test_only_known_statuses(table: type, statuses: frozenset[str], transitional: frozenset[str]) -> None:
    assert transitional <= statuses
    for name, move in moves(table).items():
        assert move.froms, name
        assert move.froms <= statuses, name
        assert move.to == PREVIOUS or move.to in statuses, name


@pytest.mark.parametrize(("table", "statuses", "transitional"), TABLES)
def test_work_that_holds_a_status_can_end_well_and_badly(
    table: type, statuses: frozenset[str], transitional: frozenset[str]
) -> None:
    for status in transitional:
        exits = [move.to for name, move in moves(table).items() if status in move.froms and "force" not in name]
        assert exits, f"nothing leads out of {status}"
        if status not in ("deleting", "unmanaging") and table is VolumeMoves:
            assert any(to == PREVIOUS or not to.startswith("error") for to in exits), status
        # A retype or a backup that fails leaves the volume as it was: it ends badly without an error.
        if table is VolumeMoves and status not in ("retyping", "backing-up"):
            assert any(to.startswith("error") for to in exits), status


def test_no_user_move_leaves_a_status_that_work_holds() -> None:
    for name in ("reserve", "attach", "extend", "extend_attached", "delete", "rollback", "revert", "detach"):
        froms = moves(VolumeMoves)[name].froms
        assert not froms & lifecycle.TRANSITIONAL_VOLUME_STATUSES, name


def test_documented_deletable_statuses() -> None:
    documented = {"available", "error", "error_extending", "error_restoring", "error_rollbacking"}
    assert documented <= VolumeMoves.delete.froms
    assert "in-use" not in VolumeMoves.delete.froms
    assert SnapshotMoves.delete.froms == {"available", "error"}
