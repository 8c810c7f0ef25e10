"""`openevs serve` that cannot start: a sentence, and no traceback."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from openevs.commands.serve import AUTOGROUP, NICE


def serve(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "openevs.cli", "serve", "--data-folder", str(folder), "--port", "0"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_data_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """One that is mounted read-only gives another error for the same file."""
    lock = tmp_path / "data" / "lock"
    lock.mkdir(parents=True)
    done = serve(lock.parent)
    assert done.returncode == 1
    assert f"{lock} cannot be used: Is a directory." in done.stderr
    assert "Traceback" not in done.stderr


def test_as_many_files_may_be_open_as_the_system_lets(tmp_path: Path) -> None:
    """And who lets few is told, before clients find none left."""
    command = [sys.executable, "-m", "openevs.cli", "serve", "--data-folder", str(tmp_path / "data"), "--port", "0"]
    limited = ["bash", "-c", 'ulimit -S -n 100; ulimit -H -n 600; exec "$@"', "-", *command]
    with subprocess.Popen(limited, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        limits = Path(f"/proc/{process.pid}/limits").read_text()
        process.terminate()
        said = process.stderr.read()
    (found,) = (line.split()[3:5] for line in limits.splitlines() if line.startswith("Max open files"))
    assert found == ["600", "600"]
    assert '"limit": 600' in said
    assert "few_open_files" in said


@pytest.mark.skipif(not os.access(AUTOGROUP, os.W_OK), reason="the kernel has no autogroups")
@pytest.mark.parametrize("leads", [True, False])
def test_the_service_gives_way_to_guests_if_its_session_is_its_own(leads: bool, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "openevs.cli", "serve", "--data-folder", str(tmp_path / "data"), "--port", "0"]
    beside = ["bash", "-c", '"$@" & wait', "-", *command]  # as from somebody's terminal
    with subprocess.Popen(
        command if leads else beside, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        session = Path(f"/proc/{process.pid}/autogroup").read_text()
        os.killpg(process.pid, signal.SIGTERM)
        process.stdout.read()  # until it has ended, whoever's child it is
    assert session.endswith(f"nice {NICE if leads else 0}\n")
