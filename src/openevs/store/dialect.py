"""All that databases disagree on, in one place."""

import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

_encode = msgspec.json.Encoder().encode


def sqlite_path(url: str) -> Path | None:
    """Return the file of a SQLite URL, or None for another database."""
    parsed = sa.make_url(url)
    return Path(parsed.database) if parsed.get_backend_name() == "sqlite" and parsed.database else None


def open_sqlite(url: str) -> sa.Engine:
    """Return an engine whose connections are ours to begin and to commit.

    WAL lets readers go on while one writer writes; `synchronous=FULL` makes a commit that was acknowledged survive a
    power cut; `BEGIN IMMEDIATE` (see `Database`) takes the write lock at once, so that no transaction can fail half-way
    because another one wrote in between.
    """
    engine = sa.create_engine(
        url,
        poolclass=NullPool,
        connect_args={"check_same_thread": False, "timeout": 30.0, "isolation_level": None, "cached_statements": 512},
        json_serializer=lambda value: _encode(value).decode(),
        json_deserializer=msgspec.json.decode,
    )

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: Any, record: Any) -> None:
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "cache_size=-16000"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return engine


def is_out_of_space(error: BaseException) -> bool:
    """Tell whether a statement failed because the database's file system is full."""
    cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    return isinstance(cause, sqlite3.Error) and getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
