"""Text for whoever listens: a log, or what a start says. It must never hold up or stop the work that it tells of.

A log's target can be full, or a pipe whose reader has gone or has stopped reading. Lines that cannot be written are
counted and dropped; the next one that can be written says how many.
"""

import os
import select
from collections.abc import Iterable
from typing import Final, TextIO

_PATIENCE_MS: Final = 50
"""How long the first line waits for a reader that is slow; those behind it do not wait at all."""
_PIECE: Final = 1024
"""Characters written at a time: a pipe that says it has room has it for 4096 bytes, and more would wait."""
_STANDARD_FILES: Final = (0, 1, 2)


class Unhindered:
    """A stream of text whose `write` always returns soon."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._room = _poll(stream)
        self.lost = 0
        """Lines dropped since the last one that was written."""
        self._torn = False
        """Whether only the beginning of the last line could be written."""

    def write(self, text: str) -> int:
        """Write a whole line, or drop it."""
        if self._stream is None:
            return len(text)
        whole = ("\n" if self._torn else "") + text
        try:
            for at in range(0, len(whole), _PIECE):
                if self._room is not None and not self._room.poll(0 if self.lost else _PATIENCE_MS):
                    self.lost += 1
                    return len(text)
                self._stream.write(whole[at : at + _PIECE])
                self._stream.flush()
                self._torn = at + _PIECE < len(whole)
        except (OSError, ValueError):  # ValueError: somebody has closed it
            self.lost += 1
        else:
            self.lost = 0
        return len(text)

    def flush(self) -> None:
        """Nothing waits to be written."""


def say(lines: Iterable[str], stream: TextIO | None) -> None:
    """Tell whoever started the program something, if there is somebody."""
    out = Unhindered(stream)
    out.write("\n".join(lines) + "\n")
    if out.lost and stream is not None:
        # Else Python, at its end, tries again what could not be written, and fails.
        nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def hold_standard_files() -> None:
    """See that the three standard files are open. Else the next file that is opened becomes one of them, and whatever a
    library prints goes into it: into the database, say."""
    for number in _STANDARD_FILES:
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one


def _poll(stream: TextIO | None) -> "select.poll | None":
    try:
        number = -1 if stream is None else stream.fileno()
    except (OSError, ValueError):
        return None
    if number < 0:
        return None
    room = select.poll()
    room.register(number, select.POLLOUT)
    return room
