"""The vault of this package: the contract of `port.py`, kept with chunks in an `ObjectStore`."""

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import structlog

from openevs.domain.ids import BackupId
from openevs.vault import records, restoring
from openevs.vault.collecting import collect, remove_backup, sweep
from openevs.vault.contents import Contents, check_id
from openevs.vault.errors import Missing, Transient, VaultError
from openevs.vault.index import Root
from openevs.vault.making import Making
from openevs.vault.objects import ObjectStore
from openevs.vault.port import BackupFacts, BackupOrder, Range, Read, Report, VaultFacts, Write, Zero, unreported
from openevs.vault.sealing import Sealer
from openevs.vault.work import Meter, in_thread

_log = structlog.get_logger()
T = TypeVar("T")


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Repository:
    """A `Vault` in a folder or a bucket."""

    def __init__(
        self,
        store: ObjectStore,
        sealer: Sealer,
        *,
        threads: int | None = None,
        clock: Callable[[], datetime] = _utc_now,
    ) -> None:
        """`threads`: how many chunks are hashed, packed and stored at a time; by default a few more than there are
        cores, since some of them wait for the store."""
        self._store = store
        self._encrypted = sealer.encrypts
        self._contents = Contents(store, sealer)
        self._clock = clock
        self._threads = threads or (os.cpu_count() or 1) + 2
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="vault")
        self._makers: WeakValueDictionary[BackupId, asyncio.Lock] = WeakValueDictionary()
        self._users: Counter[BackupId] = Counter()
        self._collecting = asyncio.Lock()

    def describe(self) -> VaultFacts:
        return VaultFacts(self._store.kind, self._store.location, self._encrypted)

    async def close(self) -> None:
        await asyncio.to_thread(self._pool.shutdown)
        await asyncio.to_thread(self._store.close)

    async def ensure_backup(
        self, order: BackupOrder, read: Read, extents: Sequence[Range], report: Report = unreported
    ) -> BackupFacts:
        await self._open()
        check_id(order.backup_id)
        async with self._makers.setdefault(order.backup_id, asyncio.Lock()):
            interrupted = await self._call(self._contents.was_begun, order.backup_id)
            if (found := await self._call(self._contents.root, order.backup_id)) is None:
                meter = Meter(report, sum(extent.length_bytes for extent in extents))
                ranges = ((extent.offset_bytes, extent.length_bytes) for extent in extents)
                making = Making(self._contents, self._pool, 2 * self._threads, order, read, meter)
                await making.run(ranges, self._clock())
                meter.tell()
                found = await self._call(self._contents.need_root, order.backup_id)
            await self._call(self._store.settle)  # what an earlier process had finished is promised now
            if interrupted or not self._contents.collected:
                await self._collect(everything=interrupted)
            await self._call(self._contents.forget_begun, order.backup_id)
            if found[0].size_bytes != order.size_bytes:
                raise Missing(f"backup {order.backup_id} is there, of {found[0].size_bytes} bytes")
            return _facts(*found)

    async def restore(self, backup_id: BackupId, write: Write, zero: Zero, report: Report = unreported) -> BackupFacts:
        await self._open()
        with self._using(backup_id):
            root, checksum = await self._call(self._contents.need_root, backup_id)
            meter = Meter(report, root.size_bytes)
            await restoring.Restoring(self._contents, self._pool, root, meter).run(write, zero)
            meter.tell()
            return _facts(root, checksum)

    async def ensure_no_backup(self, backup_id: BackupId) -> None:
        await self._open()
        check_id(backup_id)
        lock = self._makers.setdefault(backup_id, asyncio.Lock())
        if lock.locked() or self._users[backup_id]:
            raise Transient(f"backup {backup_id} is being made or read")
        async with lock, self._collecting:
            await self._call(remove_backup, self._contents, backup_id)

    async def inspect(self, backup_id: BackupId) -> BackupFacts | None:
        await self._open()
        found = await self._call(self._contents.root, backup_id)
        return _facts(*found) if found else None

    async def list_backups(self) -> Sequence[BackupId]:
        await self._open()
        return sorted(await self._call(self._contents.backup_ids))

    async def list_unfinished(self) -> Sequence[BackupId]:
        await self._open()
        begun = set(await self._call(self._contents.begun_ids))
        return sorted(begun - set(await self._call(self._contents.backup_ids)))

    async def check(self, backup_id: BackupId, report: Report = unreported) -> Sequence[str]:
        await self._open()
        with self._using(backup_id):
            root, _ = await self._call(self._contents.need_root, backup_id)
            meter = Meter(report, root.size_bytes)
            complaints = await restoring.check(self._contents, self._pool, root, meter)
            meter.tell()
            return sorted(complaints)

    async def export_record(self, backup_id: BackupId) -> str:
        await self._open()
        root, checksum = await self._call(self._contents.need_root, backup_id)
        return records.encode(records.Record(self._contents.vault_id, backup_id, root.size_bytes, checksum))

    async def import_record(self, record: str) -> BackupFacts:
        await self._open()
        wanted = records.decode(record)
        if wanted.vault_id != self._contents.vault_id:
            raise Missing(f"the record is of a backup in another vault than {self._store.location}")
        root, checksum = await self._call(self._contents.need_root, wanted.backup_id)
        if checksum != wanted.checksum:
            raise Missing(f"backup {wanted.backup_id} is there, but is not the one that the record names")
        return _facts(root, checksum)

    async def _collect(self, *, everything: bool) -> None:
        """Look again at what an earlier process, or a removal that this backup stood in the way of, has left; and, if
        `everything`, at what an interrupted attempt had stored, which the one that succeeded may have cut otherwise."""
        async with self._collecting:
            try:
                await self._call(collect, self._contents)
                if everything:
                    await self._call(sweep, self._contents)
            except VaultError as error:  # the backup is whole all the same
                _log.warning("vault_not_collected", reason=error.reason)

    async def _open(self) -> None:
        await self._call(self._contents.open)

    async def _call(self, function: Callable[..., T], *args: Any) -> T:
        return await in_thread(self._pool, function, *args)

    @contextmanager
    def _using(self, backup_id: BackupId) -> Iterator[None]:
        if (lock := self._makers.get(backup_id)) is not None and lock.locked():
            raise Transient(f"backup {backup_id} is being made or removed")
        self._users[backup_id] += 1
        try:
            yield
        finally:
            self._users[backup_id] -= 1
            self._users += Counter()  # drops the zeros


def _facts(root: Root, checksum: str) -> BackupFacts:
    return BackupFacts(
        BackupId(root.backup_id), root.size_bytes, BackupId(root.parent_id) if root.parent_id else None,
        root.created_at, root.bytes_read, root.bytes_stored, sum(ref.chunk_count for ref in root.segments),
        checksum, root.labels,
    )  # fmt: skip
