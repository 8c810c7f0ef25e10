"""A database that cannot be used: said in a sentence, while a mistake of ours stays one."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from openevs.domain.errors import Unavailable
from openevs.store.database import Database, Tx


def ask(tx: Tx) -> object:
    return tx.exec_driver_sql("SELECT count(*) FROM one").scalar()


def ask_driver(tx: Tx) -> object:
    return tx.driver.execute("SELECT count(*) FROM one").fetchone()


def make(tx: Tx) -> None:
    tx.exec_driver_sql("CREATE TABLE IF NOT EXISTS one (two TEXT)")


def every_way(db: Database) -> list[Callable[[], object]]:
    return [
        lambda: asyncio.run(db.write(make)),
        lambda: asyncio.run(db.read(ask)),
        lambda: db.read_now(ask),
        lambda: db.look_up(ask_driver),
    ]


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    db = Database(f"sqlite:///{tmp_path}")
    for way in every_way(db):
        with pytest.raises(Unavailable, match="unable to open database file"):
            way()
    db.close()


def test_a_file_whose_disk_fails_under_it(tmp_path: Path) -> None:
    path = tmp_path / "one.db"
    db = Database(f"sqlite:///{path}")
    for way in every_way(db):
        way()
    db.close()
    path.write_bytes(b"rubbish " * (path.stat().st_size // 8))
    db = Database(f"sqlite:///{path}")
    for way in every_way(db):
        with pytest.raises(Unavailable, match="cannot be used"):
            way()
    db.close()


def test_a_fault_at_the_commit_leaves_the_connection_of_use(tmp_path: Path) -> None:
    db = Database(f"sqlite:///{tmp_path / 'one.db'}")
    asyncio.run(db.write(make))

    def fail(tx: Tx) -> None:
        tx.exec_driver_sql("INSERT INTO one VALUES ('x')")
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
        raise error

    with pytest.raises(Unavailable, match="disk I/O error"):
        asyncio.run(db.write(fail))
    assert asyncio.run(db.read(ask)) == 0
    db.close()


def test_a_mistake_of_ours_is_none_of_the_databases(tmp_path: Path) -> None:
    db = Database(f"sqlite:///{tmp_path / 'one.db'}")
    with pytest.raises(sa.exc.OperationalError, match="no such table"):
        db.read_now(ask)
    db.close()
