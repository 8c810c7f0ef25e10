"""Headers as they are on the wire: those of a request, to find one by its name, and those of an answer, to be sent."""

from collections.abc import Mapping, Sequence

Pair = tuple[bytes, bytes]
"""A name, in lower case, and a value."""


class Headers:
    """The headers of a request. Most are never asked for, and so none is decoded before it is; of a name that is
    there twice the first counts."""

    __slots__ = ("_values",)

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self._values: dict[bytes, bytes] = dict(reversed(pairs))

    def get(self, name: bytes) -> str | None:
        """Return the value of a name, which is given in lower case."""
        value = self._values.get(name)
        return None if value is None else value.decode("latin-1")

    def __contains__(self, name: bytes) -> bool:
        return name in self._values


def answer_headers(ours: list[Pair], given: Mapping[str, str]) -> list[Pair]:
    """Return the headers of an answer: ours, and what the handler gives, which goes before one of ours."""
    if not given:
        return ours
    theirs = [(name.lower().encode("latin-1"), value.encode("latin-1", "replace")) for name, value in given.items()]
    names = {name for name, _ in theirs}
    return [*(pair for pair in ours if pair[0] not in names), *theirs]
