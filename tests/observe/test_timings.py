"""Our quick histogram and the client library's own show the same."""

import re

from prometheus_client import CollectorRegistry, Histogram, generate_latest

from openevs.observe.timings import Timings

BOUNDS = (0.0005, 0.001, 0.5, 1, 10)
SEEN = [0.0, 0.0005, 0.00051, 0.3, 0.5, 1, 9.99, 10, 11, 0.3]


def text_of(registry: CollectorRegistry) -> str:
    """Everything but when a series began, which is another instant."""
    return re.sub(r"(_created\{.*\}) .*", r"\1", generate_latest(registry).decode())


def test_as_the_librarys_own() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    timings = Timings("some_seconds", "What it is.", ["name", "mode"], BOUNDS, ours)
    histogram = Histogram("some_seconds", "What it is.", ["name", "mode"], buckets=BOUNDS, registry=theirs)
    assert text_of(ours) == text_of(theirs)
    for seconds in SEEN:
        for labels in (("a", "read"), ("b", "write"), ('quo"ted\n', "")):
            timings.observe(labels, seconds)
            histogram.labels(*labels).observe(seconds)
    assert text_of(ours) == text_of(theirs)
    assert "some_seconds_created{" in text_of(ours)


def test_when_a_series_began_is_told() -> None:
    registry = CollectorRegistry()
    timings = Timings("some_seconds", "What it is.", ["name"], BOUNDS, registry)
    timings.observe(("a",), 1)
    assert registry.get_sample_value("some_seconds_created", {"name": "a"})
