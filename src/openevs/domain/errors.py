"""Everything the domain can refuse, as classes with fields; `api/faults.py` alone turns them into HTTP.

DomainError
├── InvalidInput(field, reason)         the request itself is wrong
├── NotFound(kind, id)                  nothing of that name is visible to this project
├── WrongStatus(kind, id, found, …)     the resource is in a status that does not allow this
├── Conflict(reason)                    two requests want what only one can have
├── QuotaExceeded(resource, …)          the project has used up its share
├── Forbidden(action)                   the caller's roles do not allow this
├── Unauthenticated(reason)             no, or no valid, credentials
├── NotSupported(what)                  OpenEVS, or the engine in use, does not have this
└── Unavailable(reason)                 accepted work did not finish in time, or a part is down; try again
"""

from collections.abc import Iterable


class DomainError(Exception):
    """Base of every refusal. `str()` of it is a sentence for the client; it holds no secret."""

    code: str | None = None
    """EVS error code that fits this refusal better than the one of its class (spec, "Full list of EVS codes")."""

    def with_code(self, code: str) -> "DomainError":
        """Return this error, carrying the EVS code that the real service gives for it."""
        self.code = code
        return self


class InvalidInput(DomainError):
    """A field of the request is missing, of the wrong type, or out of range."""

    def __init__(self, field: str, reason: str, code: str | None = None) -> None:
        super().__init__(f"Invalid input for {field}: {reason}")
        self.field = field
        self.code = code


class NotFound(DomainError):
    """The thing does not exist, or belongs to another project (the two look the same on purpose)."""

    def __init__(self, kind: str, resource_id: str) -> None:
        super().__init__(f"{kind.capitalize()} {resource_id} could not be found.")
        self.kind = kind
        self.resource_id = resource_id


class WrongStatus(DomainError):
    """The resource is in a status from which this is not allowed."""

    def __init__(self, kind: str, resource_id: str, found: str, allowed: Iterable[str], action: str) -> None:
        self.kind, self.resource_id, self.found, self.action = kind, resource_id, found, action
        self.allowed = sorted(allowed)
        wanted = " or ".join(self.allowed) if self.allowed else "none"
        super().__init__(
            f"Invalid {kind}: cannot {action} {kind} {resource_id}: its status is {found}, but must be {wanted}."
        )


class Conflict(DomainError):
    """Two requests want what only one can have."""


class Busy(Conflict):
    """Another operation has a claim on the resource; the same request may pass once that has ended."""


class InUse(DomainError):
    """Something else depends on the resource."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(f"Invalid {kind}: {reason}")
        self.kind = kind


class QuotaExceeded(DomainError):
    """The project has used up its share of a resource."""

    def __init__(self, resource: str, requested: int, in_use: int, limit: int) -> None:
        super().__init__(f"Quota exceeded for {resource}: requested {requested}, {in_use} of {limit} already used.")
        self.resource, self.requested, self.in_use, self.limit = resource, requested, in_use, limit


class Forbidden(DomainError):
    """The caller's roles do not allow this."""

    def __init__(self, action: str) -> None:
        super().__init__(f"Policy does not allow {action} to be performed.")
        self.action = action


class Unauthenticated(DomainError):
    """No credentials, or none that are valid."""


class NotSupported(DomainError):
    """OpenEVS, or the engine in use, does not have this."""


class Unavailable(DomainError):
    """Accepted work did not finish in time, or a part of the service is down; the same request may be sent again."""
