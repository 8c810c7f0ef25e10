"""The files of the demo: a folder's, or this checkout's, and a few with which copies tend to go wrong."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from openevs.demo.disk import Changes, Listing, listing_of, plain_files

_SKIPPED: Final = shutil.ignore_patterns(".git", ".venv", ".tox", "node_modules", "__pycache__", ".*_cache", "*.sock")
_MOST_CHANGED: Final = 200
"""Files that are changed, and as many that are deleted; more would show nothing more."""
ODD_FOLDER: Final = "openevs-demo"


class NoFiles(Exception):
    """The folder cannot be used; the message says why."""


def default_folder() -> Path:
    """Return the checkout that this program runs from or, when it is installed, its own package."""
    package = Path(__file__).absolute().parents[1]
    checkout = package.parents[1]
    return checkout if (checkout / "pyproject.toml").exists() else package


def stage(folder: Path, into: Path) -> None:
    """Copy the folder's files, in a checkout those under version control. Raises NoFiles."""
    if not folder.is_dir():
        raise NoFiles(f"{folder} is not a folder.")
    tracked = _tracked(folder)
    if tracked:
        into.mkdir()
        for name in tracked:
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(folder / name, into / name, follow_symlinks=False)
    else:
        shutil.copytree(folder, into, symlinks=True, ignore=_SKIPPED)
    _add_odd_ones(into / ODD_FOLDER)


def _tracked(folder: Path) -> list[str]:
    command = ["git", "-C", str(folder), "ls-files", "-z", "--cached"]
    try:
        listed = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    names = [os.fsdecode(name) for name in listed.split(b"\0") if name]
    # What was deleted but not committed, and submodules, are listed too.
    return [name for name in names if os.path.lexists(folder / name) and not (folder / name).is_dir()]


def _add_odd_ones(folder: Path) -> None:
    (folder / "a folder/with  spaces").mkdir(parents=True)
    (folder / "empty folder").mkdir()
    contents = {
        "empty": b"",
        "one byte": b"x",
        "quotes ' and \" and \\": b"quoted\n",
        "line\nbreak": b"broken\n",
        "snö ☃ 雪": b"snow\n",
        "-begins-with-a-dash": b"-\n",
        "x" * 255: b"the longest name there is\n",
        "a folder/with  spaces/just over a block": bytes(range(256)) * 16 + b"!",
        "a folder/with  spaces/no text.bin": os.urandom(3_000_001),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "link").symlink_to("a folder/with  spaces/no text.bin")
    (folder / "dangling link").symlink_to("../nowhere")
    with (folder / "mostly a hole").open("wb") as file:
        file.seek(5_000_000)
        file.write(b"end of the hole")


def plan_changes(listing: Listing, scratch: Path) -> tuple[Changes, Listing]:
    """Return changes to the files, new content of which is put below `scratch`, and what must be there afterwards."""
    names = plain_files(listing)
    removed, changed = names[::3][:_MOST_CHANGED], names[1::3][:_MOST_CHANGED]
    write: dict[str, Path] = {}
    after = {name: what for name, what in listing.items() if name not in removed}
    scratch.mkdir()
    for number, name in enumerate([*changed, "made-after-the-snapshot"]):
        source = scratch / str(number)
        source.write_bytes(f"{name} was changed after the snapshot\n".encode() * (1 + number % 500))
        write[name] = source
    contents = listing_of(scratch)
    after |= {name: contents[source.name] for name, source in write.items()}
    return Changes(removed, write), after
