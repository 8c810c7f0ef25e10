"""The kill test as CI runs it: fifty rounds in all. By hand, any number: `make kill ROUNDS=500`."""

import asyncio

import pytest

from tests.kill.__main__ import report
from tests.kill.rounds import Target, run

pytestmark = pytest.mark.slow
SEED = 20240607


@pytest.mark.parametrize(("target", "rounds"), [("service", 25), ("daemons", 15), ("both", 10)])
def test_nothing_is_lost_when_processes_are_killed(
    target: Target, rounds: int, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = asyncio.run(run(target, rounds, SEED))
    with capsys.disabled():
        print(report(figures))  # noqa: T201 - the figures are what CI is to show
    assert figures.wrong == []
