"""The runner: takes operations that are due and works on them until they have ended.

Level-triggered: what is to be done is in the rows, and a restart finds it there. Nothing is marked as failed because a
process died. A request rings the bell after its commit, and the work starts at once; the periodic scan is what
guarantees that it starts at all.

An operation is leased to one runner at a time. Each taking raises its `fence`, and everything a runner writes for an
operation is conditional on the fence it was given: a runner that was presumed dead cannot write over its successor.
(What such a runner still does to storage is harmless, since every engine method may be called again, and the one
destructive method carries a token.)
"""

import asyncio
import contextlib
import random
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import structlog

from openevs.domain.errors import DomainError
from openevs.domain.model import Operation
from openevs.engine.errors import EngineError
from openevs.engine.port import Engine
from openevs.operations.kind import Facts, Kind, Step, may_pass
from openevs.settings import Operations as OperationSettings
from openevs.store.database import Database, Tx
from openevs.store.events import insert_event
from openevs.store.operations import (
    Lease,
    LostLease,
    claim_due,
    find_operation,
    finish_operation,
    record_step,
    release_leases,
    renew_leases,
    reschedule,
)

log = structlog.get_logger()

UNDO = "undo_reason"
"""Fact that turns an operation round: its steps are now those of `undo`."""
LONGEST_PAUSE_SECONDS = 60.0

Observe = Callable[[str, str, float], None]
"""Called when an operation ends: kind, outcome, seconds since it was made."""


class Runner:
    """Works on operations; also the `Bell` that requests ring."""

    def __init__(
        self,
        db: Database,
        engine: Engine,
        kinds: Mapping[str, Kind],
        clock: Callable[[], datetime],
        node: str,
        settings: OperationSettings,
        observe: Observe = lambda kind, outcome, seconds: None,
    ) -> None:
        self._db, self._engine, self._kinds, self._clock = db, engine, kinds, clock
        self._node, self._settings, self._observe = node, settings, observe
        self._working: dict[str, asyncio.Task[None]] = {}
        self._waiting: dict[str, list[asyncio.Future[Operation]]] = {}
        self._loops: list[asyncio.Task[None]] = []
        self._wake = asyncio.Event()
        self._stopping = False

    # The bell ---------------------------------------------------------------------------------------------------

    def lease(self) -> Lease | None:
        """Return a lease for an operation that is about to be inserted, if a worker is free for it."""
        if self._stopping or not self._loops or len(self._working) >= self._settings.workers:
            return None
        return self._new_lease()

    def ring(self, operation: Operation) -> None:
        """Start on an operation that has just been committed, or look for it soon."""
        if operation.lease_owner == self._node and operation.state == "running" and not self._stopping:
            self._start(operation)
        else:
            self._wake.set()

    async def finished(self, operation_id: str, timeout_seconds: float) -> Operation | None:
        """Wait until an operation has ended and return it; None if it has not within the time."""
        future: asyncio.Future[Operation] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(operation_id, []).append(future)
        try:
            # It may have ended before anybody waited for it.
            operation = await self._db.read(find_operation, operation_id)
            if operation.finished_at is not None:
                return operation
            return await asyncio.wait_for(future, timeout_seconds)
        except TimeoutError:
            return None
        finally:
            waiting = self._waiting.get(operation_id, [])
            if future in waiting:
                waiting.remove(future)
            if not waiting:
                self._waiting.pop(operation_id, None)

    # Life -------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take back what an earlier process of this node left, and begin to work."""
        released = await self._db.write(release_leases, self._node, self._clock())
        if released:
            log.info("operations_resumed", count=released)
        self._wake.set()
        self._loops = [asyncio.create_task(self._scan()), asyncio.create_task(self._renew())]

    async def stop(self, grace_seconds: float = 5.0) -> None:
        """Take no more work, give what is under way a moment, and drop the rest: the next start resumes it."""
        self._stopping = True
        for loop in self._loops:
            loop.cancel()
        if self._working:
            await asyncio.wait(list(self._working.values()), timeout=grace_seconds)
        for task in list(self._working.values()):
            task.cancel()
        await asyncio.gather(*self._loops, *self._working.values(), return_exceptions=True)
        self._loops = []

    async def _scan(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._settings.scan_seconds)
            self._wake.clear()
            room = self._settings.workers - len(self._working)
            if room <= 0:
                continue
            try:
                for operation in await self._db.write(claim_due, self._new_lease(), self._clock(), room):
                    self._start(operation)
            except Exception:
                log.exception("operation_scan_failed")

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._settings.lease_seconds / 3)
            try:
                if self._working:
                    await self._db.write(renew_leases, self._new_lease(), list(self._working))
            except Exception:
                log.exception("lease_renewal_failed")

    def _new_lease(self) -> Lease:
        return Lease(self._node, self._clock() + timedelta(seconds=self._settings.lease_seconds))

    def _start(self, operation: Operation) -> None:
        task = asyncio.create_task(self._work(operation), name=f"{operation.kind} {operation.id}")
        self._working[operation.id] = task
        task.add_done_callback(lambda _: self._ended(operation.id))

    def _ended(self, operation_id: str) -> None:
        self._working.pop(operation_id, None)
        self._wake.set()

    # One operation ----------------------------------------------------------------------------------------------

    async def _work(self, operation: Operation) -> None:
        with structlog.contextvars.bound_contextvars(
            operation_id=operation.id,
            operation_kind=operation.kind,
            request_id=operation.request_id,
            project_id=operation.project_id,
        ):
            try:
                await self._run_steps(operation, self._kinds[operation.kind])
            except LostLease:
                log.warning("operation_lease_lost")
            except Exception as error:
                log.exception("operation_crashed")
                await self._again(operation, f"internal error ({type(error).__name__})")

    async def _run_steps(self, operation: Operation, kind: Kind) -> None:
        facts: Facts = dict(operation.facts)
        steps = kind.undo if UNDO in facts else kind.steps
        try:
            for number in range(operation.step, len(steps)):
                facts |= await steps[number].run(self._engine, operation, facts)
                if number + 1 < len(steps):
                    operation = await self._db.write(record_step, operation, number + 1, facts)
        except EngineError as error:
            await self._not_done(operation, kind, facts, steps, error)
            return
        if UNDO in facts:
            await self._end(operation, kind, "failed", facts)
        else:
            await self._end(operation, kind, "succeeded", facts)

    async def _not_done(
        self, operation: Operation, kind: Kind, facts: Facts, steps: tuple[Step, ...], error: EngineError
    ) -> None:
        log.warning(
            "operation_step_failed", error=type(error).__name__, reason=error.reason, attempt=operation.attempts
        )
        exhausted = operation.attempts >= self._settings.attempts and not (kind.forward_only and UNDO not in facts)
        if may_pass(error, kind) and not exhausted:
            await self._again(operation, error.reason)
        elif UNDO in facts or not kind.undo:
            # What cannot even be undone is left to the orphan sweep; the reason for a person is the first one.
            await self._end(operation, kind, "failed", {UNDO: error.reason, **facts})
        else:
            turned = await self._db.write(record_step, operation, 0, {UNDO: error.reason})
            await self._run_steps(turned, kind)

    async def _again(self, operation: Operation, reason: str) -> None:
        pause = min(self._settings.retry_seconds * 2 ** max(operation.attempts - 1, 0), LONGEST_PAUSE_SECONDS)
        pause *= random.uniform(0.75, 1.25)  # noqa: S311 - spreads retries, hides nothing
        due = self._clock() + timedelta(seconds=pause)
        try:
            await self._db.write(reschedule, operation, due, reason)
        except LostLease:
            log.warning("operation_lease_lost")
        else:
            asyncio.get_running_loop().call_later(pause, self._wake.set)

    async def _end(self, operation: Operation, kind: Kind, outcome: str, facts: Facts) -> None:
        now = self._clock()
        try:
            finished = await self._db.write(_close, operation, kind, outcome, facts, now)
        except DomainError as error:
            # An administrator has changed the status by hand meanwhile: theirs stands, and the work has ended.
            log.warning("operation_overtaken", reason=str(error))
            finished = await self._db.write(finish_operation, operation, "failed", now, str(error))
        self._observe(kind.name, outcome, (now - operation.created_at).total_seconds())
        log.info("operation_ended", outcome=outcome, resource_id=operation.resource_id)
        for future in self._waiting.pop(operation.id, []):
            if not future.done():
                future.set_result(finished)


def _close(tx: Tx, operation: Operation, kind: Kind, outcome: str, facts: Facts, now: datetime) -> Operation:
    """End an operation and change the rows it is about, in one transaction. Raises LostLease before any change."""
    reason: str | None = facts.get(UNDO)
    finished = finish_operation(tx, operation, outcome, now, reason)
    detail: dict[str, Any] = {}
    if outcome == "succeeded":
        kind.succeed(tx, operation, facts, now)
    else:
        detail["reason"] = reason
        kind.fail(tx, operation, reason or "", now)
    insert_event(tx, operation, f"{kind.name}.{outcome}", now, detail)
    return finished
