"""The documents that are made from tables say what the tables say.

OPENEVS_RENDER_DOCS=1 writes them anew: after a change of the route table, run this file with it once.
"""

import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from openevs.api import compatibility, error_docs, policy_docs
from openevs.api.faults import EVS_CODES, FORBIDDEN_CODE
from tests.tempest.expectations import NOT_YET, OURS, read_expected
from tests.tempest.outcomes import area_of

ROOT = Path(__file__).parents[2]


def parity() -> list[compatibility.Parity]:
    """Return what the list of Tempest's tests says, by area."""
    tests = read_expected("preprovisioned").tests
    marks = {area: [mark for name, mark in tests.items() if area_of(name) == area] for area in map(area_of, tests)}
    return [
        compatibility.Parity(
            area, len(of) - of.count(OURS), len(of) - of.count(OURS) - of.count(NOT_YET), of.count(OURS)
        )
        for area, of in sorted(marks.items())
    ]


@pytest.mark.parametrize(
    ("name", "render"),
    [
        ("errors.md", error_docs.render_errors),
        ("api-compatibility.md", partial(compatibility.render_compatibility, parity=parity())),
        ("policy.md", policy_docs.render_policy),
    ],
)
def test_documents_are_as_rendered(name: str, render: Callable[[], str]) -> None:
    path = ROOT / "docs" / name
    if os.environ.get("OPENEVS_RENDER_DOCS"):
        path.write_text(render())
    assert path.read_text() == render(), "run this test once with OPENEVS_RENDER_DOCS=1"


def test_every_code_that_is_used_has_a_meaning() -> None:
    used = {
        code
        for path in (ROOT / "src").rglob("*.py")
        if path.name != "error_docs.py"
        for code in re.findall(r'"((?:EVS|APIGW|Common)\.\d+)"', path.read_text())
    }
    assert used - error_docs.CODES.keys() == set()
    assert error_docs.CODES.keys() - used == set()
    assert {row.code for row in EVS_CODES} | {FORBIDDEN_CODE} <= error_docs.CODES.keys()


def test_every_choice_is_one_row() -> None:
    for question, answer in compatibility.CHOICES:
        assert "\n" not in question + answer
        assert "|" not in question + answer
