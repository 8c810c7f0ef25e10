"""A real file system with real files, without root: e2fsprogs fill, change, check and read an image, NBD moves it.

mke2fs fills an ext4 image from a folder, debugfs removes and writes files in one and extracts all of them, e2fsck says
whether it is sound. All work on a file, so a volume is first read into a sparse one, and what changed is written back.
"""

import asyncio
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from openevs.engine.nbd import NbdClient

Listing = dict[str, str]
"""Path below the root → what is there: `sha256:…`, `link:…` or `folder`."""

MIB: Final = 1 << 20
_CHUNK_BYTES: Final = 1 * MIB
_GRAIN_BYTES: Final = 4096
_IN_FLIGHT: Final = 4
_BLOCK_BYTES: Final = 4096
_TOOL_SECONDS: Final = 600.0
_LOST_AND_FOUND: Final = "lost+found"
_SYSTEM_FOLDERS: Final = f"{os.pathsep}/usr/sbin{os.pathsep}/sbin"
"""Where e2fsprogs are, which a user who is not root does not have in PATH."""


class DiskError(Exception):
    """A file system is damaged, or a tool failed; the message has the tool's own words."""


class Changes(NamedTuple):
    """What to do to the files of an image; paths are relative to its root."""

    remove: Sequence[str]
    write: dict[str, Path]
    """Path in the image → file with the new content."""


def size_for(folder: Path) -> int:
    """Return a size for an image that holds the folder with room to spare, in bytes."""
    blocks = sum(1 + -(-path.lstat().st_size // _BLOCK_BYTES) for path in folder.rglob("*"))
    room = blocks * _BLOCK_BYTES * 5 // 4 + 64 * MIB
    return -(-room // MIB) * MIB


def make_image(folder: Path, image: Path, size_bytes: int) -> None:
    """Make an ext4 file system with the folder's files in a sparse file. Raises DiskError."""
    with image.open("wb") as file:
        file.truncate(size_bytes)
    inodes = sum(1 for _ in folder.rglob("*")) + 1024
    _run("mke2fs", "-q", "-F", "-t", "ext4", "-b", str(_BLOCK_BYTES), "-N", str(inodes), "-d", str(folder), str(image))


def listing_of(folder: Path) -> Listing:
    """Return what the folder holds."""
    found: Listing = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if PurePosixPath(name).parts[0] != _LOST_AND_FOUND:
            found[name] = _entry(path)
    return found


def _entry(path: Path) -> str:
    if path.is_symlink():
        return f"link:{path.readlink()}"
    if path.is_dir():
        return "folder"
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def read_image(image: Path, scratch: Path) -> Listing:
    """Check an image's file system, extract every file and return what there is. Raises DiskError."""
    _run("e2fsck", "-f", "-n", str(image))
    into = scratch / "extracted"
    into.mkdir()
    try:
        # The exit status says nothing, and the owner of lost+found cannot be set without root: the listing tells.
        _run("debugfs", "-R", f'rdump / "{into}"', str(image))
        return listing_of(into)
    finally:
        shutil.rmtree(into)


def change_image(image: Path, changes: Changes) -> None:
    """Remove and write files in an image. Raises DiskError if the tool cannot run; what it did, the listing tells."""
    lines = [f'rm "/{path}"' for path in [*changes.remove, *changes.write]]
    for path, source in changes.write.items():
        place = PurePosixPath("/", path)
        lines += [f'cd "{place.parent}"', f'write "{source}" "{place.name}"']
    _run("debugfs", "-w", "-f", "-", str(image), given="\n".join(lines) + "\n")


def plain_files(listing: Listing) -> list[str]:
    """Return the files whose names a debugfs command can hold as they are."""
    return [name for name, what in listing.items() if what.startswith("sha256:") and _is_plain(name)]


def _is_plain(name: str) -> bool:
    return name.isascii() and name.isprintable() and not set(name) & set("\"'\\#<> ")


async def upload(image: Path, uri: str, before: Path | None = None) -> int:
    """Write an image's data to the beginning of a volume, flushed; return how many bytes were written.

    Only what differs from `before`, which the volume holds; without it, what is not zero."""
    async with await NbdClient.connect(uri) as client:
        written = 0
        for offset, data in _differences(image, before):
            await client.write(offset, data)
            written += len(data)
        await client.flush()
        return written


async def download(uri: str, length_bytes: int, image: Path) -> None:
    """Read the beginning of a volume into a sparse file."""
    async with await NbdClient.connect(uri) as client:
        places = iter(range(0, length_bytes, _CHUNK_BYTES))
        with image.open("wb") as file:
            file.truncate(length_bytes)

            async def fetch() -> None:
                for offset in places:
                    data = await client.read(offset, min(_CHUNK_BYTES, length_bytes - offset))
                    if data.count(0) != len(data):
                        os.pwrite(file.fileno(), data, offset)

            # Not a group of tasks: what one of them raises is to be raised as it is.
            await asyncio.gather(*(fetch() for _ in range(_IN_FLIGHT)))


async def read_range(uri: str, offset_bytes: int, length_bytes: int) -> bytes:
    """Return a part of a volume."""
    async with await NbdClient.connect(uri) as client:
        return await client.read(offset_bytes, length_bytes)


def _differences(image: Path, before: Path | None) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, data) of what differs, neighbouring grains in one piece."""
    with image.open("rb") as new, (before or Path(os.devnull)).open("rb") as old:
        offset = 0
        while data := new.read(_CHUNK_BYTES):
            other = old.read(_CHUNK_BYTES) if before else bytes(len(data))
            begin: int | None = None
            for at in range(0, len(data) if data != other else 0, _GRAIN_BYTES):
                differs = data[at : at + _GRAIN_BYTES] != other[at : at + _GRAIN_BYTES]
                if differs and begin is None:
                    begin = at
                elif not differs and begin is not None:
                    yield offset + begin, data[begin:at]
                    begin = None
            if begin is not None:
                yield offset + begin, data[begin:]
            offset += len(data)


def _run(*command: str, given: str = "") -> None:
    path = os.environ.get("PATH", os.defpath) + _SYSTEM_FOLDERS
    environ = {**os.environ, "PATH": path, "LC_ALL": "C", "DEBUGFS_PAGER": "cat"}
    try:
        done = subprocess.run(
            command, input=given, capture_output=True, text=True, timeout=_TOOL_SECONDS, env=environ, check=False
        )
    except FileNotFoundError:
        raise DiskError(f"{command[0]} is not installed; the package e2fsprogs has it.") from None
    except subprocess.TimeoutExpired:
        raise DiskError(f"{command[0]} was not done after {_TOOL_SECONDS:g} s.") from None
    if done.returncode:
        words = (done.stdout + done.stderr).strip().splitlines()
        raise DiskError(f"{command[0]} failed with {done.returncode}: {' / '.join(words[-3:])}")
