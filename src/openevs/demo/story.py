"""The story: a volume with files, attached and written to; a snapshot; changes; a copy and a roll-back; a comparison.

    make a volume, attach it, put a file system with files on it, keep a writer going beyond the file system
    POST a snapshot of it, and poll until it is available
    change and delete files
    make a volume from the snapshot: every file must be as it was, and the writer's records those of one instant
    detach the volume and roll it back: likewise

Everything is asked of the service over HTTP; bytes go over NBD, as a client's do.
"""

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from openevs.demo import disk, files
from openevs.demo.api import Api, Attached, Taken
from openevs.demo.disk import MIB, Listing
from openevs.demo.records import RECORD_BYTES, NotOneInstant, state_of
from openevs.demo.service import Service
from openevs.demo.table import render
from openevs.demo.writer import Request, Writer, worst_ms

Tell = Callable[[str], None]

SLOTS: Final = 8192
"""Records in the writer's ring: 32 MiB, which every volume with a file system has to spare."""
_RING_BYTES: Final = SLOTS * RECORD_BYTES
_WARM_UP_SECONDS: Final = 2.0
"""Time the writer has alone before the snapshot, which its latencies in the window are compared with."""
_COOL_DOWN_SECONDS: Final = 0.5
_GIB: Final = 1 << 30


class Check(NamedTuple):
    """Something that must hold, and whether it does."""

    what: str
    failure: str | None
    """A sentence; None: it holds."""


class Outcome(NamedTuple):
    """What the demo has found."""

    checks: list[Check]
    rows: list[tuple[str, str]]

    @property
    def failures(self) -> list[str]:
        """Sentences about what does not hold."""
        return [check.failure for check in self.checks if check.failure]


@contextlib.contextmanager
def work_folder(parent: Path | None, *, keep: bool, tell: Tell) -> Iterator[Path]:
    """Make a folder for everything; remove it at the end, however that comes, unless it is to be kept."""
    folder = Path(tempfile.mkdtemp(prefix="openevs-demo-", dir=parent))
    try:
        yield folder
    finally:
        if keep:
            tell(f"Everything is kept in {folder}; serve it with: openevs serve --data-folder {folder / 'data'}")
        else:
            shutil.rmtree(folder)


def run(folder: Path, *, parent: Path | None, keep: bool, tell: Tell) -> Outcome:
    """Run the demo with the files of `folder`, everything in a new folder below `parent` (None: the system's).

    Raises ServiceError, ApiError, DiskError, WriterError, NoFiles, OSError when it cannot be carried on."""
    with work_folder(parent, keep=keep, tell=tell) as scratch:
        files.stage(folder, scratch / "files")
        with Service(scratch / "data") as service:
            tell(f"A service of our own runs at {service.base_url}, in {service.folder}")
            api = service.log_in()
            try:
                return _Story(api, scratch, tell).play()
            finally:
                api.clear()
                api.close()


class _Story:
    def __init__(self, api: Api, scratch: Path, tell: Tell) -> None:
        self._api, self._scratch, self._tell = api, scratch, tell
        self._original = disk.listing_of(scratch / "files")
        self._image_bytes = disk.size_for(scratch / "files")
        self._checks: list[Check] = []

    def play(self) -> Outcome:
        began = time.monotonic()
        size_gib = -(-(self._image_bytes + _RING_BYTES) // _GIB)
        volume = self._api.make_volume(size_gib, name="demo")
        attached = self._api.attach(volume)
        self._tell(f"Volume {volume}, {size_gib} GiB, is in-use, served at {attached.uri}")
        self._fill(attached)
        with Writer(attached.uri, self._image_bytes, SLOTS, self._scratch / "writer.times") as writer:
            self._tell("A writer writes to it in a process of its own, one 4 KiB record after the other")
            time.sleep(_WARM_UP_SECONDS)
            taken = self._api.take_snapshot(volume, "demo")
            time.sleep(_COOL_DOWN_SECONDS)
            self._tell(f"Snapshot {taken.snapshot['id']} is available; the writer has not stopped")
            quiet_until = time.monotonic_ns()
            self._change(attached)
            requests = writer.stop()
        self._tell(f"The writer has made {len(requests)} requests")
        self._compare_copy(size_gib, taken, requests)
        self._compare_rolled_back(volume, attached, taken, requests)
        return Outcome(self._checks, self._rows(taken, requests, quiet_until, time.monotonic() - began))

    def _fill(self, attached: Attached) -> None:
        image = self._scratch / "image"
        disk.make_image(self._scratch / "files", image, self._image_bytes)
        written = asyncio.run(disk.upload(image, attached.uri))
        image.unlink()
        count = sum(what.startswith("sha256:") for what in self._original.values())
        self._tell(f"An ext4 file system with {count} files is on it ({written / MIB:.0f} MiB written)")

    def _change(self, attached: Attached) -> None:
        """Change and delete files on the attached volume; also shows that a comparison can fail."""
        before, now = self._scratch / "before", self._scratch / "now"
        asyncio.run(disk.download(attached.uri, self._image_bytes, before))
        shutil.copyfile(before, now)
        changes, expected = files.plan_changes(self._original, self._scratch / "changes")
        disk.change_image(now, changes)
        asyncio.run(disk.upload(now, attached.uri, before))
        before.unlink()
        now.unlink()
        self._tell(f"{len(changes.write)} files were written and {len(changes.remove)} deleted on it meanwhile")
        self._compare(attached, expected, "the changed volume holds the changed files")

    def _compare_copy(self, size_gib: int, taken: Taken, requests: list[Request]) -> None:
        copy = self._api.make_volume(size_gib, name="copy", snapshot_id=taken.snapshot["id"])
        attached = self._api.attach(copy)
        self._compare(attached, self._original, "a volume made from the snapshot holds every file as it was")
        self._compare_records(attached, taken, requests, "its records")
        self._api.detach(copy, attached)

    def _compare_rolled_back(self, volume: str, attached: Attached, taken: Taken, requests: list[Request]) -> None:
        self._api.detach(volume, attached)
        self._api.roll_back(volume, taken.snapshot["id"])
        attached = self._api.attach(volume)
        self._compare(attached, self._original, "the volume, rolled back, holds every file as it was")
        self._compare_records(attached, taken, requests, "the rolled-back volume's records")
        self._api.detach(volume, attached)

    def _compare(self, attached: Attached, expected: Listing, what: str) -> None:
        image = self._scratch / "image"
        asyncio.run(disk.download(attached.uri, self._image_bytes, image))
        try:
            found = disk.read_image(image, self._scratch)
        except disk.DiskError as error:
            self._note(what, str(error))
            return
        finally:
            image.unlink()
        self._note(what, difference(expected, found), f"{len(found)} entries")

    def _compare_records(self, attached: Attached, taken: Taken, requests: list[Request], what: str) -> None:
        ring = asyncio.run(disk.read_range(attached.uri, self._image_bytes, _RING_BYTES))
        try:
            count = state_of(ring)
        except NotOneInstant as error:
            self._note(f"{what} are those of one instant", f"{what} are not those of one instant: {error}.")
            return
        self._note(f"{what} are those of one instant", misplaced(count, taken, requests), f"after record {count - 1}")

    def _note(self, what: str, failure: str | None, detail: str = "") -> None:
        self._checks.append(Check(what, None if failure is None else f"Not so: {what}. {failure}"))
        self._tell(f"{'checked' if failure is None else 'FAILED'}: {what}{f' ({detail})' if detail else ''}")

    def _rows(self, taken: Taken, requests: list[Request], quiet_until: int, seconds: float) -> list[tuple[str, str]]:
        first = requests[0].began_ns
        inside = worst_ms(requests, taken.asked_ns, taken.available_ns)
        quiet = [r for r in requests if r.ended_ns < taken.asked_ns or taken.available_ns < r.began_ns < quiet_until]
        regular = [what for what in self._original.values() if what.startswith("sha256:")]
        failed = sum(check.failure is not None for check in self._checks)
        return [
            ("POST snapshot → reply", f"{(taken.answered_ns - taken.asked_ns) / 1e6:.1f} ms"),
            ("POST snapshot → available", f"{(taken.available_ns - taken.asked_ns) / 1e6:.1f} ms"),
            ("cut, as the service has measured it", _ms(taken.snapshot.get("openevs:cut_ms"))),
            ("writer's worst latency in that window", f"{inside:.1f} ms"),
            ("writer's worst latency outside it", f"{worst_ms(quiet, first, quiet_until):.1f} ms"),
            ("time outside it, with nothing else going on", f"{(quiet_until - first) / 1e9:.1f} s"),
            ("writer's requests in all", f"{len(requests)}"),
            ("files verified (SHA-256), in each of 3 volumes", f"{len(regular)}"),
            ("links and folders verified likewise", f"{len(self._original) - len(regular)}"),
            ("checks that hold", f"{len(self._checks) - failed} of {len(self._checks)}"),
            ("whole demo", f"{seconds:.1f} s"),
        ]


def _ms(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.1f} ms"


def difference(expected: Listing, found: Listing) -> str | None:
    """Return a sentence about the first of the differences, or None if there is none."""
    different = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    if not different:
        return None
    name = different[0]
    first = f"{name!r} is {found.get(name, 'missing')} instead of {expected.get(name, 'missing')}"
    return f"{len(different)} of {len(expected)} entries differ, such as: {first}."


def misplaced(count: int, taken: Taken, requests: list[Request]) -> str | None:
    """Return a sentence if the instant after `count` records cannot lie between the POST and `available`."""
    records = [request for request in requests if request.number >= 0]
    acknowledged = sum(record.ended_ns < taken.asked_ns for record in records)
    begun = sum(record.began_ns < taken.available_ns for record in records)
    if acknowledged <= count <= begun:
        return None
    return (
        f"The state is that after {count} records, but {acknowledged} were acknowledged before the POST, and {begun} "
        "had been begun when the snapshot was available."
    )


def report(outcome: Outcome) -> str:
    """Return the table and, if anything failed, the sentences about it."""
    return "\n".join([render(outcome.rows), *outcome.failures])
