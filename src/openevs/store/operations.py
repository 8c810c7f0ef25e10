"""Operations in the database: queued, leased, finished; and the claims that keep two off one resource."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from openevs.domain.errors import Busy, Conflict, NotFound
from openevs.domain.ids import new_uuid
from openevs.domain.model import Operation
from openevs.store.database import Tx
from openevs.store.prepared import Prepared, insert_row, new_values
from openevs.store.tables import operation as table
from openevs.store.tables import operation_claim as claims

OPEN = ("queued", "running")
_NEW: Final = [name for name in Operation._fields if name != "seq"]
_INSERT: Final = Prepared(sa.insert(table).values(new_values(table, _NEW)).returning(table.c.seq))
_LET_GO: Final = Prepared(sa.delete(claims).where(claims.c.operation_id == sa.bindparam("its_id")))


class LostLease(Exception):
    """Another runner has this operation now (its fence is higher): drop what was being done for it."""


class NewOperation(NamedTuple):
    """Work to be done."""

    kind: str
    project_id: str
    resource_kind: str
    resource_id: str
    input: Mapping[str, Any]
    claims: tuple[tuple[str, str], ...]
    """(resource kind, id) of everything that no other operation may touch meanwhile."""
    request_id: str | None


class Lease(NamedTuple):
    """A runner's right to work on an operation, for a time."""

    owner: str
    until: datetime


def insert_operation(
    tx: Tx, new: NewOperation, now: datetime, lease: Lease | None, *, run_after: datetime | None = None
) -> Operation:
    """Add an operation, at once under `lease` if a runner of this process has room for it; without a lease it may have
    a time before which it does not run. Raises Busy while another operation has a claim on the same resource."""
    values: dict[str, Any] = {
        "id": new_uuid(),
        "kind": new.kind,
        "project_id": new.project_id,
        "resource_kind": new.resource_kind,
        "resource_id": new.resource_id,
        "state": "running" if lease else "queued",
        "step": 0,
        "attempts": 0,
        "run_after": now if run_after is None else run_after,
        "lease_owner": lease.owner if lease else None,
        "lease_until": lease.until if lease else None,
        "fence": 1 if lease else 0,
        "input": dict(new.input),
        "facts": {},
        "error": None,
        "request_id": new.request_id,
        "created_at": now,
        "finished_at": None,
    }
    inserted = _INSERT.first(tx, values)
    assert inserted is not None  # noqa: S101 - an INSERT without a condition adds its row
    operation = Operation(seq=inserted[0], **values)
    for resource_kind, resource_id in new.claims:
        row = {"resource_kind": resource_kind, "resource_id": resource_id, "operation_id": operation.id}
        try:
            insert_row(tx, claims, row)
        except IntegrityError:
            raise Busy(f"Another operation on {resource_kind} {resource_id} is under way; try again shortly.") from None
    return operation


def release_claim(tx: Tx, operation: Operation, resource_kind: str, resource_id: str) -> None:
    """Let others work on a resource of which an operation needs no more. Not there is success."""
    mine = [claims.c.operation_id == operation.id, claims.c.resource_kind == resource_kind]
    tx.execute(sa.delete(claims).where(*mine, claims.c.resource_id == resource_id))


def claim_due(tx: Tx, lease: Lease, now: datetime, limit: int, longest: timedelta) -> list[Operation]:
    """Take up to `limit` operations that are due, or whose lease has run out, and return them. Whatever is put off for
    longer than the `longest` pause there is was put off before the clock was set back: it is due as well."""
    due = (
        sa.select(table.c.seq)
        .where(table.c.state.in_(OPEN))
        .where(
            sa.or_(
                sa.and_(table.c.state == "queued", table.c.run_after <= now),
                sa.and_(table.c.state == "queued", table.c.run_after > now + longest),
                sa.and_(table.c.state == "running", table.c.lease_until < now),
            )
        )
        .order_by(table.c.run_after, table.c.seq)
        .limit(limit)
    )
    statement = (
        sa.update(table)
        .where(table.c.seq.in_(due.scalar_subquery()))
        .values(
            state="running",
            lease_owner=lease.owner,
            lease_until=lease.until,
            fence=table.c.fence + 1,
        )
        .returning(*table.c)
    )
    return [Operation._make(row) for row in tx.execute(statement)]


def renew_leases(tx: Tx, lease: Lease, operation_ids: Sequence[str]) -> None:
    """Prolong the leases of operations that are still being worked on."""
    mine = sa.and_(table.c.id.in_(operation_ids), table.c.lease_owner == lease.owner, table.c.state == "running")
    tx.execute(sa.update(table).where(mine).values(lease_until=lease.until))


def take_open(tx: Tx) -> list[Operation]:
    """Take every open operation away from whoever works on it, to be ended at once; return them, oldest first."""
    mine = sa.update(table).where(table.c.state.in_(OPEN)).values(state="running", fence=table.c.fence + 1)
    return sorted((Operation._make(row) for row in tx.execute(mine.returning(*table.c))), key=lambda each: each.seq)


def release_leases(tx: Tx, owner: str, now: datetime) -> int:
    """Give back every lease of `owner`, which has just started and so works on nothing; return how many."""
    mine = sa.and_(table.c.lease_owner == owner, table.c.state == "running")
    released = {"state": "queued", "lease_owner": None, "lease_until": None, "run_after": now}
    return tx.execute(sa.update(table).where(mine).values(released)).rowcount


def record_step(tx: Tx, operation: Operation, step: int, facts: Mapping[str, Any]) -> Operation:
    """Note that the work up to before `step` is done. Raises LostLease."""
    return _write(tx, operation, {"step": step, "facts": dict(facts), "attempts": 0})


def reschedule(tx: Tx, operation: Operation, run_after: datetime, error: str) -> Operation:
    """Put an operation back, to be tried again: one more failed try of its present step. Only these are counted; a
    restart or a lost lease is nobody's failure. Raises LostLease."""
    values = {"state": "queued", "run_after": run_after, "lease_owner": None, "lease_until": None, "error": error}
    return _write(tx, operation, values, failed=True)


def finish_operation(tx: Tx, operation: Operation, state: str, now: datetime, error: str | None = None) -> Operation:
    """Close an operation and let go of its claims. Raises LostLease."""
    values = {"state": state, "finished_at": now, "lease_owner": None, "lease_until": None, "error": error}
    finished = _write(tx, operation, values)
    _LET_GO.change(tx, {"its_id": operation.id})
    return finished


def _write(tx: Tx, operation: Operation, values: Mapping[str, Any], *, failed: bool = False) -> Operation:
    """Change an operation, and count one more failed try if it has `failed`."""
    prepared = _writing(tuple(values), failed)
    row = prepared.first(tx, {**values, "its_id": operation.id, "its_fence": operation.fence})
    if row is None:
        raise LostLease(operation.id)
    return Operation._make(row)


@cache
def _writing(names: tuple[str, ...], failed: bool) -> Prepared:
    mine = sa.and_(table.c.id == sa.bindparam("its_id"), table.c.fence == sa.bindparam("its_fence"))
    statement = sa.update(table).where(mine, table.c.state == "running").values(new_values(table, names))
    if failed:
        statement = statement.values(attempts=table.c.attempts + 1)
    return Prepared(statement.returning(*table.c))


def find_operation(tx: Tx, operation_id: str) -> Operation:
    """Return an operation. Raises NotFound."""
    row = tx.execute(sa.select(*table.c).where(table.c.id == operation_id)).first()
    if row is None:
        raise NotFound("operation", operation_id)
    return Operation._make(row)


def newest_operation(tx: Tx, kind: str, resource_id: str) -> Operation:
    """Return the newest operation of a kind on a resource. Raises NotFound."""
    found = sa.select(*table.c).where(table.c.resource_id == resource_id, table.c.kind == kind)
    row = tx.execute(found.order_by(table.c.seq.desc()).limit(1)).first()
    if row is None:
        raise NotFound("operation", f"on {resource_id}")
    return Operation._make(row)


def claimant(tx: Tx, resource_kind: str, resource_id: str) -> Operation | None:
    """Return the open operation that has a claim on a resource, if there is one."""
    mine = sa.and_(claims.c.resource_kind == resource_kind, claims.c.resource_id == resource_id)
    row = tx.execute(sa.select(*table.c).join(claims, claims.c.operation_id == table.c.id).where(mine)).first()
    return None if row is None else Operation._make(row)


def list_operations(tx: Tx, *, only_open: bool, limit: int) -> list[Operation]:
    """Return operations, newest first."""
    query = sa.select(*table.c).order_by(table.c.seq.desc()).limit(limit)
    if only_open:
        query = query.where(table.c.state.in_(OPEN))
    return [Operation._make(row) for row in tx.execute(query)]


def oldest_open(tx: Tx) -> datetime | None:
    """Return when the oldest operation that is not finished was made."""
    return tx.execute(
        sa.select(sa.func.min(table.c.created_at, type_=table.c.created_at.type)).where(table.c.state.in_(OPEN))
    ).scalar()


def retry_operation(tx: Tx, operation_id: str, now: datetime) -> Operation:
    """Make an open operation due now. Raises NotFound, Conflict."""
    found = find_operation(tx, operation_id)
    due = (
        sa.update(table).where(table.c.id == operation_id, table.c.state == "queued").values(run_after=now, attempts=0)
    )
    row = tx.execute(due.returning(*table.c)).first()
    if row is None:
        raise Conflict(f"Operation {operation_id} is {found.state}; only a queued one can be made to run at once.")
    return Operation._make(row)


def forget_finished(tx: Tx, before: datetime) -> int:
    """Remove operations that finished before then; return how many."""
    return tx.execute(sa.delete(table).where(table.c.finished_at < before)).rowcount
