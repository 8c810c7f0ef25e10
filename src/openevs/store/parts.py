"""What an operator has switched off, in the database."""

import sqlalchemy as sa

from openevs.domain.backends import Part
from openevs.store.database import Tx
from openevs.store.lookup import Lookup
from openevs.store.prepared import insert_row
from openevs.store.tables import part as table

_ALL = Lookup(sa.select(*table.c), Part._make)


def known_parts(tx: Tx) -> dict[tuple[str, str], Part]:
    """Return the parts that are not as they were made, by host and binary."""
    return {(part.host, part.binary): part for part in _ALL.all(tx)}


def keep_part(tx: Tx, part: Part) -> None:
    """Write down how a part is now."""
    where = sa.and_(table.c.host == part.host, table.c.binary == part.binary)
    if not tx.execute(sa.update(table).where(where).values(part._asdict())).rowcount:
        insert_row(tx, table, part._asdict())
