"""Transfers in the database."""

from typing import Final

from openevs.domain.transfer import Transfer
from openevs.store.rows import Rows
from openevs.store.tables import transfer as table

_ROWS: Final = Rows(table, Transfer._make)
insert_transfer = _ROWS.insert
find_transfer = _ROWS.find
delete_transfer_row = _ROWS.delete
