"""All that databases disagree on, in one place."""

import sqlite3
from pathlib import Path
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

_encode = msgspec.json.Encoder().encode
_UNUSABLE: Final[dict[int, str]] = {
    sqlite3.SQLITE_FULL: "No space is left for the database, so nothing can be changed. Free some, then try again.",
    **dict.fromkeys(
        (
            sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_CORRUPT,
            sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_PERM,
            sqlite3.SQLITE_NOMEM,
        ),
        "",
    ),
}  # fmt: skip
"""SQLite's kinds of error that are about where it is, not about what was asked; and what to say of each, if not what it
says itself."""


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


def why_unusable(error: BaseException) -> str | None:
    """Return why the database cannot be used, as a sentence; None for what is no fault of the database's."""
    cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    # The lower byte is the kind; the rest says more than a person needs.
    kind = (getattr(cause, "sqlite_errorcode", None) or 0) & 0xFF
    if not isinstance(cause, sqlite3.Error) or kind not in _UNUSABLE:
        return None
    return _UNUSABLE[kind] or f"The database cannot be used ({cause}): see to its disk."
