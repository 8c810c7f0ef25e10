"""Jobs: what a client of Huawei's own volume resource waits for (spec 4.9)."""

from openevs.api.call import Call, Reply, Route
from openevs.api.wire.cloudvolumes import job_view
from openevs.service.jobs import show_job


async def get_job(call: Call) -> Reply:
    """Show a job."""
    job = await show_job(call.deps, call.caller, call.path["job_id"])
    return Reply(job_view(job, call.deps.volume_type))


ROUTES = [
    Route("GET", "{project_id}/jobs/{job_id}", get_job, 200, "Show a job",
          apis=("v1", "v2"), policy="reader", family="evs", tag="Jobs"),
]  # fmt: skip
