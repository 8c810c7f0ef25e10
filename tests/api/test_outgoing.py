"""What a connection sends goes out together, in order, and not too late."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest

from openevs.api.outgoing import MOST_HELD, Outgoing


class Wire(asyncio.Transport):
    """Notes what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Any] = []
        self.closing = False

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        self.told.append(b"".join(list_of_data))

    def write_eof(self) -> None:
        self.told.append("eof")

    def close(self) -> None:
        self.told.append("close")
        self.closing = True

    def abort(self) -> None:
        self.told.append("abort")
        self.closing = True

    def is_closing(self) -> bool:
        return self.closing


async def two_answers(out: Outgoing) -> None:
    out.write(b"head ")
    out.write(b"body ")
    await asyncio.sleep(0)
    out.write(b"next")


async def answer_and_close(out: Outgoing) -> None:
    out.write(b"head ")
    out.write(b"body")
    out.close()


async def refuse(out: Outgoing) -> None:
    out.write(b"no")
    out.write_eof()


async def give_up(out: Outgoing) -> None:
    out.write(b"never")
    out.abort()


async def lose(out: Outgoing) -> None:
    out.write(b"never")
    out._transport.close()


async def send_much(out: Outgoing) -> None:
    out.write(b"head ")
    out.write(b"x" * MOST_HELD)
    assert isinstance(out._transport, Wire)
    out._transport.told.append("at once")
    out.write(b"y")


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (two_answers, [b"head body ", b"next"]),
        (answer_and_close, [b"head body", "close"]),
        (refuse, [b"no", "eof"]),
        (give_up, ["abort"]),
        (lose, ["close"]),
        (send_much, [b"head " + b"x" * MOST_HELD, "at once", b"y"]),
    ],
)
def test_what_is_told_to_the_transport(act: Callable[[Outgoing], Awaitable[None]], told: list[Any]) -> None:
    async def run() -> list[Any]:
        wire = Wire()
        await act(Outgoing(wire, asyncio.get_running_loop()))
        await asyncio.sleep(0.01)
        return wire.told

    assert asyncio.run(run()) == told
