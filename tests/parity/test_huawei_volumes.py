"""Volumes with Huawei's own SDK, unmodified: cloudvolumes v2 and v2.1, and the jobs that its callers wait for."""

import time
import uuid
from typing import Any

from huaweicloudsdkevs.v2 import model

from tests.parity.test_huawei import create, evs, known, refusal, wait

__all__ = ["evs", "known"]


def until_done(evs: Any, job_id: str) -> Any:
    """Wait for a job and return it."""
    deadline = time.monotonic() + 20
    while True:
        job = evs.show_job(model.ShowJobRequest(job_id=job_id))
        if job.status not in ("INIT", "RUNNING"):
            assert job.status == "SUCCESS", job
            assert job.end_time >= job.begin_time
            return job
        assert job.end_time == ""
        assert time.monotonic() < deadline, job
        time.sleep(0.01)


def new_volume(evs: Any, **fields: Any) -> Any:
    """Ask for a volume and return the answer with its job."""
    option = model.CreateVolumeOption(availability_zone="nova", volume_type="layers", **fields)
    return evs.create_volume(model.CreateVolumeRequest(body=model.CreateVolumeRequestBody(volume=option)))


def show(evs: Any, volume_id: str) -> Any:
    """Return a volume."""
    return evs.show_volume(model.ShowVolumeRequest(volume_id=volume_id)).volume


def test_volume_life(evs: Any) -> None:
    name = f"über ~* {uuid.uuid4().hex}"
    made = new_volume(evs, name=name, size=1, metadata={"k": "v"}, description="d")
    job = until_done(evs, made.job_id)
    volume_id = job.entities.volume_id
    assert made.volume_ids == [volume_id]
    assert (job.job_type, job.entities.name, job.entities.size) == ("createVolume", name, 1)
    found = show(evs, volume_id)
    assert (found.name, found.size, found.status, found.bootable) == (name, 1, "available", "false")
    assert (found.metadata, found.service_type, found.enterprise_project_id) == ({"k": "v"}, "EVS", "0")

    snapshot = create(evs, volume_id, name="s")
    wait(evs, snapshot.id)
    copy = until_done(evs, new_volume(evs, size=2, snapshot_id=snapshot.id).job_id).entities.volume_id
    assert show(evs, copy).snapshot_id == snapshot.id

    listed = evs.list_volumes(model.ListVolumesRequest(name=name))
    assert (listed.count, [one.id for one in listed.volumes]) == (1, [volume_id])
    both = evs.list_volumes(model.ListVolumesRequest(ids=f"['{volume_id}','{copy}']", sort_key="size", sort_dir="asc"))
    assert [one.id for one in both.volumes] == [volume_id, copy]
    for nothing in ({"server_id": str(uuid.uuid4())}, {"service_type": "DSS"}, {"volume_type_id": "x"}):
        assert evs.list_volumes(model.ListVolumesRequest(**nothing)).count == 0

    option = model.UpdateVolumeRequestBody(model.UpdateVolumeOption(name="renamed", description="other"))
    changed = evs.update_volume(model.UpdateVolumeRequest(volume_id=volume_id, body=option))
    assert (changed.id, changed.name, changed.description) == (volume_id, "renamed", "other")

    body = model.ResizeVolumeRequestBody(os_extend=model.OsExtend(new_size=3))
    job = until_done(evs, evs.resize_volume(model.ResizeVolumeRequest(volume_id=copy, body=body)).job_id)
    assert (job.job_type, job.entities.size) == ("extendVolume", 3)
    assert show(evs, copy).size == 3

    evs.delete_snapshot(model.DeleteSnapshotRequest(snapshot_id=snapshot.id))
    error = refusal(lambda: wait(evs, snapshot.id, "gone"))
    assert error.error_code == "EVS.5404"
    for each in (copy, volume_id):
        answer = evs.delete_volume(model.DeleteVolumeRequest(volume_id=each))
        job = until_done(evs, answer.job_id)
        assert (job.job_type, job.entities.volume_id) == ("deleteVolume", each)
        assert refusal(lambda each=each: show(evs, each)).error_code == "EVS.5404"  # type: ignore[misc]


def test_a_repeated_create_has_the_same_job(evs: Any) -> None:
    option = model.CreateVolumeOption(availability_zone="nova", volume_type="layers", size=1)
    request = model.CreateVolumeRequest(
        x_client_token=str(uuid.uuid4()), body=model.CreateVolumeRequestBody(volume=option)
    )
    first, second = evs.create_volume(request), evs.create_volume(request)
    assert first.job_id == second.job_id
    assert first.volume_ids == second.volume_ids
    until_done(evs, first.job_id)
    until_done(evs, evs.delete_volume(model.DeleteVolumeRequest(volume_id=first.volume_ids[0])).job_id)


def test_refusals(evs: Any) -> None:
    error = refusal(lambda: evs.show_job(model.ShowJobRequest(job_id=uuid.uuid4().hex)))
    assert (error.status_code, error.error_code) == (400, "Common.0011")
    assert refusal(lambda: new_volume(evs, size=1, count=2)).error_code == "EVS.1021"
    assert refusal(lambda: new_volume(evs, size=0)).error_code == "EVS.1010"
    assert refusal(lambda: new_volume(evs, size=1, image_ref="x")).error_code == "EVS.5400"
    assert refusal(lambda: evs.list_volumes(model.ListVolumesRequest(ids="nonsense"))).error_code == "EVS.5400"
    error = refusal(lambda: evs.delete_volume(model.DeleteVolumeRequest(volume_id=str(uuid.uuid4()))))
    assert (error.status_code, error.error_code) == (404, "EVS.5404")
