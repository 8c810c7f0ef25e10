"""The list finds what it is there to find: a test that no longer passes, or that was not even run."""

from tests.tempest.configuration import MODES
from tests.tempest.expectations import Expected, judge, read_expected, table
from tests.tempest.outcomes import Outcome, area_of

A, B, C, D = (f"tempest.api.volume.test_volumes_{name}.Some.test_it" for name in "abcd")
EXPECTED = Expected("# head", {A: "", B: "", C: "+", D: "-"})


def outcome(name: str, status: str = "success") -> Outcome:
    """One result."""
    return Outcome(name, status, 0.1, "because")


def test_what_must_pass_and_does_not_is_lost() -> None:
    found = [outcome(A), outcome(B, "fail"), outcome(C, "skip"), outcome(D, "fail")]
    assert judge(EXPECTED, found, whole=True) == ([B, C], [])
    # A class that could not be prepared takes its tests along, and so does one that nobody started.
    prepared = "setUpClass (tempest.api.volume.test_volumes_a.Some)"
    assert judge(EXPECTED, [outcome(prepared, "fail")], whole=True).lost == [A, B, C]
    assert judge(EXPECTED, [outcome(prepared, "fail")], whole=False).lost == [A]


def test_what_passes_now_is_gained() -> None:
    new = "tempest.api.volume.test_volumes_e.Some.test_it"
    found = [outcome(name) for name in (A, B, C, D, new)]
    assert judge(EXPECTED, found, whole=True) == ([], [D, new])
    assert EXPECTED.with_results(found).tests == {A: "", B: "", D: "", C: "+", new: "+"}
    assert EXPECTED.with_results([outcome(A)]).tests == {A: "", B: "-", D: "-"}


def test_the_table_counts_by_area() -> None:
    lines = table(EXPECTED.passing, [outcome(A), outcome(B, "fail")])
    assert [line.split() for line in lines[1:]] == [
        ["volumes", "a", "1", "0", "0", "1"],
        ["volumes", "b", "0", "1", "0", "1"],
        ["volumes", "c", "0", "0", "0", "1"],
        ["all", "1", "1", "0", "3"],
    ]


def test_the_lists_are_whole() -> None:
    for mode in MODES:
        expected = read_expected(mode)
        assert expected.head.startswith("# The tests of tempest.api.volume")
        assert len(expected.passing) > 100
        assert all(area_of(name) for name in expected.tests)
