"""Operations as clients see them who are given a job to wait for (EVS: `job_id`)."""

from typing import NamedTuple

from openevs.domain.errors import InvalidInput, NotFound
from openevs.domain.model import Caller, Operation, Volume
from openevs.service.deps import Deps
from openevs.store.database import Tx
from openevs.store.operations import find_operation, newest_operation
from openevs.store.volumes import find_volume


class Job(NamedTuple):
    """An operation and, while it is there, the volume that it is about."""

    operation: Operation
    volume: Volume | None


async def job_of(deps: Deps, kind: str, volume_id: str) -> str:
    """Return the id of the newest operation of a kind on a volume: of the one that was just accepted, or, when that
    was a repeat under a client token, of the first one. Raises NotFound."""
    return deps.db.read_now(newest_operation, kind, volume_id).id


async def show_job(deps: Deps, caller: Caller, job_id: str) -> Job:
    """Return a job. Raises InvalidInput when the project has none of that id, as EVS does."""
    try:
        return deps.db.read_now(_find_job, caller, job_id)
    except NotFound:
        raise InvalidInput("job_id", f"there is no job {job_id[:64]}.", "Common.0011") from None


def _find_job(tx: Tx, caller: Caller, job_id: str) -> Job:
    operation = find_operation(tx, job_id)
    if operation.project_id != caller.project_id or operation.resource_kind != "volume":
        raise NotFound("job", job_id)
    try:
        return Job(operation, find_volume(tx, operation.resource_id, caller.project_id))
    except NotFound:
        return Job(operation, None)
