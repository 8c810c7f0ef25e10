"""The kill test as CI runs it: fifty rounds in all. By hand, any number: `make kill ROUNDS=500`.

It has a process of its own: connections that a killed service has cut off are left to the collector, whose warnings
belong to no test.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.kill.rounds import Target

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
SEED = 20240607
NOT_ONE_INSTANT = re.compile(r"group (snapshot )?[-0-9a-f]+ holds record \d+, but its part [-0-9a-f]+ lacks")


@pytest.mark.parametrize(("target", "rounds"), [("service", 25), ("daemons", 15), ("both", 10)])
def test_nothing_is_lost_when_processes_are_killed(
    target: Target, rounds: int, capsys: pytest.CaptureFixture[str]
) -> None:
    done = kill("--target", target, "--rounds", str(rounds), "--seed", str(SEED))
    with capsys.disabled():
        print(done.stdout)  # noqa: T201 - the figures are what CI is to show
    assert done.returncode == 0, done.stdout + done.stderr


def test_volumes_frozen_one_after_the_other_are_found_out() -> None:
    with tempfile.TemporaryDirectory(prefix="k-") as folder:  # where the data of what was found are kept
        done = kill("--rounds", "25", "--seed", str(SEED), "--program", "tests.kill.apart", TMPDIR=folder)
    found = [line for line in done.stdout.splitlines() if line.startswith("VIOLATION")]
    assert done.returncode == 1, done.stdout + done.stderr
    assert found
    assert all(NOT_ONE_INSTANT.search(line) for line in found), found


def kill(*words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run the kill test with these words on its command line."""
    command = [sys.executable, "-m", "tests.kill", *words]
    env = {**os.environ, **environment}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=1500, check=False)
