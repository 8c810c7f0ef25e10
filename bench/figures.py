"""Figures: samples, their medians and spreads, and rows that hold one promise each."""

import statistics
from collections.abc import Sequence
from typing import NamedTuple


class Samples(NamedTuple):
    """What was measured of one thing in all rounds."""

    values: tuple[float, ...]
    unit: str

    @property
    def median(self) -> float:
        """The median."""
        return statistics.median(self.values)

    def text(self) -> str:
        """The median, for a table."""
        return f"{number(self.median)} {self.unit}"

    def spread(self) -> str:
        """Median, quartiles and extremes, for people who ask how sure it is."""
        if len(self.values) < 4:
            return f"{', '.join(number(value) for value in self.values)} {self.unit}"
        low, _, high = statistics.quantiles(self.values, n=4)
        ends = f"{number(min(self.values))} to {number(max(self.values))}"
        return (
            f"median {number(self.median)}, half of them {number(low)} to {number(high)}, all {ends} {self.unit} "
            f"({len(self.values)} rounds)"
        )


def milliseconds(seconds: Sequence[float]) -> Samples:
    """Return durations as samples in ms."""
    return Samples(tuple(value * 1e3 for value in seconds), "ms")


def number(value: float) -> str:
    """Return a number with three digits that mean something."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


class Row(NamedTuple):
    """One promise: a value, what it stands against, and how far it may be from it."""

    what: str
    measured: Samples
    against: str
    """What the limit or peer is."""
    limit: Samples
    reach: float
    at_least: bool = False
    """Whether `reach` is the least ratio rather than the most."""
    notes: tuple[str, ...] = ()

    @property
    def ratio(self) -> float:
        """Measured value to limit."""
        return self.measured.median / self.limit.median if self.limit.median else float("inf")

    @property
    def kept(self) -> bool:
        """Whether the promise is kept."""
        return self.ratio >= self.reach if self.at_least else self.ratio <= self.reach

    def cells(self) -> tuple[str, ...]:
        """The row of the table."""
        sign = "≥" if self.at_least else "≤"
        verdict = "ok" if self.kept else "MISSED"
        return (
            self.what, self.measured.text(), self.limit.text(), f"{self.ratio:.2f}", f"{sign} {self.reach:g}", verdict,
        )  # fmt: skip


HEADER = ("what", "measured", "against", "ratio", "reach", "")


def absolute(what: str, measured: Samples, most: float) -> Row:
    """Return a row whose limit is a number."""
    return Row(what, measured, "fixed", Samples((most,), measured.unit), 1.0)
