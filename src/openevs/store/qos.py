"""QoS specs in the database."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from openevs.domain.errors import Conflict, NotFound
from openevs.domain.model import Operation, Volume, VolumeType
from openevs.domain.qos import QosSpecs, limits_of
from openevs.store.database import Tx
from openevs.store.listing import Page, list_page
from openevs.store.operations import NewOperation, insert_operation
from openevs.store.prepared import insert_row
from openevs.store.tables import attachment, volume, volume_type
from openevs.store.tables import qos_specs as table


def insert_qos(tx: Tx, made: QosSpecs) -> QosSpecs:
    """Add specs. Raises Conflict if the name is taken."""
    try:
        insert_row(tx, table, made._asdict())
    except IntegrityError:
        raise Conflict(f"There are QoS specs {made.name!r} already.") from None
    return made


def find_qos(tx: Tx, qos_id: str) -> QosSpecs:
    """Return specs. Raises NotFound."""
    row = tx.execute(sa.select(*table.c).where(table.c.id == qos_id)).first()
    if row is None:
        raise NotFound("QoS specs", qos_id)
    return QosSpecs._make(row)


def qos_of_type(tx: Tx, type_id: str | None) -> QosSpecs | None:
    """Return the specs of a type, if it has some."""
    joined = sa.select(*table.c).join(volume_type, volume_type.c.qos_specs_id == table.c.id)
    row = tx.execute(joined.where(volume_type.c.id == type_id)).first()
    return None if row is None else QosSpecs._make(row)


def list_qos(tx: Tx, page: Page) -> list[QosSpecs]:
    """Return one page of specs."""
    return list_page(tx, table, QosSpecs._make, [sa.true()], page)


def update_qos(tx: Tx, qos_id: str, values: Mapping[str, Any]) -> QosSpecs:
    """Change specs. Raises NotFound."""
    row = tx.execute(sa.update(table).where(table.c.id == qos_id).values(**values).returning(*table.c)).first()
    if row is None:
        raise NotFound("QoS specs", qos_id)
    return QosSpecs._make(row)


def delete_qos_row(tx: Tx, qos_id: str) -> None:
    """Remove specs, from the types that have them too."""
    tx.execute(sa.update(volume_type).where(volume_type.c.qos_specs_id == qos_id).values(qos_specs_id=None))
    tx.execute(sa.delete(table).where(table.c.id == qos_id))


def types_with_qos(tx: Tx, qos_id: str) -> list[VolumeType]:
    """Return the types that have these specs, by name."""
    query = sa.select(*volume_type.c).where(volume_type.c.qos_specs_id == qos_id).order_by(volume_type.c.name)
    return [VolumeType._make(row) for row in tx.execute(query)]


def attached_of_types(tx: Tx, type_ids: Sequence[str]) -> list[Volume]:
    """Return the volumes of these types that have an attachment."""
    attached = sa.select(attachment.c.volume_id)
    query = sa.select(*volume.c).where(volume.c.type_id.in_(type_ids), volume.c.id.in_(attached))
    return [Volume._make(row) for row in tx.execute(query.order_by(volume.c.id))]


def queue_limits(
    tx: Tx, volume: Volume, now: datetime, request_id: str | None, *, after: timedelta = timedelta(0)
) -> Operation:
    """Queue what gives an attached volume the limits that its type's specs now say, not before `after`. It claims
    nothing: whoever works on the volume goes on, and this makes sure at its end that nothing has changed meanwhile
    (`operations/limit_volumes.py`)."""
    work = {
        "limits": {volume.id: limits_of(qos_of_type(tx, volume.type_id), volume.size_gib)},
        "after": after.total_seconds(),
    }
    new = NewOperation("limit_volumes", volume.project_id, "volume", volume.id, work, (), request_id)
    return insert_operation(tx, new, now, None, run_after=now + after)
