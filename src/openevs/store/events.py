"""History for people: what happened to a resource, append-only. Nothing reads it to decide anything."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from openevs.domain.model import Operation
from openevs.store.database import Tx
from openevs.store.prepared import insert_row
from openevs.store.tables import event as table


def insert_event(
    tx: Tx, operation: Operation, name: str, now: datetime, detail: Mapping[str, Any] | None = None
) -> None:
    """Note what an operation did."""
    row = {
        "at": now,
        "project_id": operation.project_id,
        "resource_kind": operation.resource_kind,
        "resource_id": operation.resource_id,
        "name": name,
        "operation_id": operation.id,
        "request_id": operation.request_id,
        "detail": dict(detail or {}),
    }
    insert_row(tx, table, row)


def events_of(tx: Tx, resource_id: str) -> list[dict[str, Any]]:
    """Return the history of one resource, oldest first."""
    query = sa.select(table).where(table.c.resource_id == resource_id).order_by(table.c.seq)
    return [dict(row._mapping) for row in tx.execute(query)]


def forget_events(tx: Tx, before: datetime) -> int:
    """Remove events from before then; return how many."""
    return tx.execute(sa.delete(table).where(table.c.at < before)).rowcount
