"""Whether this database and this pool belong together; looked at once, before anything is served.

A new database on a pool with volumes is a lost database or a mistyped path. Serving it would show an empty service
though all volumes are still there, and every volume made then would make putting things right harder.
"""

import structlog

from openevs.engine.port import EngineFacts, Objects
from openevs.store.database import Tx
from openevs.store.installation import is_new, keep_pool, kept_pool, skip_numbers

log = structlog.get_logger()


class WrongPool(Exception):
    """Database and pool do not belong together; the message says what to do."""


def admit_pool(tx: Tx, facts: EngineFacts, objects: Objects) -> None:
    """Remember the pool, or see that it is the one that was remembered. Raises WrongPool."""
    kept = kept_pool(tx)
    if kept is None and objects.volumes and is_new(tx):
        raise WrongPool(
            f"The database is new, but the pool at {facts.location} has {len(objects.volumes)} volumes. If the "
            "database was lost, run `openevs doctor --rebuild` to make it anew from the pool; if this is not the pool "
            "you meant, set data.pool_folder to another."
        )
    if kept is not None and facts.pool_id and kept != facts.pool_id:
        raise WrongPool(
            f"The database belongs to the pool {kept}, but the pool at {facts.location} is {facts.pool_id}. Set "
            "data.pool_folder to the pool of this database (is its disk mounted?), or data.folder to the database of "
            "this pool."
        )
    if kept is None and facts.pool_id:
        keep_pool(tx, facts.pool_id)
    applied = max((volume.applied_token for volume in objects.volumes.values()), default=0)
    if skip_numbers(tx, applied):
        log.warning("operation_numbers_skipped", upto=applied, why="the pool has seen them; the database is older")
