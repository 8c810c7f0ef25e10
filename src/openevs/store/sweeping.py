"""What a comparison of the database with storage asks of the database."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import sqlalchemy as sa

from openevs.store.database import Tx
from openevs.store.operations import OPEN
from openevs.store.tables import attachment, backup, group, group_snapshot, operation, operation_claim, snapshot, volume

NOT_YET_OR_NO_MORE = (
    "creating",
    "managing",
    "unmanaging",
    "deleting",
    "error",
    "error_deleting",
    "error_managing",
)
"""Statuses in which a row need have nothing on storage."""

OF_MANY = ("group", "group_snapshot")
"""Kinds of resources whose operations are about many objects, and list them in their input."""


class StoredRow(NamedTuple):
    """A row that something on storage belongs to."""

    id: str
    kind: str
    """`volume` or `snapshot`."""
    status: str
    size_gib: int

    @property
    def promises(self) -> bool:
        """Say whether its object must be on storage."""
        return self.status not in NOT_YET_OR_NO_MORE


def stored_rows(tx: Tx) -> dict[str, StoredRow]:
    """Return every volume and snapshot there is a row of, by id."""
    bases = sa.select(backup.c.base_snapshot_id, backup.c.size_gib).where(backup.c.base_snapshot_id.is_not(None))
    # Not promised: if storage has lost one, all that follows is that the next backup reads more.
    found = {row[0]: StoredRow(row[0], "snapshot", "error", row[1]) for row in tx.execute(bases)}
    for table in (volume, snapshot):
        columns = (table.c.id, sa.literal(table.name), table.c.status, table.c.size_gib)
        found |= {row[0]: StoredRow._make(row) for row in tx.execute(sa.select(*columns))}
    return found


def finished_about(tx: Tx, object_ids: Iterable[str]) -> set[str]:
    """Return those ids that a finished operation made, changed or deleted: as its resource; for a volume made from
    another one, as the snapshot it took in passing; for groups, as one of the objects it lists."""
    wanted = set(object_ids)
    if not wanted:
        return set()
    passing = operation.c.input["passing_snapshot_id"].as_string()
    query = sa.select(operation.c.resource_id, passing).where(operation.c.finished_at.is_not(None))
    query = query.where(sa.or_(operation.c.resource_id.in_(wanted), passing.in_(wanted)))
    found = {object_id for row in tx.execute(query) for object_id in row}
    return wanted & (found | _listed(tx, operation.c.finished_at.is_not(None)))


def in_open_input(tx: Tx, object_ids: Iterable[str]) -> set[str]:
    """Return those ids that an open operation is still making in passing."""
    passing = operation.c.input["passing_snapshot_id"].as_string()
    found = set(tx.execute(sa.select(passing).where(operation.c.state.in_(OPEN), passing.is_not(None))).scalars())
    return (found | _listed(tx, operation.c.state.in_(OPEN))) & set(object_ids)


def _listed(tx: Tx, which: sa.ColumnElement[bool]) -> set[str]:
    """Return what operations that are about many objects list of them."""
    query = sa.select(operation.c.input).where(which, operation.c.resource_kind.in_(OF_MANY))
    return {object_id for work in tx.execute(query).scalars() for object_id in work.get("objects", ())}


def unwanted_exports(tx: Tx, volume_ids: Sequence[str]) -> list[tuple[str, str]]:
    """Return those of these volumes, each with its project, that no attachment and no open operation asks to be served.
    One without a row is none of them: somebody else may have it, or it goes with its export."""
    attached = sa.select(attachment.c.volume_id)
    claimed = sa.select(operation_claim.c.resource_id).where(operation_claim.c.resource_kind == "volume")
    ours = sa.select(volume.c.id, volume.c.project_id).where(volume.c.id.in_(volume_ids))
    unwanted = ours.where(volume.c.id.not_in(attached), volume.c.id.not_in(claimed))
    return [(row.id, row.project_id) for row in tx.execute(unwanted.order_by(volume.c.id))]


def transitional_without_operation(tx: Tx, kind: str, statuses: Iterable[str]) -> list[tuple[str, str]]:
    """Return (id, status) of the rows in one of these statuses that no open operation is about."""
    tables = {
        "volume": volume,
        "snapshot": snapshot,
        "backup": backup,
        "group": group,
        "group_snapshot": group_snapshot,
    }
    table = tables[kind]
    claimed = sa.exists().where(operation_claim.c.resource_id == table.c.id, operation_claim.c.resource_kind == kind)
    query = sa.select(table.c.id, table.c.status).where(table.c.status.in_(sorted(statuses)), ~claimed)
    return [(row.id, row.status) for row in tx.execute(query.order_by(table.c.id))]
