"""Headers as they are on the wire: those of a request, to find one by its name, and those of an answer, to be sent."""

from collections.abc import Mapping, Sequence

Pair = tuple[bytes, bytes]
"""A name, in lower case, and a value."""


class Headers(dict[bytes, bytes]):
    """The headers of a request, by name in lower case. Most are never asked for, and so none is decoded before it is;
    of a name that is there twice the first counts."""

    __slots__ = ()

    def __init__(self, pairs: Sequence[Pair]) -> None:
        super().__init__(reversed(pairs))

    def text(self, name: bytes) -> str | None:
        """Return the value of a name."""
        value = self.get(name)
        return None if value is None else value.decode("latin-1")


def answer_headers(ours: list[Pair], given: Mapping[str, str]) -> list[Pair]:
    """Return the headers of an answer: ours, and what the handler gives, which goes before one of ours."""
    if not given:
        return ours
    theirs = [(name.lower().encode("latin-1"), value.encode("latin-1", "replace")) for name, value in given.items()]
    names = {name for name, _ in theirs}
    return [*(pair for pair in ours if pair[0] not in names), *theirs]
