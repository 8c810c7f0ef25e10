"""Transactions: synchronous functions that are given a connection.

`await database.write(fn, *args)` runs `fn(connection, *args)` in one transaction and returns what it returns; an
exception rolls everything back. Since `fn` is synchronous it cannot await an engine: a transaction never waits for
storage. The name of `fn` is the name of the transaction in the metrics.

SQLite has one writer, so all writes go through one thread and one connection, each inside BEGIN IMMEDIATE. Reads have
a pool of threads with a connection each, and see one consistent state from their first statement to their last.
"""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import sqlalchemy as sa
import structlog

from openevs.domain.errors import Unavailable
from openevs.store.dialect import open_sqlite, why_unusable

P = ParamSpec("P")
T = TypeVar("T")
Observe = Callable[[tuple[str, str], float], None]
"""Called after each transaction: name and `read` or `write`; seconds."""

READERS: Final = 4
log = structlog.get_logger()


_FAULTS: Final = (sqlite3.Error, sa.exc.DBAPIError)


def _ignore(labels: tuple[str, str], seconds: float) -> None:
    return None


def _name(fn: Callable[..., object]) -> str:
    """Return the name of a transaction; a method of `Rows` is about its table (`move_volume`)."""
    name = getattr(fn, "__name__", "?")
    table = getattr(getattr(fn, "__self__", None), "table", None)
    return name if table is None else f"{name}_{table.name}"


class Tx(sa.Connection):
    """What a transaction's function is given. Each thread has one, and keeps it."""

    def __init__(self, engine: sa.Engine) -> None:
        super().__init__(engine)
        self.driver: Any = self.connection.driver_connection
        """The driver's own connection; the way to it through SQLAlchemy's layers takes as long as a small statement."""


class Database:
    """The one door to the database."""

    def __init__(self, url: str, observe: Observe = _ignore) -> None:
        self.url = url
        self._engine = open_sqlite(url)
        self._observe = observe
        self._local = threading.local()
        self._opened: list[Tx] = []
        self._writer = ThreadPoolExecutor(1, "db-write")
        self._readers = ThreadPoolExecutor(READERS, "db-read")

    async def write(self, fn: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `fn` in one write transaction; it is durable when this returns. Raises Unavailable if the database
        cannot be used, for want of space or because of its disk."""
        loop = asyncio.get_running_loop()
        # Once begun, a transaction is not abandoned by a caller that goes away: it commits or rolls back as a whole.
        return await asyncio.shield(loop.run_in_executor(self._writer, self._run, "write", fn, args, kwargs))

    async def read(self, fn: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `fn` in one read transaction. Raises Unavailable."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, self._run, "read", fn, args, kwargs)

    def read_now(self, fn: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a read that takes microseconds on the calling thread: a hop to a pool would cost more than the read.
        Only for single rows found by their key."""
        return self._run("read", fn, args, kwargs)

    def look_up(self, fn: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `read_now`, for what is found by one statement of a `Lookup`. A statement by itself sees one state; the
        transaction around it would only be two statements more."""
        began = time.perf_counter()
        try:
            return fn(self._connection(), *args, **kwargs)
        except _FAULTS as error:
            _refuse(error)
            raise
        finally:
            self._observe((_name(fn), "read"), time.perf_counter() - began)

    def _run(self, mode: str, fn: Callable[..., T], args: tuple[object, ...], kwargs: dict[str, object]) -> T:
        began = time.perf_counter()
        try:
            return self._transact(mode, fn, args, kwargs)
        except _FAULTS as error:
            _refuse(error)
            raise
        finally:
            self._observe((_name(fn), mode), time.perf_counter() - began)

    def _transact(self, mode: str, fn: Callable[..., T], args: tuple[object, ...], kwargs: dict[str, object]) -> T:
        tx = self._connection()
        tx.driver.execute("BEGIN IMMEDIATE" if mode == "write" else "BEGIN")
        try:
            result = fn(tx, *args, **kwargs)
            tx.driver.execute("COMMIT")
        except BaseException:
            if tx.driver.in_transaction:
                tx.driver.execute("ROLLBACK")
            raise
        finally:
            tx.rollback()  # SQLAlchemy's own idea of a transaction; the database's has ended above
        return result

    def _connection(self) -> Tx:
        tx: Tx | None = getattr(self._local, "tx", None)
        if tx is None:
            tx = self._local.tx = Tx(self._engine)
            self._opened.append(tx)
        return tx

    def close(self) -> None:
        """Finish what is queued and close every connection."""
        self._writer.shutdown(wait=True)
        self._readers.shutdown(wait=True)
        for connection in self._opened:
            connection.close()
        self._engine.dispose()


def _refuse(error: Exception) -> None:
    """Raise Unavailable if the database cannot be used; any other fault is a mistake of ours."""
    reason = why_unusable(error)
    if reason is not None:
        log.error("database_unusable", reason=reason)
        raise Unavailable(reason) from error
