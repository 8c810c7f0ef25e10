"""What path leads where."""

import pytest

from openevs.api.call import Call, Reply, Route
from openevs.api.tree import RouteTree

PATHS = ("/{project}/things", "/{project}/things/{thing}", "/{project}/things/special", "/all/{kind}/deep", "/all")


async def answer(call: Call) -> Reply:
    return Reply()


@pytest.fixture
def tree() -> RouteTree:
    made = RouteTree()
    for path in PATHS:
        made.add(path, Route("GET", path, answer, 200, path), "v3")
    return made


@pytest.mark.parametrize(
    ("path", "leads_to", "values"),
    [
        ("p/things", "/{project}/things", {"project": "p"}),
        ("p/things/1", "/{project}/things/{thing}", {"project": "p", "thing": "1"}),
        ("p/things/special", "/{project}/things/special", {"project": "p"}),
        ("all", "/all", {}),
        ("all/x/deep", "/all/{kind}/deep", {"kind": "x"}),
        # The literal leads nowhere; what it had taken for a parameter on its way is none.
        ("all/things", "/{project}/things", {"project": "all"}),
        ("all/things/1", "/{project}/things/{thing}", {"project": "all", "thing": "1"}),
    ],
)
def test_literals_go_before_parameters(tree: RouteTree, path: str, leads_to: str, values: dict[str, str]) -> None:
    match = tree.find(path.split("/"))
    assert match is not None
    assert match.methods["GET"][0].path == leads_to
    assert match.values == values


@pytest.mark.parametrize("path", ["", "p", "p/things/1/2", "all/x", "all/x/deep/er", "p/other"])
def test_other_paths_lead_nowhere(tree: RouteTree, path: str) -> None:
    assert tree.find(path.split("/")) is None


def test_a_path_can_be_told_once_and_its_parameters_have_one_name(tree: RouteTree) -> None:
    with pytest.raises(ValueError, match="twice"):
        tree.add("/all", Route("GET", "/all", answer, 200, "again"), "v3")
    with pytest.raises(ValueError, match="elsewhere"):
        tree.add("/{tenant}/more", Route("GET", "/{tenant}/more", answer, 200, "more"), "v3")
