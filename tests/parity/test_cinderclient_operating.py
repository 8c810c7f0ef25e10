"""What operators and several projects do, with python-cinderclient, unmodified: transfers, messages, services, pools,
quota classes, image metadata, and volumes that several attach."""

from typing import Any

import cinderclient.client
import cinderclient.exceptions
import pytest
import yaml
from keystoneauth1.identity.generic import Password
from keystoneauth1.session import Session

from openevs.demo.service import Service
from tests.parity.disk import read_at, write_at
from tests.parity.test_cinderclient import CONNECTOR, connect, gone, until


def as_admin(service: Service, version: str = "3.71", project: str = "demo") -> Any:
    """Return an administrator's client."""
    clouds = yaml.safe_load((service.folder / "clouds.yaml").read_text())["clouds"]
    auth = {**clouds["openevs-admin"]["auth"], "project_name": project}
    return cinderclient.client.Client(version, session=Session(Password(**auth)))


@pytest.mark.parametrize("version", ["3.0", "3.55", "3.71"])
def test_a_transfer(service: Service, version: str) -> None:
    giver, taker = connect(service, version), as_admin(service, version, "admin")
    volume = giver.volumes.create(1)
    until(lambda: giver.volumes.get(volume.id), "available")
    if version >= "3.55":
        offered = giver.transfers.create(volume.id, name="present", no_snapshots=True)
    else:
        offered = giver.transfers.create(volume.id, name="present")
    assert giver.volumes.get(volume.id).status == "awaiting-transfer"
    assert [one.id for one in giver.transfers.list()] == [offered.id]
    assert giver.transfers.get(offered.id).name == "present"
    with pytest.raises(cinderclient.exceptions.BadRequest):
        taker.transfers.accept(offered.id, "0" * 16)
    taker.transfers.accept(offered.id, offered.auth_key)
    assert until(lambda: taker.volumes.get(volume.id), "available").user_id != volume.user_id
    assert giver.transfers.list() == []
    taken_back = taker.transfers.create(volume.id)
    taker.transfers.delete(taken_back.id)
    taker.volumes.delete(volume.id)
    gone(lambda: taker.volumes.get(volume.id))


def test_services_pools_and_capabilities(service: Service) -> None:
    admin = as_admin(service)
    (storage,) = admin.services.list(binary="cinder-volume")
    assert (storage.status, storage.state) == ("enabled", "up")
    assert admin.services.disable_log_reason(storage.host, storage.binary, "maintenance").status == "disabled"
    assert admin.services.list(host=storage.host)[0].disabled_reason == "maintenance"
    assert admin.services.enable(storage.host, storage.binary).status == "enabled"
    admin.services.freeze_host(storage.host)
    assert admin.services.list(binary="cinder-volume")[0].frozen is True
    admin.services.thaw_host(storage.host)
    with pytest.raises(cinderclient.exceptions.BadRequest):
        admin.services.failover_host(storage.host, None)
    levels = admin.services.get_log_levels("cinder-volume", "", "openevs")
    assert (levels[0].prefix, levels[0].level) == ("openevs", "INFO")
    (pool,) = admin.pools.list(detailed=True)
    assert pool.total_capacity_gb >= pool.free_capacity_gb > 0
    assert admin.capabilities.get(storage.host).storage_protocol == pool.storage_protocol
    assert pool.driver_version[0].isdigit(), "that of the storage daemon"
    assert admin.clusters.list() == []
    assert {one.zoneName for one in admin.availability_zones.list()} == {"nova"}
    with pytest.raises(cinderclient.exceptions.Forbidden):
        connect(service, "3.71").services.list()


def test_quotas_and_their_default_class(service: Service) -> None:
    admin, cinder = as_admin(service), connect(service, "3.71")
    before = admin.quota_classes.get("default")
    try:
        assert admin.quota_classes.update("default", backups=77).backups == 77
        assert admin.quotas.defaults("0" * 32).backups == 77
    finally:
        admin.quota_classes.update("default", backups=before.backups)
    project = cinder.volumes.create(1)
    until(lambda: cinder.volumes.get(project.id), "available")
    tenant = getattr(cinder.volumes.get(project.id), "os-vol-tenant-attr:tenant_id")
    used = cinder.quotas.get(tenant, usage=True)
    assert used.volumes["in_use"] >= 1
    limits = {one.name: one.value for one in cinder.limits.get().absolute}
    assert limits["totalVolumesUsed"] == used.volumes["in_use"]
    cinder.volumes.delete(project)
    gone(lambda: cinder.volumes.get(project.id))


def test_messages_and_filters(service: Service) -> None:
    cinder = connect(service, "3.71")
    assert [one for one in cinder.messages.list() if one.message_level != "ERROR"] == []
    filters = {one.resource: one.filters for one in cinder.resource_filters.list()}
    assert {"name", "status"} <= set(filters["volume"])
    assert "resource_uuid" in filters["message"]
    with pytest.raises(cinderclient.exceptions.NotFound):
        cinder.messages.get("00000000-0000-4000-8000-000000000000")


def test_image_metadata(service: Service) -> None:
    cinder = connect(service, "3.71")
    volume = cinder.volumes.create(1)
    until(lambda: cinder.volumes.get(volume.id), "available")
    cinder.volumes.set_image_metadata(volume, {"image_name": "a", "os": "x"})
    cinder.volumes.delete_image_metadata(volume, ["os"])
    assert cinder.volumes.get(volume.id).volume_image_metadata == {"image_name": "a"}
    assert cinder.volumes.show_image_metadata(volume)[1] == {"metadata": {"image_name": "a"}}
    assert dict(cinder.volumes.get_encryption_metadata(volume.id)) == {"encryption_key_id": None}
    with pytest.raises(cinderclient.exceptions.BadRequest, match="no images"):
        cinder.volumes.upload_to_image(volume, False, "n", "bare", "raw", "private", False)
    cinder.volumes.delete(volume)
    gone(lambda: cinder.volumes.get(volume.id))


def test_a_volume_that_two_attach(service: Service) -> None:
    cinder = connect(service, "3.54")
    made = cinder.api_version
    body = {"volume": {"size": 1, "multiattach": True}}
    _, reply = cinder.client.post(
        "/volumes", body=body, headers={"OpenStack-API-Version": f"volume {made.get_string()}"}
    )
    volume_id = reply["volume"]["id"]
    assert until(lambda: cinder.volumes.get(volume_id), "available").multiattach is True
    attached = []
    for host in ("one", "two"):
        attached.append(cinder.attachments.create(volume_id, {**CONNECTOR, "host": host}, None, mode="rw"))
        cinder.attachments.complete(attached[-1]["id"])
    first, second = attached
    write_at(first["connection_info"]["uri"], 0, b"shared" * 50)
    assert read_at(second["connection_info"]["uri"], 0, 300) == b"shared" * 50
    snapshot = cinder.volume_snapshots.create(volume_id, force=True)
    until(lambda: cinder.volume_snapshots.get(snapshot.id), "available")
    cinder.attachments.delete(first["id"])
    assert cinder.volumes.get(volume_id).status == "in-use"
    write_at(second["connection_info"]["uri"], 0, b"alone!" * 50)
    cinder.attachments.delete(second["id"])
    until(lambda: cinder.volumes.get(volume_id), "available")
    cinder.volumes.delete(volume_id, cascade=True)
    gone(lambda: cinder.volumes.get(volume_id))
