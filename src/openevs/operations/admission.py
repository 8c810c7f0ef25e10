"""Whether this database and this pool belong together; looked at once, before anything is served.

A new database on a pool with volumes is a lost database or a mistyped path. Serving it would show an empty service
though all volumes are still there, and every volume made then would make putting things right harder.

One of the two that was put back from an old copy is worse. To an old database, what is served today is served for
nobody, and work that it holds as open was done long ago: a restoring would be done again, over what was written since.
To the database of today, what an old pool has is what was deleted since. So each keeps how far the other had come: the
pool the number of the newest operation, and the database what it has told the pool.
"""

from openevs.engine.port import EngineFacts, Objects
from openevs.store.database import Tx
from openevs.store.installation import is_new, keep_pool, kept_pool, kept_reached, last_number, skip_numbers

_REBUILD = (
    "or run `openevs doctor --rebuild`, which brings the database to what is in the pool, and ends what work it holds "
    "as open; nothing has been changed yet."
)


class WrongPool(Exception):
    """Database and pool do not belong together; the message says what to do."""


def admit_pool(tx: Tx, facts: EngineFacts, objects: Objects) -> None:
    """Remember the pool, or see that it is the one that was remembered, as it was then. Raises WrongPool."""
    kept = kept_pool(tx)
    if kept is None and objects.volumes and is_new(tx):
        raise WrongPool(
            f"The database is new, but the pool at {facts.location} has {len(objects.volumes)} volumes. If the "
            "database was lost, run `openevs doctor --rebuild` to make it anew from the pool; if this is not the pool "
            "you meant, set data.pool_folder to another."
        )
    if (wrong := wrong_pool(tx, facts)) is not None:
        raise WrongPool(wrong)
    if (older := older_copy(tx, facts, objects)) is not None:
        raise WrongPool(f"{older} {_REBUILD}")
    if kept is None and facts.pool_id:
        keep_pool(tx, facts.pool_id)
    skip_numbers(tx, reached(objects))


def wrong_pool(tx: Tx, facts: EngineFacts) -> str | None:
    """Return why this is not the pool of the database; None if it is."""
    kept = kept_pool(tx)
    if kept is None or not facts.pool_id or kept == facts.pool_id:
        return None
    return (
        f"The database belongs to the pool {kept}, but the pool at {facts.location} is {facts.pool_id}. Set "
        "data.pool_folder to the pool of this database (is its disk mounted?), or data.folder to the database of "
        "this pool."
    )


def older_copy(tx: Tx, facts: EngineFacts, objects: Objects) -> str | None:
    """Return which of the two was put back from an old copy, and what else to do; None if neither was."""
    there, last, told = reached(objects), last_number(tx), kept_reached(tx)
    if kept_pool(tx) is not None and there > last:
        return (
            f"The database is older than the pool at {facts.location}: it ends with operation {last}, and the pool has "
            f"seen {there}. What was made, deleted and attached since is not in it. Put the newer database back,"
        )
    if there < told:
        return (
            f"The pool at {facts.location} is older than the database: it has seen operation {there}, and had been "
            f"told of {told}. What was made, deleted and written since is not in it. Put the newer pool back,"
        )
    return None


def reached(objects: Objects) -> int:
    """Return the highest number of an operation that the pool has seen."""
    return max(objects.reached, *(volume.applied_token for volume in objects.volumes.values()), 0)
