"""`openevs doctor`: compare pool, vault and database, and with --rebuild make the rows of a lost database anew.

It wants the service stopped: both look at the same pool, and one of them at a time.
"""

import asyncio
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from openevs.commands.failure import Failure
from openevs.commands.vault_findings import (
    Finding,
    compare_vault,
    look_into,
    opened_vault,
    read_whole,
    remove_unfinished,
)
from openevs.compose import (
    VOLUME_TYPE,
    AlreadyRunning,
    FolderUnusable,
    build_engine,
    lock_folder,
    make_private,
    utc_now,
)
from openevs.domain.backup import TRANSITIONAL_BACKUP_STATUSES
from openevs.domain.errors import Unavailable
from openevs.domain.ids import GIB
from openevs.domain.lifecycle import (
    TRANSITIONAL_GROUP_STATUSES,
    TRANSITIONAL_SNAPSHOT_STATUSES,
    TRANSITIONAL_VOLUME_STATUSES,
)
from openevs.engine.errors import EngineError
from openevs.engine.port import Adopts, Checks, Engine, EngineFacts, Exports, Objects, SnapshotFacts, VolumeFacts
from openevs.identity.bootstrap import Bootstrap, bootstrap
from openevs.identity.credentials import write_credentials
from openevs.observe.log import configure_logging
from openevs.operations.admission import WrongPool, older_copy, wrong_pool
from openevs.operations.recovered_backups import FoundBackup
from openevs.operations.recovery import Into, Pool, Recovered, recover
from openevs.settings import Log, Settings
from openevs.store.database import Database, Tx
from openevs.store.dialect import sqlite_path
from openevs.store.quotas import wrong_usage
from openevs.store.schema import SchemaError, migrate
from openevs.store.sweeping import finished_about, stored_rows, transitional_without_operation
from openevs.vault.errors import VaultError

_TRANSITIONAL = (
    ("volume", TRANSITIONAL_VOLUME_STATUSES, "os-reset_status"),
    ("snapshot", TRANSITIONAL_SNAPSHOT_STATUSES, "os-reset_status"),
    ("backup", TRANSITIONAL_BACKUP_STATUSES, "os-reset_status"),
    ("group", TRANSITIONAL_GROUP_STATUSES, "reset_status"),
    ("group_snapshot", TRANSITIONAL_GROUP_STATUSES, "reset_status"),
)
"""Kind of resource, statuses that only an operation may leave it in, and the action that helps."""


class Report(NamedTuple):
    """What was found, and before that made anew."""

    findings: list[Finding]
    recovered: Recovered | None
    volumes: int
    snapshots: int
    unmanaged: list[str]
    """Names of what is in the pool and nobody's."""


def run(settings: Settings, *, rebuild: bool, project: str | None, read_backups: bool) -> Report:
    """Examine, after rebuilding if that is asked for. Raises Failure."""
    # What is wrong is in the report; the rest of a service's log is of no use here.
    configure_logging(Log(level="error", format=settings.log.format))
    database = sqlite_path(settings.database_url)
    if not rebuild and database is not None and not database.exists():
        raise Failure(
            f"There is no database at {database}. If it was lost, `openevs doctor --rebuild` makes it anew, from what"
            " is in the pool and the vault."
        )
    try:
        with lock_folder(settings.data_folder):
            make_private(settings)
            migrate(settings.database_url)
            return asyncio.run(_run(settings, rebuild=rebuild, project=project, read_backups=read_backups))
    except AlreadyRunning:
        raise Failure(f"A service is running on {settings.data_folder}; stop it first.") from None
    except (EngineError, VaultError) as error:
        raise Failure(error.reason) from None
    except (FolderUnusable, SchemaError, WrongPool, Unavailable) as error:
        raise Failure(str(error)) from None


async def _run(settings: Settings, *, rebuild: bool, project: str | None, read_backups: bool) -> Report:
    db = Database(settings.database_url)
    engine = build_engine(settings)
    try:
        await engine.open()
        findings: list[Finding] = []
        async with opened_vault(settings, findings) as vault:
            found = await look_into(vault, findings) if rebuild and vault else []
            recovered = await _rebuild(settings, db, engine, project, found) if rebuild else None
            if vault is not None:
                if rebuild:
                    await remove_unfinished(vault, db)
                findings += await compare_vault(vault, db)
                findings += await read_whole(vault) if read_backups else []
        objects = await engine.list_objects()
        damaged = await engine.check() if isinstance(engine, Checks) else []
        findings += [Finding("damage", "-", text) for text in damaged]
        findings += await db.read(_compare, engine.describe(), objects)
        unmanaged = [stray.name for stray in await engine.list_strays()] if isinstance(engine, Adopts) else []
        return Report(findings, recovered, len(objects.volumes), len(objects.snapshots), unmanaged)
    finally:
        await engine.close()
        db.close()


async def _rebuild(
    settings: Settings, db: Database, engine: Engine, project: str | None, backups: Sequence[FoundBackup]
) -> Recovered:
    facts, objects = engine.describe(), await engine.list_objects()
    if (wrong := await db.read(wrong_pool, facts)) is not None:
        raise WrongPool(wrong)
    base_url = settings.server.public_url or f"http://{settings.server.host}:{settings.server.port}"

    def keep(made: Bootstrap) -> None:
        write_credentials(settings.data_folder, base_url, settings.api.region, made)

    made = await bootstrap(db, settings.identity, utc_now, keep)
    exports = await engine.list_exports() if isinstance(engine, Exports) else {}
    into = Into(project, made.demo_user, made.admin_user, VOLUME_TYPE, settings.api.availability_zone, utc_now())
    return await db.write(recover, Pool(facts, objects, exports, backups), into)


def _compare(tx: Tx, facts: EngineFacts, objects: Objects) -> list[Finding]:
    older = older_copy(tx, facts, objects)
    found = [*_of_storage(tx, objects, all_is_kept=older is not None), *_of_rows(tx, objects)]
    if (wrong := wrong_pool(tx, facts)) is not None:
        found.append(Finding("wrong pool", facts.pool_id, wrong))
    if older is not None:
        found.append(Finding("old copy", "-", f"{older} or use --rebuild"))
    for (project_id, resource), (recorded, true) in wrong_usage(tx).items():
        text = f"{resource}: {recorded} is recorded, {true} is in use; the service corrects this by itself"
        found.append(Finding("usage", project_id, text))
    for kind, statuses, action in _TRANSITIONAL:
        for row_id, status in transitional_without_operation(tx, kind, statuses):
            name = kind.replace("_", " ")
            text = f"{name} is {status}, but no operation is under way; {action} gives it another status"
            found.append(Finding("stuck", row_id, text))
    return found


def _of_storage(tx: Tx, objects: Objects, *, all_is_kept: bool) -> Iterator[Finding]:
    rows = stored_rows(tx)
    without_row = (objects.volumes.keys() | objects.snapshots.keys()) - rows.keys()
    left = set() if all_is_kept else finished_about(tx, without_row)
    for object_id in sorted(without_row):
        kind = "volume" if object_id in objects.volumes else "snapshot"
        if object_id in left:
            text = f"{kind} is left of an operation that has finished; the service deletes it by itself"
            yield Finding("left over", object_id, text)
        else:
            yield Finding("no row", object_id, f"{kind} is in the pool only; --rebuild makes a row for it")


def _of_rows(tx: Tx, objects: Objects) -> Iterator[Finding]:
    facts: dict[str, VolumeFacts | SnapshotFacts] = dict(objects.volumes.items())
    facts |= dict(objects.snapshots.items())
    for row in stored_rows(tx).values():
        found = facts.get(row.id)
        if found is None:
            if row.promises:
                yield Finding("no storage", row.id, f"{row.kind} is {row.status}, but not in the pool")
        elif row.promises and found.size_bytes != row.size_gib * GIB:
            text = f"{row.kind} has {row.size_gib} GiB in the database, {found.size_bytes} bytes in the pool"
            yield Finding("size", row.id, text)
