"""Brings a database to the schema that this code works with.

A schema has a number, the Alembic revision. It also says which is the *oldest code* that may run on it: a release that
only added a table or a column can be taken back; one that changed what is there is refused by older code in a sentence,
rather than understood wrongly.

A migration is one transaction: it is made as a whole, or the database stays as it was.
"""

from pathlib import Path
from typing import Final, NamedTuple

import sqlalchemy as sa
import structlog

from openevs.store.dialect import open_sqlite

log = structlog.get_logger()

SCHEMA: Final = "0006"
"""The schema that this code works with."""
OLDEST_COMPATIBLE: Final = "0006"
"""The `SCHEMA` of the oldest code that may run on a database of this schema."""

_COMPATIBLE: Final = "schema_oldest_compatible"
_MIGRATIONS: Final = Path(__file__).parent / "migrations"


class SchemaError(Exception):
    """The database cannot be used; the message says why and what to do."""


class SchemaTooNew(SchemaError):
    """The database belongs to a newer OpenEVS."""


class MigrationFailed(SchemaError):
    """The database could not be brought to this schema, and is as it was."""


class Found(NamedTuple):
    """What a database says of its schema."""

    revision: str | None
    """None: there is nothing in it."""
    oldest_compatible: str


def migrate(database_url: str) -> str:
    """Bring the database to `SCHEMA`, making it if there is none; return what was done, as a sentence.
    Raises SchemaTooNew, MigrationFailed."""
    engine = open_sqlite(database_url)
    try:
        with engine.connect() as connection:
            return _migrate(connection)
    except sa.exc.DatabaseError as error:
        raise MigrationFailed(f"The database {_shown(database_url)} cannot be used: {error.orig}.") from error
    finally:
        engine.dispose()


def _migrate(connection: sa.Connection) -> str:
    found = _find(connection)
    if found.revision == SCHEMA:
        return f"The database has schema {SCHEMA} already."
    if found.revision is not None and found.revision > SCHEMA:
        if found.oldest_compatible <= SCHEMA:
            log.warning("schema_newer", found=found.revision, own=SCHEMA)
            return f"The database has the newer schema {found.revision}, which this version can use."
        raise SchemaTooNew(
            f"The database has schema {found.revision}, which needs an OpenEVS that knows schema "
            f"{found.oldest_compatible}; this one knows {SCHEMA}. Install the newer version, or restore the backup of "
            "the database that was made before it."
        )
    try:
        _upgrade(connection)
    except Exception as error:
        _roll_back(connection)
        raise MigrationFailed(
            f"The database could not be brought from schema {found.revision or 'none'} to {SCHEMA}, and is as it was: "
            f"{error}"
        ) from error
    log.info("database_migrated", from_schema=found.revision, to_schema=SCHEMA)
    return f"The database was brought from schema {found.revision or 'none'} to {SCHEMA}."


def _find(connection: sa.Connection) -> Found:
    tables = sa.inspect(connection).get_table_names()
    revision = None
    oldest = OLDEST_COMPATIBLE
    if "alembic_version" in tables:
        revision = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        kept = connection.execute(sa.text("SELECT value FROM setting WHERE name = :name"), {"name": _COMPATIBLE})
        # A revision above ours that does not say so is not to be trusted.
        oldest = kept.scalar() or revision or oldest
    connection.rollback()
    return Found(revision, oldest)


def _upgrade(connection: sa.Connection) -> None:
    # Here and not above: a start that has nothing to migrate need not wait for this import.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    # The connection begins nothing by itself (see `open_sqlite`). From here to COMMIT nobody else can write, so two
    # processes that start at once do not both migrate: the second one fails, or finds it done.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
    command.upgrade(config, SCHEMA)
    row = {"name": _COMPATIBLE, "value": OLDEST_COMPATIBLE}
    connection.execute(sa.text("DELETE FROM setting WHERE name = :name"), {"name": _COMPATIBLE})
    connection.execute(sa.text("INSERT INTO setting (name, value) VALUES (:name, :value)"), row)
    connection.exec_driver_sql("COMMIT")


def _roll_back(connection: sa.Connection) -> None:
    driver = connection.connection.driver_connection
    if driver is not None and driver.in_transaction:
        connection.exec_driver_sql("ROLLBACK")
    connection.rollback()


def _shown(database_url: str) -> str:
    return sa.make_url(database_url).render_as_string(hide_password=True)
