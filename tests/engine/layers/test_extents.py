"""Extents by the million."""

import itertools
import tracemalloc

import pytest

from openevs.engine.layers.extents import Extents
from openevs.engine.port import Extent


def test_what_touches_or_overlaps_is_one() -> None:
    found = Extents([(0, 4), (4, 4), (16, 8), (18, 2), (20, 10), (40, 1)])
    assert list(found) == [Extent(0, 8), Extent(16, 14), Extent(40, 1)]
    assert (len(found), found[0], found[-1]) == (3, Extent(0, 8), Extent(40, 1))
    assert found[1:] == [Extent(16, 14), Extent(40, 1)]
    with pytest.raises(IndexError):
        found[3]
    assert not Extents()


def test_a_million_take_little_room() -> None:
    tracemalloc.start()
    try:
        found = Extents((at * 65536, 4096) for at in range(1_000_000))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 40_000_000
    assert next(itertools.islice(found, 999_999, None)) == found[999_999] == Extent(999_999 * 65536, 4096)
