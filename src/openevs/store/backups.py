"""Backups in the database."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from openevs.domain.backup import Backup
from openevs.domain.lifecycle import Move
from openevs.store.database import Tx
from openevs.store.listing import count_rows
from openevs.store.lookup import Lookup, find_owned
from openevs.store.moves import move_row, update_row
from openevs.store.tables import backup as table

_ONE = Lookup(sa.select(*table.c).where(table.c.id == sa.bindparam("id")), Backup._make)


def insert_backup(tx: Tx, backup: Backup) -> Backup:
    """Add a backup."""
    tx.execute(sa.insert(table), backup._asdict())
    return backup


def find_backup(tx: Tx, backup_id: str, project_id: str | None = None) -> Backup:
    """Return a backup; with a project, those of others do not exist. Raises NotFound."""
    return find_owned(tx, _ONE, "backup", backup_id, project_id)


def move_backup(
    tx: Tx,
    backup_id: str,
    move: Move,
    now: datetime,
    *,
    project_id: str | None = None,
    also: Mapping[str, Any] | None = None,
) -> Backup:
    """Change a backup's status. Raises NotFound, WrongStatus."""
    return move_row(tx, table, Backup._make, backup_id, move, now, project_id=project_id, also=also)


def update_backup(tx: Tx, backup_id: str, project_id: str | None, now: datetime, values: Mapping[str, Any]) -> Backup:
    """Change columns other than the status. Raises NotFound."""
    return update_row(tx, table, Backup._make, backup_id, now, values, project_id=project_id)


def delete_backup_row(tx: Tx, backup_id: str) -> None:
    """Forget a backup that is gone from the vault."""
    tx.execute(sa.delete(table).where(table.c.id == backup_id))


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
