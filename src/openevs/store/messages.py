"""User messages in the database."""

from datetime import datetime

import sqlalchemy as sa

from openevs.domain.message import Message
from openevs.store.database import Tx
from openevs.store.lookup import Lookup, find_owned
from openevs.store.tables import message as table

_ONE = Lookup(sa.select(*table.c).where(table.c.id == sa.bindparam("id")), Message._make)


def insert_message(tx: Tx, message: Message) -> Message:
    """Add a message."""
    tx.execute(sa.insert(table), message._asdict())
    return message


def find_message(tx: Tx, message_id: str, project_id: str | None = None) -> Message:
    """Return a message; with a project, those of others do not exist. Raises NotFound."""
    return find_owned(tx, _ONE, "message", message_id, project_id)


def delete_message_row(tx: Tx, message_id: str) -> None:
    """Forget a message."""
    tx.execute(sa.delete(table).where(table.c.id == message_id))


def forget_messages(tx: Tx, now: datetime) -> int:
    """Remove messages that need be kept no longer; return how many."""
    return tx.execute(sa.delete(table).where(table.c.guaranteed_until < now)).rowcount
