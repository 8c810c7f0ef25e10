"""The place that a vault keeps its objects in, as the vault sees it: names and bytes, written once.

Methods block; the vault calls them in threads, several at once. They raise only `VaultError`s. A name is made of
lower-case letters, digits, `-`, `.` and `/`.
"""

from collections.abc import Iterator, Sequence
from typing import Final, Protocol

LARGEST_BYTES: Final = 80 << 20
"""No object is larger, so none that is takes more memory than that: it is damaged."""


class ObjectStore(Protocol):
    """A folder or a bucket."""

    @property
    def kind(self) -> str:
        """`folder` or `s3`."""

    @property
    def location(self) -> str:
        """Where it is, for people; holds no secret."""

    def open(self) -> None:
        """Make ready; remove what an unfinished write left. May be called again. Raises Transient, Broken."""

    def close(self) -> None:
        """Let go. May be called again."""

    def head(self, name: str) -> int | None:
        """Return the object's size, or None if there is none."""

    def put(self, name: str, data: bytes) -> None:
        """Make the object exist with these bytes, whole or as it was before. It is on stable storage once `settle` has
        returned. Raises NoSpace."""

    def copy(self, name: str, to: str) -> None:
        """Make another object exist with the bytes of one that is there; else as `put`. Takes no room if it can be."""

    def get(self, name: str) -> bytes | None:
        """Return the object's bytes, or None if there is none. Raises Damaged if there are too many."""

    def delete(self, names: Sequence[str]) -> None:
        """Make the objects not exist. One that is not there is success."""

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the names that begin with `prefix`, which ends with `/`: all of them, or it raises."""

    def settle(self) -> None:
        """Return when all that was put, deleted, or found to be there, is on stable storage."""
