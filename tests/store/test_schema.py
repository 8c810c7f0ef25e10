"""The migrated schema, and what is said of one that cannot be used."""

import inspect
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from openevs.domain import backends, group, message, model, transfer
from openevs.domain.backup import Backup
from openevs.domain.qos import QosSpecs
from openevs.store import schema, tables
from openevs.store.dialect import open_sqlite
from openevs.store.identity import projects, roles, tokens, users
from openevs.store.schema import OLDEST_COMPATIBLE, SCHEMA, MigrationFailed, SchemaTooNew, migrate

RECORDS: dict[str, type[Any]] = {
    "backup": Backup,
    "qos_specs": QosSpecs,
    "volume": model.Volume,
    "snapshot": model.Snapshot,
    "attachment": model.Attachment,
    "volume_type": model.VolumeType,
    "operation": model.Operation,
    "group_type": group.GroupType,
    "volume_group": group.Group,
    "group_snapshot": group.GroupSnapshot,
    "transfer": transfer.Transfer,
    "message": message.Message,
    "part": backends.Part,
    "project": projects.Project,
    "user_account": users.User,
    "role": roles.Role,
    "role_assignment": roles.Assignment,
    "token": tokens.Token,
}


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'x.db'}"


def dump(url: str) -> list[str]:
    connection = sqlite3.connect(sa.make_url(url).database or "")
    try:
        return list(connection.iterdump())
    finally:
        connection.close()


def test_migrated_schema_is_the_one_of_tables(url: str) -> None:
    migrate(url)
    engine = open_sqlite(url)
    with engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), tables.metadata) == []
        # What Alembic does not compare, SQLite tells in its own words.
        query = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"
        made = {row.name: str(row.sql) for row in connection.exec_driver_sql(query)}
    engine.dispose()
    assert ("AUTOINCREMENT" in made["operation"]) == tables.operation.dialect_options["sqlite"]["autoincrement"]
    assert "WHERE state IN ('queued', 'running')" in made["operation_open"]
    for table in tables.metadata.sorted_tables:
        for index in table.indexes:
            assert ("UNIQUE" in made[str(index.name)]) == bool(index.unique)


def test_columns_stand_in_the_order_of_the_records(url: str) -> None:
    migrate(url)
    engine = open_sqlite(url)
    with engine.connect() as connection:
        for name, record in RECORDS.items():
            columns = [column["name"] for column in sa.inspect(connection).get_columns(name)]
            assert columns == list(record._fields), name
            assert columns == [column.name for column in tables.metadata.tables[name].columns], name
    engine.dispose()


def test_every_record_of_a_table_is_checked() -> None:
    stored = {"Volume", "Snapshot", "Attachment", "Operation", "VolumeType"}
    named = {name for name, value in vars(model).items() if inspect.isclass(value) and hasattr(value, "_fields")}
    assert stored <= named
    assert named - stored <= {"Caller", "ClientToken"}, "is this record a table's? then add it to RECORDS"


def test_the_last_revision_is_the_one_that_the_code_wants() -> None:
    scripts = ScriptDirectory(str(schema._MIGRATIONS))
    assert scripts.get_heads() == [SCHEMA]
    assert OLDEST_COMPATIBLE <= SCHEMA


def test_migrating_again_does_nothing_and_takes_no_time(url: str) -> None:
    migrate(url)
    before = dump(url)
    began = time.process_time()
    assert "already" in migrate(url)
    assert time.process_time() - began < 0.4
    assert dump(url) == before


def test_a_newer_schema_is_refused_in_a_sentence(url: str) -> None:
    migrate(url)
    set_schema(url, "0999", "0998")
    before = dump(url)
    with pytest.raises(SchemaTooNew, match="schema 0999, which needs an OpenEVS that knows schema 0998"):
        migrate(url)
    assert dump(url) == before


def test_a_newer_schema_that_this_code_may_use_is_used(url: str) -> None:
    migrate(url)
    set_schema(url, "0999", SCHEMA)
    before = dump(url)
    assert "which this version can use" in migrate(url)
    assert dump(url) == before


def test_a_failed_migration_changes_nothing(url: str) -> None:
    connection = sqlite3.connect(sa.make_url(url).database or "")
    # A table in the way of one of the last, so that most have been made when it fails.
    connection.executescript("CREATE TABLE token (x); INSERT INTO token VALUES (1)")
    connection.close()
    before = dump(url)
    with pytest.raises(MigrationFailed, match="and is as it was"):
        migrate(url)
    assert dump(url) == before


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    path.write_text("this is a letter to my grandmother, and no database\n" * 100)
    with pytest.raises(MigrationFailed, match=r"x\.db"):
        migrate(f"sqlite:///{path}")


def set_schema(url: str, revision: str, oldest: str) -> None:
    connection = sqlite3.connect(sa.make_url(url).database or "")
    with connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        connection.execute("UPDATE setting SET value = ? WHERE name = 'schema_oldest_compatible'", (oldest,))
    connection.close()
