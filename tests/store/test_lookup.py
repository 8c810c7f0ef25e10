"""Rows that are found on the driver's own cursor are the rows that SQLAlchemy finds."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from openevs.api.wire.times import wire_time
from openevs.store.database import Database, Tx
from openevs.store.lookup import Lookup
from openevs.store.schema import migrate
from openevs.store.tables import project, volume

MOMENTS = [datetime(1970, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, 3, 4, 5, 1, UTC), datetime(9999, 12, 31, tzinfo=UTC)]
ROW = {
    "project_id": "p", "user_id": "u", "name": None, "description": "snö ' \" \n", "size_gib": 1, "status": "available",
    "previous_status": None, "volume_type": "layers", "availability_zone": "nova", "bootable": True, "readonly": False,
    "multiattach": False, "metadata": {"key": "value", "ö": "☃"}, "snapshot_id": None, "source_volid": None,
    "updated_at": None, "reason": None,
}  # fmt: skip
BY_ID = Lookup(sa.select(*volume.c).where(volume.c.id == sa.bindparam("id")), tuple)
OF_PROJECT = Lookup(
    sa.select(*volume.c)
    .where(volume.c.project_id == sa.bindparam("project"), volume.c.status == sa.bindparam("status"))
    .order_by(volume.c.id),
    tuple,
)


@pytest.fixture
def tx(tmp_path: Path) -> Iterator[Tx]:
    """A transaction on a database with a few volumes."""
    url = f"sqlite:///{tmp_path / 'test.db'}"
    migrate(url)
    database = Database(url)
    try:
        connection = database._connection()
        rows = [{**ROW, "id": f"id-{n}", "created_at": moment} for n, moment in enumerate(MOMENTS)]
        connection.execute(sa.insert(volume), rows)
        yield connection
    finally:
        database.close()


def test_every_type_comes_back_as_through_sqlalchemy(tx: Tx) -> None:
    expected = [tuple(row) for row in tx.execute(sa.select(*volume.c).order_by(volume.c.id))]
    assert [BY_ID.first(tx, id=f"id-{n}") for n in range(3)] == expected
    assert OF_PROJECT.all(tx, status="available", project="p") == expected
    assert [row[16] for row in expected] == MOMENTS
    assert expected[0][13] == ROW["metadata"]
    assert expected[0][10] is True


def test_what_is_not_there_is_not_found(tx: Tx) -> None:
    assert BY_ID.first(tx, id="no") is None
    assert OF_PROJECT.all(tx, status="error", project="p") == []


def test_a_lookup_that_ended_holds_no_lock(tx: Tx) -> None:
    BY_ID.first(tx, id="id-0")
    tx.execute(sa.delete(project))


@pytest.mark.parametrize("moment", [*MOMENTS, datetime(2026, 11, 23, 1, 2, 3, 100, UTC)])
def test_the_quick_text_of_a_time_is_the_plain_one(moment: datetime) -> None:
    assert wire_time(moment) == moment.replace(tzinfo=None).isoformat(timespec="microseconds")
