"""Backups in the database."""

from collections.abc import Iterable, Sequence
from typing import Final

import sqlalchemy as sa

from openevs.domain.backup import Backup
from openevs.store.database import Tx
from openevs.store.listing import count_rows
from openevs.store.rows import Rows
from openevs.store.tables import backup as table

_ROWS: Final = Rows(table, Backup._make)
insert_backup = _ROWS.insert
find_backup = _ROWS.find
move_backup = _ROWS.move
update_backup = _ROWS.update
delete_backup_row = _ROWS.delete


def backups_of(tx: Tx, volume_id: str) -> list[Backup]:
    """Return every backup of a volume, in whatever project."""
    return [Backup._make(row) for row in tx.execute(sa.select(*table.c).where(table.c.volume_id == volume_id))]


def bases_of(tx: Tx, volume_id: str) -> list[str]:
    """Return the frozen states of a volume that only backups know: they must go before it does."""
    return [backup.own_base for backup in backups_of(tx, volume_id) if backup.own_base is not None]


def parents_among(tx: Tx, backup_ids: Iterable[str]) -> set[str]:
    """Return those of these backups that others were made on top of."""
    query = sa.select(table.c.parent_id).where(table.c.parent_id.in_(list(backup_ids)))
    return set(tx.execute(query.distinct()).scalars())


def known_vault_ids(tx: Tx) -> set[str]:
    """Return the name in the vault of every backup there is a row of."""
    return set(tx.execute(sa.select(table.c.vault_id)).scalars())


def promised_vault_ids(tx: Tx) -> set[str]:
    """Return the name in the vault of every backup that must be there."""
    return set(tx.execute(sa.select(table.c.vault_id).where(table.c.status == "available")).scalars())


def sharing_vault_id(tx: Tx, backup: Backup) -> int:
    """Return how many other backups are the same one in the vault."""
    return count_rows(tx, table, [table.c.vault_id == backup.vault_id, table.c.id != backup.id])


def forget_bases(tx: Tx, snapshot_ids: Sequence[str]) -> None:
    """Note that storage has these frozen states no more."""
    tx.execute(sa.update(table).where(table.c.base_snapshot_id.in_(snapshot_ids)).values(base_snapshot_id=None))
