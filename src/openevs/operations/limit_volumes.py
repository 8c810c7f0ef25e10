"""Make the limits of attached volumes what the QoS specs of their type say now.

The request has changed the specs, or which types have them, and claimed every attached volume of those types. One step:
the engine is told each volume's limits. A volume that is not served any more has none to be changed.

If it cannot be done, the specs stay as they are, and hold for volumes that are attached from then on; the message says
which volume still has the old limits.
"""

from datetime import datetime

from openevs.domain.ids import VolumeId
from openevs.domain.model import Operation
from openevs.engine.errors import Unsupported
from openevs.engine.port import Engine, Limits, Throttles
from openevs.operations.kind import Facts, Kind, Step
from openevs.store.database import Tx


async def limit(engine: Engine, operation: Operation, facts: Facts) -> Facts:
    """Tell the engine each volume's limits."""
    if not isinstance(engine, Throttles):
        raise Unsupported("this engine cannot limit what clients do")
    for volume_id, limits in operation.input["limits"].items():
        await engine.ensure_limits(VolumeId(volume_id), Limits(**limits))
    return {}


def succeed(tx: Tx, operation: Operation, facts: Facts, now: datetime) -> None:
    """The limits hold; no row says more than the specs already do."""


def fail(tx: Tx, operation: Operation, reason: str, now: datetime) -> None:
    """Some limits are the old ones still; the next attachment brings the new ones."""


LIMIT_VOLUMES = Kind(name="limit_volumes", steps=(Step("limit", limit),), succeed=succeed, fail=fail, forward_only=True)
