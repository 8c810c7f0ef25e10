"""The composition root: settings → store → engine → services → runner → ASGI application. Read this one first.

`Application` is one running OpenEVS; nothing here has module-level state, so tests run several side by side.
"""

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING

import structlog

from openevs.api.endpoint import Endpoint
from openevs.api.handlers.health import health_routes
from openevs.api.openapi import openapi_route
from openevs.api.routes import ROUTES, build_tree
from openevs.domain.errors import Unavailable
from openevs.domain.ids import GIB
from openevs.engine.errors import EngineError
from openevs.engine.port import Engine, Exports
from openevs.engine.wrap import limited, measured
from openevs.identity.bootstrap import NOTHING, Bootstrap, bootstrap
from openevs.identity.credentials import move_credentials, write_credentials
from openevs.identity.embedded import EmbeddedIdentity
from openevs.observe.metrics import Metrics
from openevs.operations.admission import admit_pool
from openevs.operations.catalog import KINDS
from openevs.operations.kind import Beside, Kind
from openevs.operations.progress import Progresses
from openevs.operations.reconciling import tell_addresses
from openevs.operations.runner import Runner
from openevs.operations.sweeps import Sweeper
from openevs.service.deps import Deps
from openevs.service.group_types import ensure_group_types
from openevs.service.types import ensure_types
from openevs.settings import Settings
from openevs.store.database import Database, Tx
from openevs.store.dialect import sqlite_path
from openevs.store.schema import migrate
from openevs.vault.folder import FolderStore
from openevs.vault.port import Vault
from openevs.vault.repository import Repository
from openevs.vault.sealing import Sealer, read_key

if TYPE_CHECKING:
    from openevs.identity.keystone import KeystoneVerifier

log = structlog.get_logger()

VOLUME_TYPE = "layers"
NODE = "local"
"""Name of this node; with one machine there is one, and a restarted process is the same node."""
S3_THREADS = 16
"""Chunks on their way to a bucket at a time: they mostly wait for the network."""
READY_SECONDS = 5.0
"""How long /readyz waits for database and pool: less than those who ask wait for it."""


class AlreadyRunning(Exception):
    """Another process serves this data folder."""


class FolderUnusable(Exception):
    """The data folder cannot be written; the message says why."""


def utc_now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


def build_engine(settings: Settings) -> Engine:
    """Return the engine that the settings ask for; it is not open yet."""
    # Here and not above, like the other parts of which one is chosen: a start waits only for what it needs.
    if settings.engine.kind == "memory":
        from openevs.engine.memory import MemoryEngine

        return MemoryEngine()
    from openevs.engine.layers.engine import LayersEngine
    from openevs.engine.layers.settings import LayersSettings

    first, _, last = settings.engine.nbd_ports.partition("-")
    return LayersEngine(
        pool_folder=settings.pool_folder,
        run_folder=settings.run_folder,
        settings=LayersSettings(
            merge=settings.engine.merge,
            tcp_host=settings.engine.nbd_host,
            tcp_first_port=int(first),
            tcp_last_port=int(last),
        ),
    )


def build_vault(settings: Settings) -> Vault:
    """Return the vault that the settings ask for; its first use opens it. Raises VaultError for an unusable key."""
    chosen = settings.backups
    sealer = Sealer(read_key(Path(chosen.key_file).expanduser()) if chosen.key_file else None, chosen.compression_level)
    if chosen.kind == "s3":
        from openevs.vault.s3 import S3Store

        bucket = S3Store(
            chosen.s3_bucket, chosen.s3_prefix, endpoint=chosen.s3_endpoint, region=chosen.s3_region,
            access_key=chosen.s3_access_key, secret_key=chosen.s3_secret_key, connections=S3_THREADS,
        )  # fmt: skip
        return Repository(bucket, sealer, threads=S3_THREADS)
    if chosen.folder:
        return Repository(FolderStore(Path(chosen.folder).expanduser()), sealer)
    return Repository(FolderStore(settings.data_folder / "backups", make=True), sealer)


def build_keystone(settings: Settings, clock: Callable[[], datetime]) -> "KeystoneVerifier":
    """Return what asks the Keystone that the settings name."""
    from openevs.identity.keystone import KeystoneVerifier

    return KeystoneVerifier(settings.identity, clock)


class Application:
    """One OpenEVS: its parts, and the order in which they start and stop."""

    def __init__(
        self,
        settings: Settings,
        engine: Engine | None = None,
        clock: Callable[[], datetime] = utc_now,
        node: str = NODE,
        kinds: Mapping[str, Kind] = KINDS,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.metrics = Metrics()
        self.vault = build_vault(settings)
        self._folder_lock = lock_folder(settings.data_folder)
        make_pool_folder(settings)
        make_private(settings)
        self.db = Database(settings.database_url, self.metrics.transactions.observe)
        self.engine = limited(
            measured(engine or build_engine(settings), self.metrics.engine_call), settings.engine.call_timeout_seconds
        )
        self.identity = EmbeddedIdentity(self.db, settings.identity, clock)
        self.keystone = build_keystone(settings, clock) if settings.identity.kind == "keystone" else None
        progresses = Progresses()
        beside = Beside(self.vault, progresses.note)
        self.runner = Runner(
            self.db, self.engine, kinds, clock, node, settings.operations, beside, self.metrics.operation
        )
        self.sweeper = Sweeper(self.db, self.engine, clock, settings, self.runner.ring)
        self._sweeping: asyncio.Task[None] | None = None
        self.deps = Deps(
            db=self.db,
            clock=clock,
            bell=self.runner,
            settings=settings,
            volume_type=VOLUME_TYPE,
            moved=progresses.get,
            powers=frozenset(self.engine.describe().powers),
            max_volume_gib=min(settings.api.max_volume_gib, self.engine.describe().max_volume_bytes // GIB),
            backends=tuple(settings.engine.backends.split(",")) if settings.engine.backends else (VOLUME_TYPE,),
            engine_version=lambda: self.engine.describe().version,
            storage=lambda: self.sweeper.storage,
        )
        # An external Keystone has these paths at an address of its own.
        served = [route for route in ROUTES if self.keystone is None or route.family != "iam"]
        routes = [*served, *health_routes(self.not_ready, self.metrics.render)]
        routes.append(openapi_route(routes[:]))
        self._open = False
        self.asgi = Endpoint(build_tree(routes), self.deps, self.identity, self.metrics.requests.observe, self.keystone)

    async def start(self, base_url: str) -> Bootstrap:
        """Make ready to answer. The first start makes an administrator and a project, and writes their credentials.
        Raises SchemaError, EngineError and WrongPool when the database or the pool cannot be used."""
        await asyncio.to_thread(migrate, self.settings.database_url)
        await self.engine.open()
        await self.db.write(admit_pool, self.engine.describe(), await self.engine.list_objects())
        if isinstance(self.engine, Exports):
            moved = await self.db.write(tell_addresses, await self.engine.list_exports())
            if moved:
                log.warning("addresses_changed", attachments=moved, why="volumes are served elsewhere than they were")
        await ensure_types(self.deps)
        await ensure_group_types(self.deps)

        def keep(made: Bootstrap) -> None:
            write_credentials(self.settings.data_folder, base_url, self.settings.api.region, made)

        made = await bootstrap(self.db, self.settings.identity, self.clock, keep) if self.keystone is None else NOTHING
        if self.keystone is None and not made.is_new:
            move_credentials(self.settings.data_folder, base_url)
        await self.sweeper.look()
        await self.sweeper.mark()
        await self.runner.start()
        self._sweeping = asyncio.create_task(self.sweeper.run(self.metrics))
        self._open = True
        return made

    async def not_ready(self) -> str | None:
        """Return why requests cannot be served now, or None if they can."""
        if not self._open:
            return "the engine is not open"
        try:
            async with asyncio.timeout(READY_SECONDS):
                await self.db.read(ping)
                await self.engine.capacity()
        except TimeoutError:
            return f"the database or the pool has not answered within {READY_SECONDS:g} s"
        except Unavailable as error:
            return str(error)
        except EngineError as error:
            return f"the pool: {error.reason}"
        return None

    async def stop(self) -> None:
        """Finish what can be finished at once, and let go; volumes that are being served go on being served."""
        was_open, self._open = self._open, False
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.wait({self._sweeping})
        await self.runner.stop()
        if was_open:
            with contextlib.suppress(Unavailable):  # it has been logged
                await self.sweeper.mark()
        try:
            await self.engine.close()
        except EngineError as error:
            log.warning("engine_close_failed", reason=error.reason)
        await self.vault.close()
        self.identity.close()
        if self.keystone is not None:
            self.keystone.close()
        self.db.close()
        self._folder_lock.close()


def ping(tx: Tx) -> None:
    """Make sure that the database answers, with something that it has to look up."""
    tx.exec_driver_sql("SELECT count(*) FROM setting")


def make_pool_folder(settings: Settings) -> None:
    """Make the pool's folder before the first start. Later a pool that is not there is a disk that is not mounted, and
    must not be taken for an empty one."""
    database = sqlite_path(settings.database_url)
    if settings.engine.kind == "layers" and database is not None and not database.exists():
        settings.pool_folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def make_private(settings: Settings) -> None:
    """See to it that nobody else can read the database, where hashes and keys are. The folder, when it was there before
    us, is its owner's to open or close: a warning says what that lets others see."""
    folder, database = settings.data_folder, sqlite_path(settings.database_url)
    if folder.stat().st_mode & 0o077:
        log.warning("data_folder_open_to_others", folder=str(folder), mend=f"chmod 700 {folder}")
    if database is None or not database.parent.is_dir():
        return
    # SQLite gives its other files the mode of the first one.
    os.close(os.open(database, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    for path in (database, *(database.with_name(database.name + suffix) for suffix in ("-wal", "-shm"))):
        if path.exists() and path.stat().st_mode & 0o077:
            path.chmod(0o600)


def lock_folder(folder: Path) -> IO[bytes]:
    """Make sure that this is the only process on the data folder; the lock ends with the process, however it ends.
    Raises AlreadyRunning, FolderUnusable."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.fdopen(os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b")
    except OSError as error:
        raise FolderUnusable(f"{error.filename or folder} cannot be used: {error.strerror}.") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise AlreadyRunning(f"Another process is serving {folder}; stop it, or choose another data folder.") from None
    return lock
