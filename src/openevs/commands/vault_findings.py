"""What `openevs doctor` finds in the vault: backups without a row, rows without a backup, what was begun and left."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from openevs.compose import build_vault
from openevs.operations.recovered_backups import FoundBackup
from openevs.settings import Settings
from openevs.store.backups import known_vault_ids, promised_vault_ids
from openevs.store.database import Database
from openevs.vault.errors import Damaged, VaultError
from openevs.vault.port import Vault


class Finding(NamedTuple):
    """Something that is not as it should be."""

    what: str
    about: str
    text: str


@asynccontextmanager
async def opened_vault(settings: Settings, findings: list[Finding]) -> AsyncIterator[Vault | None]:
    """Give the vault; None, and a finding, if it cannot be used now: the pool is worth looking at all the same."""
    vault: Vault | None = None
    try:
        vault = build_vault(settings)
        await vault.list_backups()
    except VaultError as error:
        findings.append(Finding("no vault", "-", f"{error.reason}; backups were not looked at"))
        if vault is not None:
            await vault.close()
            vault = None
    try:
        yield vault
    finally:
        if vault is not None:
            await vault.close()


async def look_into(vault: Vault, findings: list[Finding]) -> list[FoundBackup]:
    """Return the backups that are there and can be read."""
    found = []
    for backup_id in await vault.list_backups():
        try:
            facts = await vault.inspect(backup_id)
            if facts is not None:
                found.append(FoundBackup(facts, await vault.export_record(backup_id)))
        except Damaged as error:
            findings.append(Finding("damage", backup_id, error.reason))
    return found


async def read_whole(vault: Vault) -> list[Finding]:
    """Read everything that every backup needs."""
    findings = []
    for backup_id in await vault.list_backups():
        try:
            findings += [Finding("damage", backup_id, text) for text in await vault.check(backup_id)]
        except Damaged as error:
            findings.append(Finding("damage", backup_id, error.reason))
    return findings


async def remove_unfinished(vault: Vault, db: Database) -> None:
    """Give back the room of what was begun by a database that is lost: nobody goes on with it."""
    known = await db.read(known_vault_ids)
    for backup_id in await vault.list_unfinished():
        if backup_id not in known:
            await vault.ensure_no_backup(backup_id)


async def compare_vault(vault: Vault, db: Database) -> list[Finding]:
    """Compare the vault with the rows."""
    there = set(await vault.list_backups())
    known, promised = await db.read(known_vault_ids), await db.read(promised_vault_ids)
    return [
        *(
            Finding("no row", backup_id, "backup is in the vault only; --rebuild makes a row for it")
            for backup_id in sorted(there - known)
        ),
        *(
            Finding("no storage", backup_id, "backup is available, but not in the vault")
            for backup_id in sorted(promised - there)
        ),
    ]
