"""The list of the tests that must pass, one for each way in which Tempest gets its accounts.

A line is the name of a test. It passes with Cinder itself in the same set-up (the head of each list says which), and
so must pass here. `+` before it: it passes here but not there. `-` before it: it passes there but not yet here.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from tests.tempest.outcomes import Outcome, area_of, passed

FOLDER: Final = Path(__file__).parent / "expected"
NOT_YET: Final = "-"
OURS: Final = "+"


class Expected(NamedTuple):
    """One list."""

    head: str
    tests: Mapping[str, str]
    """Name of a test → its mark; none for one that must pass as it does with Cinder."""

    @property
    def passing(self) -> set[str]:
        """Names of the tests that must pass."""
        return {name for name, mark in self.tests.items() if mark != NOT_YET}

    def with_results(self, found: list[Outcome]) -> "Expected":
        """Return the list as a run has shown it to be."""
        now = passed(found)
        theirs = {name for name, mark in self.tests.items() if mark != OURS}
        marks = {name: "" if name in now else NOT_YET for name in theirs}
        return self._replace(tests=marks | dict.fromkeys(now - theirs, OURS))


def read_expected(mode: str) -> Expected:
    """Return the list of a mode."""
    lines = (FOLDER / f"{mode}.txt").read_text().splitlines()
    head = "\n".join(line for line in lines if line.startswith("#"))
    tests = [line for line in lines if line and not line.startswith("#")]
    return Expected(head, {line.lstrip(OURS + NOT_YET): line[0] if line[0] in OURS + NOT_YET else "" for line in tests})


def write_expected(mode: str, expected: Expected) -> None:
    """Write the list of a mode."""
    lines = [mark + name for name, mark in sorted(expected.tests.items())]
    (FOLDER / f"{mode}.txt").write_text("\n".join([expected.head, *lines]) + "\n")


class Verdict(NamedTuple):
    """What a run says about the list."""

    lost: list[str]
    """Must pass, but did not: a regression."""
    gained: list[str]
    """Passed, but the list does not have it, or has it as one that does not pass yet."""


def judge(expected: Expected, found: list[Outcome], *, whole: bool) -> Verdict:
    """Compare a run with the list. One that was not `whole` says nothing about tests that it did not run."""
    now = passed(found)
    ran = {one.about for one in found}
    wanted = expected.passing if whole else {name for name in expected.passing if _was_run(name, ran)}
    return Verdict(sorted(wanted - now), sorted(now - expected.passing))


def _was_run(name: str, ran: set[str]) -> bool:
    return name in ran or name.rpartition(".")[0] in ran


def table(expected: Iterable[str], found: list[Outcome]) -> list[str]:
    """Return a run as a table: for each area how many tests passed, failed, were skipped, and were to pass."""
    wanted = Counter(area_of(name) for name in expected)
    columns = ("success", "fail", "skip")
    counts = Counter((area_of(one.about), one.status) for one in found)
    areas = sorted({area for area, _ in counts} | wanted.keys())
    rows: list[tuple[str, ...]] = [("area", "passed", "failed", "skipped", "to pass")]
    rows += [(area, *(str(counts[area, status]) for status in columns), str(wanted[area])) for area in areas]
    totals = [str(sum(count for (_, status), count in counts.items() if status == one)) for one in columns]
    rows.append(("all", *totals, str(wanted.total())))
    width = max(len(row[0]) for row in rows)
    return [f"{row[0]:<{width}}" + "".join(f"{cell:>9}" for cell in row[1:]) for row in rows]
