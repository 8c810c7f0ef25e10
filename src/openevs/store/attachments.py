"""Attachments in the database."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from openevs.domain.errors import NotFound
from openevs.domain.model import Attachment
from openevs.store.database import Tx
from openevs.store.lookup import Lookup
from openevs.store.rows import Rows
from openevs.store.tables import attachment as table

_ROWS: Final = Rows(table, Attachment._make)
insert_attachment = _ROWS.insert
find_attachment = _ROWS.find
move_attachment = _ROWS.move
delete_attachment_row = _ROWS.delete
_OF_VOLUME = Lookup(
    sa.select(*table.c).where(table.c.volume_id == sa.bindparam("id")).order_by(table.c.created_at), Attachment._make
)


def attachments_of_one(tx: Tx, volume_id: str) -> list[Attachment]:
    """Return the attachments of one volume, oldest first."""
    return _OF_VOLUME.all(tx, id=volume_id)


def attachments_of(tx: Tx, volume_ids: Sequence[str]) -> dict[str, list[Attachment]]:
    """Return the attachments of several volumes, by volume."""
    found: dict[str, list[Attachment]] = {}
    if volume_ids:
        query = sa.select(*table.c).where(table.c.volume_id.in_(volume_ids)).order_by(table.c.created_at)
        for row in tx.execute(query):
            found.setdefault(row.volume_id, []).append(Attachment._make(row))
    return found


def update_attachment(tx: Tx, attachment_id: str, values: Mapping[str, Any]) -> Attachment:
    """Change an attachment. Raises NotFound."""
    row = tx.execute(sa.update(table).where(table.c.id == attachment_id).values(values).returning(*table.c)).first()
    if row is None:
        raise NotFound("attachment", attachment_id)
    return Attachment._make(row)


def delete_reserved_row(tx: Tx, attachment_id: str) -> bool:
    """Forget an attachment if it is only reserved; say whether it was."""
    only_reserved = sa.and_(table.c.id == attachment_id, table.c.status == "reserved")
    return tx.execute(sa.delete(table).where(only_reserved)).rowcount > 0
