"""Volume types in the database."""

import sqlalchemy as sa

from openevs.domain.errors import NotFound
from openevs.domain.model import VolumeType
from openevs.store.database import Tx
from openevs.store.tables import volume_type as table


def ensure_type(tx: Tx, wanted: VolumeType) -> None:
    """Add a type unless one of its name is there; that one stays as it is."""
    if tx.execute(sa.select(table.c.id).where(table.c.name == wanted.name)).first() is None:
        tx.execute(sa.insert(table), wanted._asdict())


def find_type(tx: Tx, type_id: str) -> VolumeType:
    """Return a type. Raises NotFound."""
    row = tx.execute(sa.select(*table.c).where(table.c.id == type_id)).first()
    if row is None:
        raise NotFound("volume type", type_id)
    return VolumeType._make(row)


def find_type_by_name(tx: Tx, name: str) -> VolumeType:
    """Return a type. Raises NotFound."""
    row = tx.execute(sa.select(*table.c).where(table.c.name == name)).first()
    if row is None:
        raise NotFound("volume type", name)
    return VolumeType._make(row)


def list_types(tx: Tx) -> list[VolumeType]:
    """Return every type, by name."""
    return [VolumeType._make(row) for row in tx.execute(sa.select(*table.c).order_by(table.c.name))]
