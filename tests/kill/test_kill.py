"""The kill test as CI runs it: fifty rounds in all. By hand, any number: `make kill ROUNDS=500`.

It has a process of its own: connections that a killed service has cut off are left to the collector, whose warnings
belong to no test.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.kill.rounds import Target

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
SEED = 20240607


@pytest.mark.parametrize(("target", "rounds"), [("service", 25), ("daemons", 15), ("both", 10)])
def test_nothing_is_lost_when_processes_are_killed(
    target: Target, rounds: int, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--target", target, "--rounds", str(rounds), "--seed", str(SEED)]
    command = [sys.executable, "-m", "tests.kill", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1500, check=False)
    with capsys.disabled():
        print(done.stdout)  # noqa: T201 - the figures are what CI is to show
    assert done.returncode == 0, done.stdout + done.stderr
