"""Histograms of what happens on every request: the client library's own take as long to count a request as finding its
row does.

What they show is what a `Histogram` of the library shows; a test holds the two together.
"""

import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from threading import Lock

from prometheus_client import CollectorRegistry
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector


class _Series:
    """The durations under one set of labels."""

    __slots__ = ("counts", "created", "total")

    def __init__(self, bounds: int) -> None:
        self.counts = [0] * (bounds + 1)
        """How many fell below each bound but not below the one before; the last: above all."""
        self.total = 0.0
        self.created = time.time()


class Timings(Collector):
    """Durations in seconds by labels."""

    def __init__(
        self, name: str, meaning: str, labels: Sequence[str], bounds: Sequence[float], registry: CollectorRegistry
    ) -> None:
        self._name, self._meaning, self._labels = name, meaning, tuple(labels)
        self._bounds = [float(bound) for bound in bounds]
        self._series: dict[tuple[str, ...], _Series] = {}
        self._lock = Lock()  # one for all: it is held for less than a microsecond
        registry.register(self)

    def observe(self, labels: tuple[str, ...], seconds: float) -> None:
        """Count one duration; may be called from any thread."""
        at = bisect_left(self._bounds, seconds)
        with self._lock:
            series = self._series.get(labels)
            if series is None:
                series = self._series[labels] = _Series(len(self._bounds))
            series.counts[at] += 1
            series.total += seconds

    def describe(self) -> Iterator[Metric]:
        """Yield the names, without values."""
        yield HistogramMetricFamily(self._name, self._meaning, labels=self._labels)

    def collect(self) -> Iterator[Metric]:
        """Yield everything, for the registry."""
        family = HistogramMetricFamily(self._name, self._meaning, labels=self._labels)
        names = [*(str(bound) for bound in self._bounds), "+Inf"]
        with self._lock:
            found = [(key, list(one.counts), one.total, one.created) for key, one in self._series.items()]
        for labels, counts, total, created in found:
            sums = [(name, float(count)) for name, count in zip(names, accumulate(counts), strict=True)]
            family.add_metric(labels, sums, total)
            family.add_sample(f"{self._name}_created", dict(zip(self._labels, labels, strict=True)), created)
        yield family
