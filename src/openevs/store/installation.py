"""Facts about the installation itself: which pool this database belongs to, and the numbers it must not use again."""

from typing import Final

import sqlalchemy as sa

from openevs.store.database import Tx
from openevs.store.prepared import insert_row
from openevs.store.tables import operation, setting, snapshot, volume

_POOL: Final = "pool_id"
_REACHED: Final = "pool_reached"


def kept_pool(tx: Tx) -> str | None:
    """Return the id of the pool that this database belongs to; None if it has never been used with one."""
    return _kept(tx, _POOL)


def keep_pool(tx: Tx, pool_id: str) -> None:
    """Remember the pool that this database belongs to."""
    _keep(tx, _POOL, pool_id)


def kept_reached(tx: Tx) -> int:
    """Return the number of an operation that the pool has been told is reached, if not of a later one."""
    return int(_kept(tx, _REACHED) or 0)


def keep_reached(tx: Tx, number: int) -> None:
    """Remember what the pool has been told is reached."""
    _keep(tx, _REACHED, str(number))


def _kept(tx: Tx, name: str) -> str | None:
    return tx.execute(sa.select(setting.c.value).where(setting.c.name == name)).scalar()


def _keep(tx: Tx, name: str, value: str) -> None:
    tx.execute(sa.delete(setting).where(setting.c.name == name))
    insert_row(tx, setting, {"name": name, "value": value})


def is_new(tx: Tx) -> bool:
    """Say whether this database has never had a volume, nor any work."""
    return last_number(tx) == 0 and not any(
        tx.execute(sa.select(sa.exists().select_from(table))).scalar() for table in (volume, snapshot)
    )


def last_number(tx: Tx) -> int:
    """Return the number of the last operation there was, finished and forgotten ones included."""
    query = sa.text("SELECT seq FROM sqlite_sequence WHERE name = :name")
    return tx.execute(query, {"name": operation.name}).scalar() or 0


def skip_numbers(tx: Tx, upto: int) -> bool:
    """See to it that the next operation's number is above `upto`; say whether anything had to be done.

    The number is the token of destructive engine calls. In a database that was lost, or restored from a backup, it
    would be one that a volume has seen: such a roll-back would be refused, or, worse, be taken for done.
    """
    if last_number(tx) >= upto:
        return False
    values = {"name": operation.name, "seq": upto}
    if not tx.execute(sa.text("UPDATE sqlite_sequence SET seq = :seq WHERE name = :name"), values).rowcount:
        tx.execute(sa.text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :seq)"), values)
    return True
