"""Make the limits of an attached volume what the QoS specs of its type say now.

The request has changed the specs, or which types have them, and queued one of these for every attached volume of those
types, without a claim: whoever is working on such a volume has it, and a change of specs is not to fail for that. One
step: the engine is told the volume's limits. A volume that is not served any more has none to be changed.

What was being done to the volume meanwhile may have been told other limits before. So the end looks again: if somebody
has the volume still, or the specs say something else by now, another one of these follows, a little later each time.
"""

from datetime import datetime, timedelta
from typing import Final

from openevs.domain.errors import NotFound
from openevs.domain.ids import VolumeId
from openevs.domain.model import Operation
from openevs.domain.qos import limits_of
from openevs.engine.errors import Unsupported
from openevs.engine.port import Engine, Limits, Throttles
from openevs.operations.kind import Facts, Kind, Step
from openevs.store.attachments import attachments_of_one
from openevs.store.database import Tx
from openevs.store.operations import claimant
from openevs.store.qos import qos_of_type, queue_limits
from openevs.store.volumes import find_volume

FIRST_PAUSE: Final = timedelta(seconds=1)
LONGEST_PAUSE: Final = timedelta(minutes=1)


async def limit(engine: Engine, operation: Operation, facts: Facts) -> Facts:
    """Tell the engine the limits."""
    if not isinstance(engine, Throttles):
        raise Unsupported("this engine cannot limit what clients do")
    for volume_id, limits in operation.input["limits"].items():
        await engine.ensure_limits(VolumeId(volume_id), Limits(**limits))
    return {}


def succeed(tx: Tx, operation: Operation, facts: Facts, now: datetime) -> None:
    """The limits hold, and no row says more than the specs already do; unless they were those of before."""
    for volume_id, limits in operation.input["limits"].items():
        try:
            volume = find_volume(tx, volume_id)
        except NotFound:
            continue
        told = limits_of(qos_of_type(tx, volume.type_id), volume.size_gib)
        busy = claimant(tx, "volume", volume_id) is not None
        if attachments_of_one(tx, volume_id) and (busy or told != limits):
            last = timedelta(seconds=operation.input.get("after", 0))
            after = min(max(2 * last, FIRST_PAUSE), LONGEST_PAUSE) if busy else timedelta(0)
            queue_limits(tx, volume, now, operation.request_id, after=after)


def fail(tx: Tx, operation: Operation, reason: str, now: datetime) -> None:
    """The limits are the old ones still; the next attachment brings the new ones."""


LIMIT_VOLUMES = Kind(name="limit_volumes", steps=(Step("limit", limit),), succeed=succeed, fail=fail, forward_only=True)
