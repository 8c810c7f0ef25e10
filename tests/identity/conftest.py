"""What the identity tests start from: an empty database in a folder of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from openevs.store.database import Database
from openevs.store.tables import metadata


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
