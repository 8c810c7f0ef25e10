"""Volume types, QoS specs, retyping and managing with python-cinderclient, unmodified, and real bytes over NBD."""

import asyncio
import time
from typing import Any

import cinderclient.exceptions
import pytest

from openevs.demo.service import Service
from openevs.engine.nbd import NbdClient
from tests.parity.disk import read_at, write_at
from tests.parity.test_cinderclient import CONNECTOR, connect, gone, until
from tests.parity.test_cinderclient_operating import as_admin

MIB = 1 << 20
SLOW = {"consumer": "front-end", "total_bytes_sec": str(MIB)}
LENGTH, STEP = 2 * MIB, 64 << 10
LEAST_SECONDS = 0.8
"""What `LENGTH` takes at least at the slow rate: a burst of a tenth of a second or so is let through."""


def served(cinder: Any, volume: Any) -> Any:
    """Attach a volume; return how it is served."""
    cinder.volumes.reserve(volume)
    info = cinder.volumes.initialize_connection(volume, CONNECTOR)["data"]
    cinder.volumes.attach(volume, None, "/dev/vdb", host_name="test")
    return info


def took(uri: str) -> float:
    """Return how many seconds `LENGTH` bytes take. One request is let through whole: what is limited is the next."""

    async def write() -> float:
        async with await NbdClient.connect(uri) as client:
            began = time.monotonic()
            for at in range(0, LENGTH, STEP):
                await client.write(at, b"x" * STEP)
            return time.monotonic() - began

    return asyncio.run(write())


def soon(uri: str, *, limited: bool) -> None:
    """Wait until a write is limited, or not any more."""
    deadline = time.monotonic() + 60
    while (took(uri) > LEAST_SECONDS) != limited:
        assert time.monotonic() < deadline, "there is no limit yet" if limited else "the limit still holds"


def test_types(service: Service) -> None:
    admin, cinder = as_admin(service), connect(service, "3.71")
    made = admin.volume_types.create("gold", "for some", is_public=False)
    made.set_keys({"k": "v", "other": "w"})
    made.unset_keys(["other"])
    assert admin.volume_types.get(made.id).extra_specs == {"k": "v"}
    with pytest.raises(cinderclient.exceptions.NotFound):
        cinder.volume_types.get(made.id)
    with pytest.raises(cinderclient.exceptions.NotFound):
        cinder.volumes.create(1, volume_type="gold")
    project = cinder.client.session.get_project_id()
    admin.volume_type_access.add_project_access(made.id, project)
    assert [one.project_id for one in admin.volume_type_access.list(made.id)] == [project]
    assert "gold" in {one.name for one in cinder.volume_types.list()}
    admin.default_types.create("gold", project)
    try:
        assert cinder.volume_types.default().name == "gold"
        volume = cinder.volumes.create(1)
        assert until(lambda: cinder.volumes.get(volume.id), "available").volume_type == "gold"
    finally:
        admin.default_types.delete(project)
    with pytest.raises(cinderclient.exceptions.BadRequest):
        admin.volume_types.delete(made)
    renamed = admin.volume_types.update(made.id, name="golden", is_public=True)
    assert (renamed.name, cinder.volumes.get(volume.id).volume_type) == ("golden", "golden")
    cinder.volumes.delete(volume)
    gone(lambda: cinder.volumes.get(volume.id))
    luks = {"provider": "luks", "control_location": "front-end", "cipher": "aes-xts-plain64", "key_size": 256}
    admin.volume_encryption_types.create(made, luks)
    admin.volume_encryption_types.update(made, {"key_size": 128})
    shown = admin.volume_encryption_types.get(made)
    assert (shown.provider, shown.key_size) == ("luks", 128)
    with pytest.raises(cinderclient.exceptions.BadRequest, match="encrypt"):
        cinder.volumes.create(1, volume_type="golden")
    admin.volume_encryption_types.delete(made)
    admin.volume_types.delete(made)


def test_limits_hold_and_follow_specs_and_type(service: Service) -> None:
    admin, cinder = as_admin(service), connect(service, "3.71")
    slow = admin.volume_types.create("slow")
    specs = admin.qos_specs.create("one MiB a second", dict(SLOW)).id
    admin.qos_specs.associate(specs, slow.id)
    assert [one.name for one in admin.qos_specs.get_associations(specs)] == ["slow"]
    volume = cinder.volumes.create(1, volume_type="slow")
    until(lambda: cinder.volumes.get(volume.id), "available")
    info = served(cinder, volume)
    try:
        assert info["qos_specs"] == {"total_bytes_sec": str(MIB)}
        assert took(info["uri"]) > LEAST_SECONDS
        admin.qos_specs.set_keys(specs, {"total_bytes_sec": str(1 << 40)})
        soon(info["uri"], limited=False)
        admin.qos_specs.set_keys(specs, {"total_bytes_sec": str(MIB)})
        soon(info["uri"], limited=True)
        cinder.volumes.retype(volume, "SSD", "never")
        assert until(lambda: cinder.volumes.get(volume.id), "in-use").volume_type == "SSD"
        soon(info["uri"], limited=False)
        assert read_at(info["uri"], 0, 16) == b"x" * 16
        with pytest.raises(cinderclient.exceptions.BadRequest):
            admin.qos_specs.delete(specs)
    finally:
        cinder.volumes.terminate_connection(volume, CONNECTOR)
        cinder.volumes.detach(volume)
    until(lambda: cinder.volumes.get(volume.id), "available")
    admin.qos_specs.unset_keys(specs, ["total_bytes_sec"])
    assert admin.qos_specs.get(specs).specs == {}
    admin.qos_specs.disassociate_all(specs)
    admin.qos_specs.delete(specs)
    admin.volume_types.delete(slow)
    cinder.volumes.delete(volume)


@pytest.mark.parametrize("version", ["3.0", "3.8", "3.71"])
def test_unmanage_and_manage(service: Service, version: str) -> None:
    admin, cinder = as_admin(service, version), connect(service, version)
    volume = cinder.volumes.create(1, name="old")
    until(lambda: cinder.volumes.get(volume.id), "available")
    info = served(cinder, volume)
    write_at(info["uri"], 0, b"kept" * 128)
    cinder.volumes.terminate_connection(volume, CONNECTOR)
    cinder.volumes.detach(volume)
    host = getattr(admin.volumes.get(volume.id), "os-vol-host-attr:host")
    until(lambda: cinder.volumes.get(volume.id), "available")
    admin.volumes.unmanage(volume.id)
    gone(lambda: cinder.volumes.get(volume.id))
    name = {"source-name": f"volume-{volume.id}"}
    shown = {str(one.reference): one for one in admin.volumes.list_manageable(host)}
    assert (shown[str(name)].safe_to_manage, shown[str(name)].size) == (True, 1)
    managed = admin.volumes.manage(host, name, name="new", volume_type="SSD", metadata={"k": "v"})
    found = until(lambda: admin.volumes.get(managed.id), "available")
    assert (found.name, found.size, found.volume_type, found.metadata) == ("new", 1, "SSD", {"k": "v"})
    snapshot = admin.volume_snapshots.create(managed.id, name="s")
    until(lambda: admin.volume_snapshots.get(snapshot.id), "available")
    admin.volume_snapshots.unmanage(snapshot.id)
    gone(lambda: admin.volume_snapshots.get(snapshot.id))
    again = admin.volume_snapshots.manage(managed.id, {"source-name": f"snapshot-{snapshot.id}"}, name="t")
    until(lambda: admin.volume_snapshots.get(again.id), "available")
    copy = admin.volumes.create(1, snapshot_id=again.id)
    until(lambda: admin.volumes.get(copy.id), "available")
    info = served(admin, copy)
    assert read_at(info["uri"], 0, 512) == b"kept" * 128
    admin.volumes.terminate_connection(copy, CONNECTOR)
    admin.volumes.detach(copy)
    until(lambda: admin.volumes.get(copy.id), "available")
    admin.volumes.delete(copy)
    admin.volumes.delete(managed, cascade=True)
    gone(lambda: admin.volumes.get(managed.id))


def test_a_file_is_managed(service: Service) -> None:
    admin = as_admin(service)
    (service.folder / "pool" / "incoming" / "disk.raw").write_bytes(b"file" * 256)
    managed = admin.volumes.manage("openevs@layers#layers", {"source-name": "incoming/disk.raw"}, bootable=True)
    found = until(lambda: admin.volumes.get(managed.id), "available")
    assert (found.size, found.bootable) == (1, "true")
    info = served(admin, managed)
    assert read_at(info["uri"], 0, 2048) == b"file" * 256 + bytes(1024)
    admin.volumes.terminate_connection(managed, CONNECTOR)
    admin.volumes.detach(managed)
    until(lambda: admin.volumes.get(managed.id), "available")
    admin.volumes.delete(managed)
    gone(lambda: admin.volumes.get(managed.id))
