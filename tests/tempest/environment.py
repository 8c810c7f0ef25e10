"""The virtual environment that Tempest has for itself: its requirements are many, pinned, and none of ours."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / ".tempest"
REQUIREMENTS: Final = Path(__file__).parent / "requirements.txt"


def install() -> Path:
    """Return the folder of an environment that has what `requirements.txt` says, made now if need be."""
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    stamp = FOLDER / "requirements.sha256"
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(FOLDER, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(FOLDER)], check=True)
        pip = [str(FOLDER / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--no-deps", "--requirement", str(REQUIREMENTS)], check=True)
        stamp.write_text(wanted)
    return FOLDER


def site_packages(environment: Path) -> Path:
    """Return the folder in which the environment's packages are."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return environment / "lib" / version / "site-packages"
