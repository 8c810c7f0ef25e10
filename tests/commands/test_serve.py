"""`openevs serve` that cannot start: a sentence, and no traceback."""

import subprocess
import sys
from pathlib import Path


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
