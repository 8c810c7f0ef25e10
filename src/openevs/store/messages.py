"""User messages in the database."""

from datetime import datetime
from typing import Final

import sqlalchemy as sa

from openevs.domain.message import Message
from openevs.store.database import Tx
from openevs.store.rows import Rows
from openevs.store.tables import message as table

_ROWS: Final = Rows(table, Message._make)
insert_message = _ROWS.insert
find_message = _ROWS.find
delete_message_row = _ROWS.delete


def forget_messages(tx: Tx, now: datetime) -> int:
    """Remove messages that need be kept no longer; return how many."""
    return tx.execute(sa.delete(table).where(table.c.guaranteed_until < now)).rowcount
