"""What a kind of operation is made of. Each kind has a file of its own: prose, the steps, the two ends, the table."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from openevs.domain.model import Operation
from openevs.engine.errors import Broken, Busy, EngineError, Mismatch, NoSpace, OutcomeUnknown, Transient
from openevs.engine.port import Engine
from openevs.store.database import Tx
from openevs.vault import errors as vault_errors
from openevs.vault.port import Progress, Vault

Facts = dict[str, Any]
"""What the steps so far have found out; plain values, stored as JSON between steps."""


Ending = Callable[[Tx, Operation, Facts, datetime], None]


class Step(NamedTuple):
    """One piece of work that touches the engine. It may be run again at any time, whether it finished or not."""

    name: str
    run: Callable[[Engine, Operation, Facts], Awaitable[Facts]]
    """Returns the facts that later steps, or the ends, need."""
    done: Ending | None = None
    """Changes rows when the step is done, in one transaction with noting that it is. Not for the last one: the kind's
    own ends are that."""


class Beside(NamedTuple):
    """What a step that moves many bytes has beside the engine."""

    vault: Vault
    report: Callable[[str, Progress], None]
    """Takes how far the work on a resource has come."""


class LongStep(NamedTuple):
    """A step that moves many bytes between the engine and the vault; in all else as `Step`."""

    name: str
    run: Callable[[Engine, Beside, Operation, Facts], Awaitable[Facts]]
    done: Ending | None = None


class Kind(NamedTuple):
    """One kind of operation."""

    name: str
    steps: tuple[Step | LongStep, ...]
    succeed: Ending
    """Changes the rows when all steps are done; in one transaction with closing the operation."""
    fail: Callable[[Tx, Operation, str, datetime], None]
    """Changes the rows when it is given up, with a reason for a person; likewise."""
    undo: tuple[Step | LongStep, ...] = ()
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


_FROM_VAULT: Mapping[type[vault_errors.VaultError], type[EngineError]] = {
    vault_errors.Transient: Transient,
    vault_errors.NoSpace: NoSpace,
    vault_errors.Missing: Mismatch,
    vault_errors.Damaged: Broken,
    vault_errors.WrongKey: Broken,
    vault_errors.Broken: Broken,
}


def as_engine_error(error: vault_errors.VaultError) -> EngineError:
    """Return what an error of the vault means for an operation: both are named by what is to be done next."""
    return _FROM_VAULT[type(error)](error.reason)
