"""A database and a pool that do not belong together are not served."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from openevs.compose import Application, utc_now
from openevs.domain.ids import GIB, VolumeId, new_uuid
from openevs.engine.port import EngineFacts, Objects, VolumeFacts
from openevs.operations.admission import WrongPool, admit_pool
from openevs.store.database import Database
from openevs.store.installation import keep_reached, kept_pool, last_number
from openevs.store.operations import NewOperation, insert_operation
from openevs.store.schema import migrate
from openevs.testing.application import running, settings_for
from openevs.testing.exporting import ExportingMemoryEngine, ExportingMemoryStorage

FACTS = EngineFacts("layers", "1", "/pool", frozenset(), 1 << 46, pool_id="one")
EMPTY = Objects({}, {})


def pool_with(token: int) -> Objects:
    volume_id = VolumeId(new_uuid())
    return Objects({volume_id: VolumeFacts(volume_id, GIB, applied_token=token)}, {})


@pytest.fixture
def db(tmp_path: Path) -> Database:
    url = f"sqlite:///{tmp_path / 'x.db'}"
    migrate(url)
    return Database(url)


def admit(db: Database, facts: EngineFacts, objects: Objects) -> None:
    asyncio.run(db.write(admit_pool, facts, objects))


def operate(db: Database) -> int:
    new = NewOperation("create_volume", "p", "volume", new_uuid(), {}, (), None)
    return asyncio.run(db.write(insert_operation, new, utc_now(), None)).seq


def test_an_empty_pool_is_remembered(db: Database) -> None:
    admit(db, FACTS, EMPTY)
    assert db.read_now(kept_pool) == "one"
    admit(db, FACTS, pool_with(0))
    db.close()


def test_another_pool_is_refused(db: Database) -> None:
    admit(db, FACTS, EMPTY)
    with pytest.raises(WrongPool, match=r"belongs to the pool one, but the pool at /pool is two\."):
        admit(db, replace(FACTS, pool_id="two"), EMPTY)
    db.close()


def test_a_full_pool_is_refused_to_a_new_database(db: Database) -> None:
    with pytest.raises(WrongPool, match=r"The database is new, but the pool at /pool has 1 volumes\."):
        admit(db, FACTS, pool_with(0))
    assert db.read_now(kept_pool) is None
    db.close()


def test_a_used_database_may_be_told_its_pool_late(db: Database) -> None:
    operate(db)
    admit(db, FACTS, pool_with(0))
    assert db.read_now(kept_pool) == "one"
    db.close()


@pytest.mark.parametrize("pool", [pool_with(41), replace(pool_with(0), reached=41)], ids=["rolled back", "told"])
def test_a_database_older_than_the_pool_is_refused(db: Database, pool: Objects) -> None:
    admit(db, FACTS, EMPTY)
    operate(db)
    with pytest.raises(WrongPool, match=r"older than the pool at /pool: it ends with operation 1, .* has seen 41\."):
        admit(db, FACTS, pool)
    assert db.read_now(last_number) == 1
    db.close()


def test_a_pool_older_than_the_database_is_refused(db: Database) -> None:
    admit(db, FACTS, EMPTY)
    for _ in range(3):
        operate(db)
    asyncio.run(db.write(keep_reached, 3))
    admit(db, FACTS, replace(pool_with(0), reached=3))
    with pytest.raises(WrongPool, match=r"older than the database: it has seen operation 2, and had been told of 3\."):
        admit(db, FACTS, replace(pool_with(0), reached=2))
    db.close()


@pytest.mark.parametrize("used", [False, True])
def test_numbers_that_the_pool_has_seen_are_not_used_again(db: Database, used: bool) -> None:
    """Or a roll-back with the number of one that was applied long ago would be taken for done."""
    if used:
        operate(db)
    admit(db, FACTS, replace(pool_with(41), reached=40) if used else replace(EMPTY, reached=41))
    assert db.read_now(last_number) == 41
    assert operate(db) == 42
    admit(db, FACTS, pool_with(41))
    assert operate(db) == 43
    db.close()


def test_an_application_refuses_at_its_start(tmp_path: Path) -> None:
    storage = ExportingMemoryStorage(tmp_path)

    async def main() -> None:
        async with running(tmp_path / "one", ExportingMemoryEngine(storage)) as run:
            await (await run.client()).volume()
        app = Application(settings_for(tmp_path / "two"), ExportingMemoryEngine(storage))
        with pytest.raises(WrongPool):
            await app.start("http://openevs.test")
        await app.stop()
        assert not (tmp_path / "two" / "clouds.yaml").exists(), "no passwords for what does not serve"

    asyncio.run(main())
