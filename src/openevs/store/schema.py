"""Brings a database to the present schema."""

from openevs.store.database import Tx
from openevs.store.tables import metadata


def migrate(tx: Tx) -> None:
    """Create what is missing."""
    metadata.create_all(tx)
