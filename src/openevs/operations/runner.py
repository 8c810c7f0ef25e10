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

from openevs.domain.errors import Unavailable
from openevs.domain.message import failure_message
from openevs.domain.model import Operation
from openevs.engine.errors import EngineError, OutcomeUnknown
from openevs.engine.port import Engine
from openevs.operations.kind import Beside, Facts, Kind, LongStep, Step, as_engine_error, may_pass
from openevs.settings import Operations as OperationSettings
from openevs.store.database import Database, Tx
from openevs.store.events import insert_event
from openevs.store.messages import insert_message
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
from openevs.vault.errors import VaultError

log = structlog.get_logger()

UNDO = "undo_reason"
"""Fact that turns an operation round: its steps are now those of `undo`. Its value is why."""
LONGEST_PAUSE_SECONDS = 60.0
_SPREAD = 0.25
"""What pauses differ by, so that what failed together is not tried again together."""
_LONGEST_PAUSE = timedelta(seconds=LONGEST_PAUSE_SECONDS * (1 + _SPREAD))
MESSAGES_KEPT = timedelta(days=30)
"""How long a user message is kept, as at Cinder."""

Observe = Callable[[str, str, float, Facts], None]
"""Called when an operation ends: kind, outcome, seconds since it was made, facts."""


def _ignore(kind: str, outcome: str, seconds: float, facts: Facts) -> None:
    return None


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
        beside: Beside,
        observe: Observe = _ignore,
    ) -> None:
        self._beside = beside
        self._db, self._engine, self._kinds, self._clock = db, engine, kinds, clock
        self._node, self._settings, self._observe = node, settings, observe
        self._working: dict[str, asyncio.Task[None]] = {}
        self._about: dict[str, Operation] = {}
        """What is being worked on, by the id of what it is about."""
        self._waiting: dict[str, list[asyncio.Future[Operation]]] = {}
        self._loops: list[asyncio.Task[None]] = []
        self._wake = asyncio.Event()
        self._left_waiting = False
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
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_seconds
        future: asyncio.Future[Operation] = loop.create_future()
        self._waiting.setdefault(operation_id, []).append(future)
        try:
            while True:
                # It may have ended before anybody waited for it, or on another node, which rings no bell here.
                operation = await self._db.read(find_operation, operation_id)
                if operation.finished_at is not None:
                    return operation
                left = deadline - loop.time()
                if left <= 0:
                    return None
                await asyncio.wait({future}, timeout=min(left, self._settings.scan_seconds))
                if future.done():
                    return future.result()
        finally:
            waiting = self._waiting.get(operation_id, [])
            if future in waiting:
                waiting.remove(future)
            if not waiting:
                self._waiting.pop(operation_id, None)

    async def settled(self, resource_id: str, project_id: str | None, timeout_seconds: float) -> None:
        """Wait until work on this that goes on here has ended or is put off, or the time is over. With a project, the
        work of others does not exist."""
        operation = self._about.get(resource_id)
        if operation is not None and project_id in (None, operation.project_id):
            await asyncio.wait({self._working[operation.id]}, timeout=timeout_seconds)

    # Life -------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take back what an earlier process of this node left, and begin to work."""
        released = await self._db.write(release_leases, self._node, self._clock())
        if released:
            log.info("operations_resumed", count=released)
        self._wake.set()
        self._loops = [asyncio.create_task(self._scan()), asyncio.create_task(self._renew())]

    async def stop(self, grace_seconds: float = 5.0) -> None:
        """Take no more work, give what is under way a moment, drop the rest and give it back: whoever starts next
        resumes it."""
        self._stopping = True
        loops, self._loops = self._loops, []
        for loop in loops:
            loop.cancel()
        if self._working:
            await asyncio.wait(list(self._working.values()), timeout=grace_seconds)
        working = list(self._working.values())
        for task in working:
            task.cancel()
        await asyncio.gather(*loops, *working, return_exceptions=True)
        if loops:
            # Behind every write that was begun above: the database does them in order.
            try:
                await self._db.write(release_leases, self._node, self._clock())
            except Unavailable as error:
                log.warning("leases_not_given_back", reason=str(error))  # the next start does

    async def _scan(self) -> None:
        while True:
            # Not `wait_for`: when it is cancelled just as the bell rings it forgets the cancellation, and stop() would
            # wait for this loop for ever.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.scan_seconds):
                    await self._wake.wait()
            self._wake.clear()
            room = self._settings.workers - len(self._working)
            self._left_waiting = room <= 0
            if room <= 0:
                continue
            try:
                claimed = await self._db.write(claim_due, self._new_lease(), self._clock(), room, _LONGEST_PAUSE)
            except Unavailable:
                continue  # it has been logged
            except Exception:
                log.exception("operation_scan_failed")
                continue
            self._left_waiting = len(claimed) == room
            for operation in claimed:
                self._start(operation)

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
        # Our own lease may have run out under our work (a machine that slept): the fence has gone up, so what that
        # work would write is refused anyway.
        overtaken = self._working.get(operation.id)
        if overtaken is not None:
            overtaken.cancel()
        task = asyncio.create_task(self._work(operation), name=f"{operation.kind} {operation.id}")
        self._working[operation.id] = task
        self._about[operation.resource_id] = operation
        task.add_done_callback(lambda ended: self._ended(operation, ended))

    def _ended(self, operation: Operation, task: asyncio.Task[None]) -> None:
        if self._working.get(operation.id) is task:
            del self._working[operation.id]
        if self._about.get(operation.resource_id) is operation:
            del self._about[operation.resource_id]
        if self._left_waiting:
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
            except Unavailable as error:  # it has been logged
                await self._again(operation, str(error))
            except Exception as error:
                # A mistake of ours between two steps. Storage has refused nothing, so nothing is given up, however
                # often: the age of the oldest open operation tells a person.
                log.exception("operation_crashed")
                await self._again(operation, f"internal error ({type(error).__name__})")

    async def _run_steps(self, operation: Operation, kind: Kind) -> None:
        facts: Facts = dict(operation.facts)
        steps = kind.undo if UNDO in facts else kind.steps
        for number in range(operation.step, len(steps)):
            try:
                facts |= await self._run_step(steps[number], operation, facts)
            except EngineError as error:
                await self._not_done(operation, kind, facts, error)
                return
            if number + 1 < len(steps):
                operation = await self._db.write(_step_done, operation, steps[number], number, facts, self._clock())
        await self._end(operation, kind, facts, facts.get(UNDO))

    async def _run_step(self, step: Step | LongStep, operation: Operation, facts: Facts) -> Facts:
        try:
            if isinstance(step, LongStep):
                return await step.run(self._engine, self._beside, operation, facts)
            return await step.run(self._engine, operation, facts)
        except EngineError:
            raise
        except VaultError as error:
            raise as_engine_error(error) from error
        except Exception as error:
            # An engine that breaks its contract, or a mistake in the step: tried as often as a fault of storage.
            log.exception("operation_step_crashed", step=step.name)
            raise OutcomeUnknown(f"internal error ({type(error).__name__})") from error

    async def _not_done(self, operation: Operation, kind: Kind, facts: Facts, error: EngineError) -> None:
        undoing = UNDO in facts
        tries = operation.attempts + 1
        log.warning("operation_step_failed", error=type(error).__name__, reason=error.reason, tries=tries)
        exhausted = tries >= self._settings.attempts and (undoing or not kind.forward_only)
        if may_pass(error, kind, undoing=undoing) and not exhausted:
            await self._again(operation, error.reason)
        elif kind.undo and not undoing:
            turned = await self._db.write(record_step, operation, 0, {**facts, UNDO: error.reason})
            await self._run_steps(turned, kind)
        else:
            # What cannot even be undone stays on storage, for the row's own deletion or the orphan sweep to remove;
            # the reason for a person is the first one.
            await self._end(operation, kind, facts, facts.get(UNDO, error.reason))

    async def _again(self, operation: Operation, reason: str) -> None:
        # Doubling stops where the pause does: a number that grows for days does not fit a float.
        doubled = self._settings.retry_seconds * 2.0 ** min(operation.attempts, 16)
        pause = min(doubled, LONGEST_PAUSE_SECONDS) * random.uniform(1 - _SPREAD, 1 + _SPREAD)  # noqa: S311 - no secret
        due = self._clock() + timedelta(seconds=pause)
        try:
            await self._db.write(reschedule, operation, due, reason)
        except LostLease:
            log.warning("operation_lease_lost")
        except Unavailable as error:
            # Its lease is not renewed any more; when that has run out, the scan takes it again.
            log.warning("operation_not_rescheduled", reason=str(error))
        except Exception:
            log.exception("operation_not_rescheduled")
        else:
            asyncio.get_running_loop().call_later(pause, self._wake.set)

    async def _end(self, operation: Operation, kind: Kind, facts: Facts, reason: str | None) -> None:
        now = self._clock()
        finished = await self._db.write(close_operation, operation, kind, facts, reason, now)
        took = max((now - operation.created_at).total_seconds(), 0.0)  # the clock may have been set back
        self._observe(kind.name, finished.state, took, facts)
        log.info("operation_ended", outcome=finished.state, resource_id=operation.resource_id)
        for future in self._waiting.pop(operation.id, []):
            if not future.done():
                future.set_result(finished)


def _step_done(
    tx: Tx, operation: Operation, step: Step | LongStep, number: int, facts: Facts, now: datetime
) -> Operation:
    """Note that a step is done, and change the rows that say so. Raises LostLease before any change."""
    noted = record_step(tx, operation, number + 1, facts)
    if step.done is not None:
        step.done(tx, noted, facts, now)
    return noted


def close_operation(
    tx: Tx, operation: Operation, kind: Kind, facts: Facts, reason: str | None, now: datetime
) -> Operation:
    """End an operation and change the rows it is about, in one transaction; with a reason, it has failed.
    Raises LostLease before any change."""
    outcome = "succeeded" if reason is None else "failed"
    finished = finish_operation(tx, operation, outcome, now, reason)
    detail: dict[str, Any] = {}
    if reason is None:
        kind.succeed(tx, operation, facts, now)
    else:
        detail["reason"] = reason
        kind.fail(tx, operation, reason, now)
        insert_message(tx, failure_message(operation, reason, now, now + MESSAGES_KEPT))
    insert_event(tx, operation, f"{kind.name}.{outcome}", now, detail)
    return finished
