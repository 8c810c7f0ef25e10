"""What the identity tests start from: an empty database in a folder of its own, or one after the first start."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from openevs.identity.bootstrap import bootstrap
from openevs.identity.embedded import EmbeddedIdentity
from openevs.settings import Identity
from openevs.store.database import Database
from openevs.store.tables import metadata
from openevs.testing.clock import ManualClock
from openevs.testing.identity import Cast


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    """A database with all tables and no rows."""
    url = f"sqlite:///{tmp_path / 'openevs.db'}"
    engine = sa.create_engine(url)
    metadata.create_all(engine)
    engine.dispose()
    database = Database(url)
    yield database
    database.close()


@pytest.fixture
def clock() -> ManualClock:
    """A clock that the test moves."""
    return ManualClock()


@pytest.fixture
def cast(db: Database, clock: ManualClock) -> Iterator[Cast]:
    """A service after its first start."""
    settings = Identity(password_hash_mib=1, login_failures=3, login_wait_seconds=60.0, token_hours=2.0)
    made = asyncio.run(bootstrap(db, settings, clock))
    identity = EmbeddedIdentity(db, settings, clock)
    yield Cast(identity, made)
    identity.close()
