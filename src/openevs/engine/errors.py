"""What can go wrong in an engine, named by what the caller does next.

    EngineError
    ├── Transient       nothing happened; the same call may succeed later          → call again after a pause
    ├── OutcomeUnknown  the call may or may not have had its effect                → `inspect`, then call again
    ├── Busy            something else must go first; `by` names it                → call again when it has gone
    ├── NoSpace         the pool is full; nothing acknowledged was lost            → tell a person, call again later
    ├── Mismatch        the object is there, with other facts than were asked for  → never repeat; a caller's mistake
    ├── Stale           a destructive call was overtaken by a newer one            → never repeat; drop it
    ├── Broken          bytes on storage cannot be read or are inconsistent        → never repeat; a person must look
    └── Unsupported     this engine does not have the power that was asked for     → refuse the request

An engine raises nothing else: no OSError, no QMP error, no bare RuntimeError leaves it.
"""


class EngineError(Exception):
    """Base of every error that an engine raises. `reason` is a sentence for a person; it holds no secret."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Transient(EngineError):
    """Nothing happened, and the same call may succeed later."""


class OutcomeUnknown(EngineError):
    """The call may have had its effect, wholly or not at all; `inspect` tells."""


class Busy(EngineError):
    """Something that depends on the object must go first."""

    def __init__(self, reason: str, by: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.by = by
        """Ids of what is in the way, for a person and for the runner's next attempt."""


class NoSpace(EngineError):
    """The pool has no room left."""


class Mismatch(EngineError):
    """The object on storage has other facts than the caller believes, or is not there at all."""

    def __init__(self, reason: str, expected: object = None, found: object = None) -> None:
        super().__init__(reason)
        self.expected = expected
        self.found = found


class Stale(EngineError):
    """A destructive call carries an older token than the last one that was applied."""


class Broken(EngineError):
    """Bytes on storage are missing, unreadable or contradict one another."""


class Unsupported(EngineError):
    """This engine lacks the power that was asked for."""
