"""docs/performance.md: the figures of one full run, and what they were taken on."""

import os
import platform
import re
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench.figures import Row
from openevs import __version__

_HEAD = """# Performance

Made by `make bench` (about five minutes), which measures everything in one run and writes this file: do not edit it.

How to read it: every line is a ratio of two figures that were taken in turns, on the same machine, within the same
minutes; the ratio is what is promised, the figures themselves are this machine's. Medians of many rounds; the spread is
below. A line that is missed says MISSED and stays: the limit is not lowered. Nothing here is tested by the clock in
`make test`, because a timed test fails on a busy machine and proves nothing on a fast one.
"""
_WAYS = """
## How it was measured

* The client is one keep-alive connection of prepared bytes. It looks at once, and is answered when the work has ended
  (`server.settle_seconds`); else it would look again every half millisecond.
* *Attached and written*: a process of its own writes 4 KiB records, one at a time, with a flush after every 16th, as
  fast as it is answered. While the floor is measured, it is the floor's volume that is written to.
* The floor is what the design cannot do without: two commits to SQLite (`synchronous=FULL`) on the same disk, one
  manifest on stable storage, and QEMU's own command that makes an overlay and cuts, sent down a bare socket.
* Volumes hold 2,000 blocks of 4 KiB scattered over their whole size, and 64 more are written before each snapshot.
* The 100,000 snapshots are put into the database of a stopped service; the 1,000 volumes are made through the API.
* The constant is served by the same uvicorn with the same settings, loaded by wrk with the same headers.
* Memory is the resident size, shared pages included: with several daemons the machine gives less than their sum.
"""


def place(folder: Path) -> list[str]:
    """Return facts about the machine and the disk that the folder is on."""
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return [
        f"{_processor()}, {cores} cores, {memory:.0f} GiB of memory",
        f"file system of the pool: {_said('findmnt', '-n', '-o', 'FSTYPE', '-T', str(folder))}",
        f"Linux {platform.release()}, Python {platform.python_version()}, QEMU {_qemu()}, OpenEVS {__version__}",
        f"load when the run began: {os.getloadavg()[0]:.2f}",
    ]


_WHY: Final = {
    "POST → available, attached and written (stricter)": (
        "The cut is not what takes the time: the rest is the service's own work for two requests and an operation, in "
        "one Python process that shares two cores with the writer, the daemon and the client, and gives way to them "
        "(ADR 14)."
    ),
    "writer's worst latency in that window": (
        "What the scheduler was seen to do: the writer, or a thread of its daemon, becomes ready on the core where the "
        "service is in the midst of a millisecond of work, and waits there while the other core idles. The shorter the "
        "service's work, the shorter the wait; what is left is the cut, and the first flush after it. The floor's own "
        "writer, in the notes below, has all that but the service's work."
    ),
    "group snapshot of 16 attached volumes, the cut": (
        "The daemon drains and moves one volume after the other, some 0.15 ms each."
    ),
    "group snapshot of 16 attached volumes, all of it": (
        "More than half of it is the flush of sixteen volumes, which goes on before anybody is held up: for each of "
        "them QEMU writes reference counts, flushes, writes tables, flushes."
    ),
    "full backup": (
        "The bare loop stores nothing, while a backup also puts what it has compressed on stable storage, and reads "
        "through a daemon: both cost time of the same cores."
    ),
    "POST → available, snapshot 200 and on": ("QEMU stops and starts each layer of the chain for a cut."),
}
"""Why a line is missed, as far as it is known."""


def write(path: Path, rows: Sequence[Row], facts: Sequence[str]) -> None:
    """Write the document."""
    lines = [_HEAD, f"Taken on {datetime.now(UTC):%Y-%m-%d} on:\n", *(f"* {fact}" for fact in facts), ""]
    lines += ["| what | measured | against | | ratio | reach | |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        what, measured, limit, ratio, reach, verdict = row.cells()
        lines.append(f"| {what} | {measured} | {row.against} | {limit} | {ratio} | {reach} | {verdict} |")
    missed = [row for row in rows if not row.kept]
    lines += ["", "## What is missed", ""]
    lines += [f"* {_missed(row)}" for row in missed] or ["Nothing."]
    lines += [_WAYS, "## Spread", ""]
    for row in rows:
        lines += [f"* **{row.what}**: {row.measured.spread()}", f"  * against: {row.limit.spread()}"]
        lines += [f"  * {note}" for note in row.notes]
    path.write_text("\n".join(lines) + "\n")


def _missed(row: Row) -> str:
    bound = "at least" if row.at_least else "at most"
    why = _WHY.get(row.what, "Why is not known yet.")
    return f"{row.what}: {row.ratio:.2f} instead of {bound} {row.reach:g} times {row.against}. {why}"


def _processor() -> str:
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def _qemu() -> str:
    words = _said("qemu-img", "--version").split()
    return words[2] if len(words) > 2 else "?"


def _said(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "?"
