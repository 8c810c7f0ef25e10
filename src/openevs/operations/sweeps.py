"""Sweeps: what no single operation can see, looked for in everything there is.

A sweep takes no input, so there is no path through it that is only taken after a restart, and it repeats nothing by
itself: the next sweep is the repeat. In this order:

* orphans      objects on storage without a row are deleted, if a finished operation of ours accounts for them
* exports      volumes that are served though nothing asks for it are served no more
* lost         rows without an object on storage are reported; nothing is changed, for a person has to look
* usage        every quota's usage is counted anew
* retention    what finished long ago is forgotten

**A sweep deletes no object that this database has never known.** A database that was restored from an old backup does
not know the volumes made since: to it they look exactly like orphans. An operation of ours that has finished, about
that very id, is the only proof that the row has gone, and not the database's memory.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from openevs.domain.backends import Storage
from openevs.domain.errors import Unavailable
from openevs.domain.ids import GIB, SnapshotId, VolumeId
from openevs.domain.model import Operation
from openevs.engine.errors import EngineError
from openevs.engine.port import Engine, Exports, Objects
from openevs.settings import Settings
from openevs.store.database import Database, Tx
from openevs.store.events import forget_events
from openevs.store.idempotency import forget_tokens
from openevs.store.identity.tokens import delete_expired_tokens
from openevs.store.installation import keep_reached, last_number
from openevs.store.messages import forget_messages
from openevs.store.operations import NewOperation, forget_finished, insert_operation, oldest_open
from openevs.store.quotas import recount
from openevs.store.sweeping import finished_about, in_open_input, stored_rows, unwanted_exports

log = structlog.get_logger()

FIRST_SWEEP_SECONDS = 5.0
"""After the start: soon, but behind the work that was left."""
LOOK_SECONDS = 10.0
"""How often the age of the oldest operation is looked at."""


class Observer(Protocol):
    """Receives what sweeps find, for the metrics."""

    def sweep(self, outcome: str, orphans: int) -> None:
        """Take note of a sweep, and of the objects without a row that it left."""

    def oldest_operation(self, seconds: float) -> None:
        """Take note of the age of the oldest open operation."""


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep has found."""

    deleted: tuple[str, ...] = ()
    """Objects of operations that have finished, which were left and are gone now."""
    unknown: tuple[str, ...] = ()
    """Objects that this database has never known: reported, and left alone."""
    lost: tuple[str, ...] = ()
    """Rows whose object is not on storage."""
    exports_ended: tuple[str, ...] = ()
    """Volumes that are served and that nobody asks to be: an operation ends it."""
    usage_corrected: int = 0
    failures: int = 0
    """Engine calls that failed; the next sweep tries again."""

    @property
    def outcome(self) -> str:
        """One word for the metrics."""
        return "failed" if self.failures else "ok"


class Sweeper:
    """Compares storage with the database."""

    def __init__(
        self,
        db: Database,
        engine: Engine,
        clock: Callable[[], datetime],
        settings: Settings,
        ring: Callable[[Operation], None],
    ) -> None:
        """`ring` tells the runner of an operation that has been committed."""
        self._db, self._engine, self._clock, self._settings, self._ring = db, engine, clock, settings, ring
        self.storage: Storage | None = None
        """The pool as it was at the last look: requests, which never touch the engine, see this."""
        self._marked = 0

    async def sweep(self) -> Swept:
        """Do all of it once. Raises EngineError when storage cannot be listed."""
        swept = await self._compare()
        swept = await self._end_exports(swept)
        wrong = await self._db.write(recount)
        for (project_id, resource), (recorded, true) in wrong.items():
            log.error("usage_was_wrong", of_project=project_id, resource=resource, recorded=recorded, true=true)
        await self._db.write(_forget, self._clock(), self._settings)
        return replace(swept, usage_corrected=len(wrong))

    async def look(self) -> None:
        """See how full the pool is, and whether it answers."""
        try:
            room = await self._engine.capacity()
        except EngineError as error:
            log.warning("pool_not_seen", reason=error.reason)
            if self.storage is not None:
                self.storage = self.storage._replace(up=False)
            return
        self.storage = Storage(
            total_gib=room.total_bytes / GIB,
            free_gib=room.free_bytes / GIB,
            provisioned_gib=room.provisioned_bytes / GIB,
            seen_at=self._clock(),
            up=True,
        )

    async def mark(self) -> None:
        """Let the pool and the database each know how far the other has come (`admission.py`)."""
        number = await self._db.read(last_number)
        if number == self._marked:
            return
        try:
            await self._engine.ensure_reached(number)
        except EngineError as error:
            log.warning("pool_not_marked", reason=error.reason)
            return
        await self._db.write(keep_reached, number)
        self._marked = number

    async def run(self, observer: Observer) -> None:
        """Sweep shortly after the start and then at intervals, until cancelled."""
        every = self._settings.operations.sweep_seconds
        loop = asyncio.get_running_loop()
        due = loop.time() + min(FIRST_SWEEP_SECONDS, every)
        while True:
            await asyncio.sleep(min(LOOK_SECONDS, max(due - loop.time(), 0)))
            try:
                observer.oldest_operation(await self.oldest_seconds())
                await self.look()
                await self.mark()
                if loop.time() < due:
                    continue
                due = loop.time() + every
                swept = await self.sweep()
                observer.sweep(swept.outcome, len(swept.unknown) + swept.failures)
            except Exception as error:
                # Storage that cannot be listed just now, or a mistake of ours: the service goes on, and so do sweeps.
                if not isinstance(error, Unavailable):  # that has been logged
                    log.exception("sweep_failed")
                due = max(due, loop.time() + min(LOOK_SECONDS, every))
                observer.sweep("failed", 0)

    async def oldest_seconds(self) -> float:
        """Return the age of the oldest open operation, 0 if there is none."""
        oldest = await self._db.read(oldest_open)
        return 0.0 if oldest is None else max((self._clock() - oldest).total_seconds(), 0.0)

    async def _compare(self) -> Swept:
        # Storage first, rows after. A row is made before its object and goes after it, so an object that is in the list
        # and has no row when the rows are read *later* has lost its row for good (ids are never used again). The other
        # way round, an object made between the two readings would look like an orphan, and be deleted.
        objects = await self._engine.list_objects()
        found = await self._db.read(_known, objects)
        # A row whose object is not in the list may be one that was made since: only what is not there when it is asked
        # for by itself, and whose row is still there after that, is lost.
        missing = [row_id for row_id in found.lost if not await self._is_there(row_id)]
        rows = await self._db.read(stored_rows) if missing else {}
        lost = [row_id for row_id in missing if row_id in rows and rows[row_id].promises]
        for row_id in lost:
            log.error("row_without_storage", id=row_id)
        for object_id in found.unknown:
            log.warning("storage_without_row", id=object_id, advice="see openevs doctor")
        deleted: list[str] = []
        failures = 0
        # Snapshots first: a volume that has some is not removed.
        for object_id in sorted(found.orphans, key=lambda orphan: orphan in objects.volumes):
            try:
                await self._remove(object_id, objects)
            except EngineError as error:
                failures += 1
                log.warning("orphan_not_deleted", id=object_id, error=type(error).__name__, reason=error.reason)
            else:
                deleted.append(object_id)
                log.info("orphan_deleted", id=object_id)
        return Swept(tuple(deleted), found.unknown, tuple(lost), failures=failures)

    async def _remove(self, object_id: str, objects: Objects) -> None:
        if object_id in objects.snapshots:
            await self._engine.ensure_no_snapshot(SnapshotId(object_id))
            return
        if isinstance(self._engine, Exports):
            await self._engine.ensure_no_export(VolumeId(object_id))
        await self._engine.ensure_no_volume(VolumeId(object_id))

    async def _is_there(self, object_id: str) -> bool:
        volume = await self._engine.inspect_volume(VolumeId(object_id))
        return volume is not None or await self._engine.inspect_snapshot(SnapshotId(object_id)) is not None

    async def _end_exports(self, swept: Swept) -> Swept:
        if not isinstance(self._engine, Exports):
            return swept
        # Exports first, rows after, for the reason above: what asks for an export is written before it is made.
        served = await self._engine.list_exports()
        ended = await self._db.write(_end_unwanted, list(served), self._clock())
        for operation in ended:
            why = "no attachment and no operation asks for it"
            log.warning("export_unwanted", volume_id=operation.resource_id, why=why)
            self._ring(operation)
        return replace(swept, exports_ended=tuple(operation.resource_id for operation in ended))


@dataclass(frozen=True, slots=True)
class _Compared:
    orphans: tuple[str, ...]
    unknown: tuple[str, ...]
    lost: tuple[str, ...]


def _known(tx: Tx, objects: Objects) -> _Compared:
    on_storage = {*objects.volumes, *objects.snapshots}
    rows = stored_rows(tx)
    without_row = on_storage - rows.keys()
    without_row -= in_open_input(tx, without_row)
    orphans = finished_about(tx, without_row)
    return _Compared(
        orphans=tuple(sorted(orphans)),
        unknown=tuple(sorted(without_row - orphans)),
        lost=tuple(sorted(row.id for row in rows.values() if row.promises and row.id not in on_storage)),
    )


def _end_unwanted(tx: Tx, served: list[str], now: datetime) -> list[Operation]:
    """Queue the end of each export that nobody asks for: the operation's claim keeps everybody from asking for it
    meanwhile."""
    nobody = {"attachment_id": None, "before": None, "end": True, "volume_moved": False, "others": False}
    queued = []
    for volume_id, project_id in unwanted_exports(tx, served):
        resource = ("volume", volume_id)
        new = NewOperation("disconnect_volume", project_id, *resource, nobody, (resource,), None)
        queued.append(insert_operation(tx, new, now, None))
    return queued


def _forget(tx: Tx, now: datetime, settings: Settings) -> None:
    forget_messages(tx, now)
    forget_events(tx, now - timedelta(days=settings.operations.keep_events_days))
    forget_finished(tx, now - timedelta(days=settings.operations.keep_days))
    forget_tokens(tx, now - timedelta(hours=settings.api.client_token_hours))
    delete_expired_tokens(tx, now)
