"""Look for what is on storage and nobody's, for a request that waits for the answer.

One step looks. The second does nothing: what a step has found out is kept with the operation when the next one begins,
and it is there that the request reads it. No row is changed.
"""

from dataclasses import asdict
from datetime import datetime

from openevs.domain.model import Operation
from openevs.engine.errors import Unsupported
from openevs.engine.port import Adopts, Engine
from openevs.operations.kind import Facts, Kind, Step
from openevs.store.database import Tx


async def look(engine: Engine, operation: Operation, facts: Facts) -> Facts:
    """Ask the engine."""
    if not isinstance(engine, Adopts):
        raise Unsupported("this engine cannot let go of anything, or adopt it")
    return {"strays": [asdict(stray) for stray in await engine.list_strays()]}


async def keep(engine: Engine, operation: Operation, facts: Facts) -> Facts:
    """Have what was found kept."""
    return {}


def succeed(tx: Tx, operation: Operation, facts: Facts, now: datetime) -> None:
    """What was found is in the operation."""


def fail(tx: Tx, operation: Operation, reason: str, now: datetime) -> None:
    """Nothing was found out; the request says why."""


LOOK_FOR_STRAYS = Kind(
    name="look_for_strays", steps=(Step("look", look), Step("keep", keep)), succeed=succeed, fail=fail
)
