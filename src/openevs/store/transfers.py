"""Transfers in the database."""

import sqlalchemy as sa

from openevs.domain.transfer import Transfer
from openevs.store.database import Tx
from openevs.store.lookup import Lookup, find_owned
from openevs.store.tables import transfer as table

_ONE = Lookup(sa.select(*table.c).where(table.c.id == sa.bindparam("id")), Transfer._make)


def insert_transfer(tx: Tx, transfer: Transfer) -> Transfer:
    """Add a transfer."""
    tx.execute(sa.insert(table), transfer._asdict())
    return transfer


def find_transfer(tx: Tx, transfer_id: str, project_id: str | None = None) -> Transfer:
    """Return a transfer; with a project, those that others offer do not exist. Raises NotFound."""
    return find_owned(tx, _ONE, "transfer", transfer_id, project_id)


def delete_transfer_row(tx: Tx, transfer_id: str) -> None:
    """Forget a transfer that was accepted or taken back."""
    tx.execute(sa.delete(table).where(table.c.id == transfer_id))
