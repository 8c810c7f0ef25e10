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
        return self._walk(self._root, segments, 0, {})

    def _walk(self, node: _Node, segments: list[str], at: int, values: dict[str, str]) -> Match | None:
        for depth in range(at, len(segments)):
            segment = segments[depth]
            literal = node.literals.get(segment)
            if literal is not None and node.parameter is None:
                node = literal
                continue
            if literal is not None:  # it may lead nowhere, and then the text is a parameter's after all
                found = self._walk(literal, segments, depth + 1, dict(values))
                if found is not None:
                    return found
            if node.parameter is None:
                return None
            name, node = node.parameter
            values[name] = segment
        return Match(node.methods, values) if node.methods else None
