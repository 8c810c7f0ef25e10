"""What every use case is given, and the one way in which a request changes anything."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Concatenate, Final, ParamSpec, Protocol, TypeVar

import msgspec

from openevs.domain.backends import Storage
from openevs.domain.backup import Backup, Moved
from openevs.domain.errors import Unavailable
from openevs.domain.group import Group, GroupSnapshot
from openevs.domain.lifecycle import (
    TRANSITIONAL_GROUP_STATUSES,
    TRANSITIONAL_SNAPSHOT_STATUSES,
    TRANSITIONAL_VOLUME_STATUSES,
)
from openevs.domain.model import Caller, Operation, Snapshot, Volume
from openevs.settings import CLOUD_SNAPSHOTS_PER_VOLUME, Settings
from openevs.store.database import Database, Tx
from openevs.store.idempotency import recall, remember
from openevs.store.operations import Lease, NewOperation, claimant, find_operation, insert_operation

P = ParamSpec("P")
R = TypeVar("R")
Waiting = TypeVar("Waiting", Volume, Snapshot, Group, GroupSnapshot)


class Bell(Protocol):
    """The tie to the runner: wakes it, and waits for it. The periodic scan is the guarantee; this is only quicker."""

    def lease(self) -> Lease | None:
        """Return a lease for an operation that is about to be inserted, if this process has a worker free for it."""

    def ring(self, operation: Operation) -> None:
        """Tell the runner of an operation that has been committed."""

    async def finished(self, operation_id: str, timeout_seconds: float) -> Operation | None:
        """Wait until an operation has ended and return it; None if it has not within the time."""

    async def settled(self, resource_id: str, project_id: str | None, timeout_seconds: float) -> None:
        """Wait until work on this that goes on here has ended or is put off, or the time is over. With a project, the
        work of others does not exist."""


@dataclass(frozen=True, slots=True)
class Deps:
    """Everything a use case may use. It holds no engine: a request never touches storage."""

    db: Database
    clock: Callable[[], datetime]
    bell: Bell
    settings: Settings
    volume_type: str
    """Name of the default volume type."""
    powers: frozenset[str]
    """What the engine can do beyond what every one can (`exports`, `group_snapshots`, …)."""
    max_volume_gib: int
    backends: tuple[str, ...] = ("layers",)
    """Names under which storage is offered, the default one first."""
    engine_version: Callable[[], str] = lambda: ""
    moved: Callable[[str], Moved | None] = lambda resource_id: None
    """How far the work on a backup has come, while it goes on here."""
    storage: Callable[[], Storage | None] = lambda: None
    """The pool as it was when it was last looked at; None before the first look."""

    @property
    def quota_defaults(self) -> dict[str, int]:
        """Limits of a project for which none were set."""
        return {name: int(value) for name, value in msgspec.structs.asdict(self.settings.quotas).items()}

    @property
    def snapshots_per_volume(self) -> int:
        """The most snapshots one volume may have."""
        api = self.settings.api
        return CLOUD_SNAPSHOTS_PER_VOLUME if api.profile == "cloud" else api.snapshots_per_volume


async def accept(
    deps: Deps,
    caller: Caller,
    kind: type[R],
    fn: Callable[Concatenate[Tx, P], tuple[R, Operation | None]],
    *args: P.args,
    **kwargs: P.kwargs,
) -> R:
    """Run the accepting transaction `fn`, tell the runner of its operation, and return its record (of type `kind`).

    With a client token, a repeat of the request returns the first one's record and does nothing.
    """

    def accept_once(tx: Tx) -> tuple[R, Operation | None]:
        once, now = caller.once, deps.clock()
        if once is not None:
            known = recall(tx, caller.project_id, once, now - timedelta(hours=deps.settings.api.client_token_hours))
            if known is not None:
                return msgspec.json.decode(known, type=kind), None
        record, operation = fn(tx, *args, **kwargs)
        if once is not None:
            remember(tx, caller.project_id, once, msgspec.json.encode(record).decode(), now)
        return record, operation

    accept_once.__name__ = fn.__name__.lstrip("_")
    record, operation = await deps.db.write(accept_once)
    if operation is not None:
        deps.bell.ring(operation)
    return record


RESOURCES: Final[Mapping[type, str]] = {
    Volume: "volume",
    Snapshot: "snapshot",
    Backup: "backup",
    Group: "group",
    GroupSnapshot: "group_snapshot",
}
"""Records that there is work on, and what an operation calls them."""
_UNDER_WAY: Final = TRANSITIONAL_VOLUME_STATUSES | TRANSITIONAL_SNAPSHOT_STATUSES | TRANSITIONAL_GROUP_STATUSES


def queue_work(
    tx: Tx,
    deps: Deps,
    caller: Caller,
    kind: str,
    record: Volume | Snapshot | Backup | Group | GroupSnapshot,
    work: Mapping[str, Any],
    claims: Iterable[tuple[str, str]] = (),
) -> Operation:
    """Queue an operation on a record, which it claims, as it does what else is in `claims` (resource kind, id).
    Raises Conflict while another operation has a claim on one of them."""
    resource = (RESOURCES[type(record)], record.id)
    new = NewOperation(kind, record.project_id, *resource, work, (resource, *claims), caller.request_id)
    return insert_operation(tx, new, deps.clock(), deps.bell.lease())


async def wait_for(deps: Deps, operation_id: str) -> Operation:
    """Wait for an operation whose result the answer needs. Raises Unavailable when it failed or takes too long."""
    ended = await deps.bell.finished(operation_id, deps.settings.server.wait_seconds)
    if ended is None:
        failed = (await deps.db.read(find_operation, operation_id)).error
        why = f" ({failed})" if failed else ""
        raise Unavailable(f"Operation {operation_id} has not finished yet{why}; it goes on. Try again shortly.")
    if ended.state == "failed":
        raise Unavailable(f"Operation {operation_id} failed: {ended.error}")
    return ended


async def settle(deps: Deps, caller: Caller, resource_id: str) -> None:
    """Before something is shown: give work on it that goes on here a moment to end.

    Clients look at what they wait for at once, and then every second or two; nearly all work ends in a fraction of
    that, and so most of them need to look once only."""
    await deps.bell.settled(resource_id, caller.scope, deps.settings.server.settle_seconds)


def with_reason(deps: Deps, record: Waiting) -> Waiting:
    """Return a record that is to be shown; if work on it goes on, with the reason why its last try has failed."""
    if record.reason is not None or record.status not in _UNDER_WAY:
        return record
    return record._replace(reason=why_put_off(deps, record))


def why_put_off(deps: Deps, record: Waiting | Backup) -> str | None:
    """Return why the last try of the work on a record has failed; None if none has."""
    work = deps.db.read_now(claimant, RESOURCES[type(record)], record.id)
    return None if work is None else work.error
