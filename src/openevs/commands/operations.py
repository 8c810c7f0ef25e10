"""`openevs operation list | show | retry`: the work that the service has done and has to do.

They go straight to the database, so they work while the service is running, and while it is not.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Concatenate, ParamSpec, TypeVar

import msgspec

from openevs.commands.failure import Failure
from openevs.commands.table import render
from openevs.compose import utc_now
from openevs.domain.errors import DomainError
from openevs.domain.model import Operation
from openevs.observe.log import configure_logging
from openevs.settings import Log, Settings
from openevs.store.database import Database, Tx
from openevs.store.dialect import sqlite_path
from openevs.store.events import events_of
from openevs.store.operations import find_operation, list_operations, retry_operation

P = ParamSpec("P")
T = TypeVar("T")


def list_(settings: Settings, *, only_open: bool, limit: int) -> str:
    """Return a table of operations, newest first."""
    found = _read(settings, list_operations, only_open=only_open, limit=limit)
    head = ("ID", "KIND", "RESOURCE", "STATE", "STEP", "FAILED TRIES", "CREATED", "ERROR")
    return render(head, [_row(operation) for operation in found])


def _row(operation: Operation) -> tuple[object, ...]:
    created = operation.created_at.isoformat(sep=" ", timespec="seconds")
    resource = f"{operation.resource_kind} {operation.resource_id}"
    return (
        operation.id, operation.kind, resource, operation.state, operation.step, operation.attempts, created,
        operation.error,
    )  # fmt: skip


def show(settings: Settings, operation_id: str) -> str:
    """Return everything about one operation, and the history of what it was about, as JSON. Raises Failure."""
    operation = _read(settings, find_operation, operation_id)
    events = _read(settings, events_of, operation.resource_id)
    document = {**operation._asdict(), "history": events}
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode()


def retry(settings: Settings, operation_id: str) -> str:
    """Make an open operation due now and return a sentence. Raises Failure."""
    with _database(settings) as db:
        operation = asyncio.run(db.write(retry_operation, operation_id, utc_now()))
    return f"Operation {operation.id} ({operation.kind}) is due now; a running service takes it up within seconds."


def _read(settings: Settings, fn: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
    with _database(settings) as db:
        return db.read_now(fn, *args, **kwargs)


@contextmanager
def _database(settings: Settings) -> Iterator[Database]:
    path = sqlite_path(settings.database_url)
    if path is not None and not path.exists():
        raise Failure(f"There is no database at {path}; give the service's --data-folder or --config.")
    configure_logging(Log(level="error", format=settings.log.format))
    db = Database(settings.database_url)
    try:
        yield db
    except DomainError as error:
        raise Failure(str(error)) from None
    finally:
        db.close()
