"""What every table is made with.

Times are integers, microseconds since 1970 in UTC: they sort, compare and index alike on every database. Metadata and
other small documents are JSON in the row: they are always read and written with it.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Instant(sa.types.TypeDecorator[datetime]):
    """An aware UTC datetime, kept as integer microseconds since 1970."""

    impl = sa.BigInteger
    cache_ok = True

    # Processors rather than `process_…` methods, which cost a call more for each value: a list has thousands.
    def bind_processor(self, dialect: Any) -> Callable[[datetime | None], int | None]:
        return _to_integer

    def result_processor(self, dialect: Any, coltype: Any) -> Callable[[int | None], datetime | None]:
        return _from_integer


def _to_integer(value: datetime | None) -> int | None:
    return None if value is None else (value - EPOCH) // _MICROSECOND


def _from_integer(value: int | None) -> datetime | None:
    return None if value is None else EPOCH + value * _MICROSECOND


metadata = sa.MetaData()
Seq = sa.BigInteger().with_variant(sa.Integer, "sqlite")
