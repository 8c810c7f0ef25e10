"""What a kind of operation is made of. Each kind has a file of its own: prose, the steps, the two ends, the table."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, NamedTuple

from openevs.domain.model import Operation
from openevs.engine.errors import Busy, EngineError, NoSpace, OutcomeUnknown, Transient
from openevs.engine.port import Engine
from openevs.store.database import Tx

Facts = dict[str, Any]
"""What the steps so far have found out; plain values, stored as JSON between steps."""


class Step(NamedTuple):
    """One piece of work that touches the engine. It may be run again at any time, whether it finished or not."""

    name: str
    run: Callable[[Engine, Operation, Facts], Awaitable[Facts]]
    """Returns the facts that later steps, or the ends, need."""


class Kind(NamedTuple):
    """One kind of operation."""

    name: str
    steps: tuple[Step, ...]
    succeed: Callable[[Tx, Operation, Facts, datetime], None]
    """Changes the rows when all steps are done; in one transaction with closing the operation."""
    fail: Callable[[Tx, Operation, str, datetime], None]
    """Changes the rows when it is given up, with a reason for a person; likewise."""
    undo: tuple[Step, ...] = ()
    """Work that removes what the steps may have left, before `fail`."""
    forward_only: bool = False
    """Never given up for a reason that may pass: half-way back is no place to stop."""


PASSING = (Transient, OutcomeUnknown, Busy)
"""Errors after which the same step is tried again."""


def may_pass(error: EngineError, kind: Kind, *, undoing: bool) -> bool:
    """Say whether trying again makes sense.

    A pool that is full refuses new things at once, rather than after minutes. What makes room (a deletion, an undo) and
    what cannot stop half-way waits for some to be found.
    """
    makes_something = bool(kind.undo) and not undoing
    return isinstance(error, PASSING) or (isinstance(error, NoSpace) and not makes_something)
