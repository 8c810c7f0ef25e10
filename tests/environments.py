"""Virtual environments for programs that tests run and that are none of ours: they need much, all pinned."""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parents[1] / ".environments"


def install(name: str, requirements: Path) -> Path:
    """Return the folder of an environment that has what `requirements` says, made now if need be."""
    folder = FOLDER / name
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    stamp = folder / "requirements.sha256"
    FOLDER.mkdir(exist_ok=True)
    # Tests run in several processes, and two may want the same environment at the same time.
    with (FOLDER / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != wanted:
            shutil.rmtree(folder, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
            pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            # The list is whole: nothing is to be chosen that it does not name.
            subprocess.run([*pip, "--no-deps", "--requirement", str(requirements)], check=True)
            stamp.write_text(wanted)
    return folder


def site_packages(environment: Path) -> Path:
    """Return the folder in which the environment's packages are."""
    return next((environment / "lib").glob("python3*")) / "site-packages"
