"""Finds the route of a path: a tree of path segments, so that a look-up costs the depth of the path, not the number of
routes."""

from dataclasses import dataclass, field
from typing import NamedTuple

from openevs.api.call import Route

Methods = dict[str, tuple[Route, str]]
"""Method → route and the API version it was expanded for."""


class Match(NamedTuple):
    """What a path leads to."""

    methods: Methods
    values: dict[str, str]


@dataclass(slots=True)
class _Node:
    literals: "dict[str, _Node]" = field(default_factory=dict)
    parameter: "tuple[str, _Node] | None" = None
    methods: Methods = field(default_factory=dict)


class RouteTree:
    """All routes, by path."""

    def __init__(self) -> None:
        self._root = _Node()

    def add(self, path: str, route: Route, api: str) -> None:
        """Add a route under an absolute path; a segment `{name}` stands for any text."""
        node = self._root
        for segment in path.strip("/").split("/"):
            if segment.startswith("{"):
                name = segment[1:-1]
                if node.parameter is None:
                    node.parameter = (name, _Node())
                elif node.parameter[0] != name:
                    raise ValueError(
                        f"{path}: {{{name}}} is called {{{node.parameter[0]}}} elsewhere in the route table"
                    )
                node = node.parameter[1]
            else:
                node = node.literals.setdefault(segment, _Node())
        if route.method in node.methods:
            raise ValueError(f"{route.method} {path} is in the route table twice")
        node.methods[route.method] = (route, api)

    def find(self, segments: list[str]) -> Match | None:
        """Return what the path leads to; literal segments go before parameters. None if there is no such path."""
        values: dict[str, str] = {}
        node = self._walk(self._root, segments, 0, values)
        return None if node is None or not node.methods else Match(node.methods, values)

    def _walk(self, node: _Node, segments: list[str], at: int, values: dict[str, str]) -> _Node | None:
        if at == len(segments):
            return node if node.methods else None
        literal = node.literals.get(segments[at])
        if literal is not None:
            found = self._walk(literal, segments, at + 1, values)
            if found is not None:
                return found
        if node.parameter is None:
            return None
        name, child = node.parameter
        found = self._walk(child, segments, at + 1, values)
        if found is not None:
            values[name] = segments[at]
        return found
