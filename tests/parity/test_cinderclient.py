"""The whole life of a snapshot with python-cinderclient, unmodified, and real bytes over NBD."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import cinderclient.client
import cinderclient.exceptions
import pytest
import yaml
from keystoneauth1.identity.generic import Password
from keystoneauth1.session import Session

from openevs.demo.service import Service
from tests.parity.disk import read_at, write_at

CONNECTOR = {"host": "test", "ip": "127.0.0.1", "initiator": "iqn.test", "platform": "x86_64", "multipath": False}


def connect(service: Service, version: str) -> Any:
    """Return a client with the credentials that the first start wrote."""
    cloud = yaml.safe_load((service.folder / "clouds.yaml").read_text())["clouds"]["openevs"]["auth"]
    return cinderclient.client.Client(version, session=Session(Password(**cloud)))


def until(find: Callable[[], Any], status: str) -> Any:
    """Wait for a status."""
    deadline = time.monotonic() + 20
    while (found := find()).status != status:
        assert not found.status.startswith("error"), found.to_dict()
        assert time.monotonic() < deadline, f"{found.id} is {found.status}, not {status}"
        time.sleep(0.01)
    return found


def gone(find: Callable[[], Any]) -> None:
    """Wait for a 404."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            find()
        except cinderclient.exceptions.NotFound:
            return
        time.sleep(0.01)
    pytest.fail("it is still there")


@pytest.mark.parametrize("version", ["3.0", "3.44", "3.71"])
def test_snapshot_life(service: Service, version: str) -> None:
    cinder = connect(service, version)
    volume = cinder.volumes.create(1, name=f"life-{version}", metadata={"k": "v"})
    until(lambda: cinder.volumes.get(volume.id), "available")

    cinder.volumes.reserve(volume)
    uri = cinder.volumes.initialize_connection(volume, CONNECTOR)["data"]["uri"]
    cinder.volumes.attach(volume, None, "/dev/vdb", host_name="test")
    assert until(lambda: cinder.volumes.get(volume.id), "in-use").attachments[0]["host_name"] == "test"
    write_at(uri, 0, b"first" * 100)

    if version < "3.66":
        with pytest.raises(cinderclient.exceptions.BadRequest, match="in-use"):
            cinder.volume_snapshots.create(volume.id)
        first = cinder.volume_snapshots.create(volume.id, force=True, name="first", metadata={"a": "b"})
    else:
        first = cinder.volume_snapshots.create(volume.id, name="first", metadata={"a": "b"})
    assert first.status == "creating"
    until(lambda: cinder.volume_snapshots.get(first.id), "available")
    write_at(uri, 0, b"later" * 100)

    cinder.volumes.begin_detaching(volume)
    cinder.volumes.terminate_connection(volume, CONNECTOR)
    cinder.volumes.detach(volume)
    until(lambda: cinder.volumes.get(volume.id), "available")

    copy = cinder.volumes.create(2, snapshot_id=first.id, name="copy")
    until(lambda: cinder.volumes.get(copy.id), "available")
    assert bytes_of(cinder, copy) == b"first" * 100
    assert bytes_of(cinder, volume) == b"later" * 100

    if version >= "3.40":
        cinder.volumes.revert_to_snapshot(volume, first)
        until(lambda: cinder.volumes.get(volume.id), "available")
        assert bytes_of(cinder, volume) == b"first" * 100

    cinder.volume_snapshots.update(first, name="renamed", description="d")
    cinder.volume_snapshots.set_metadata(first, {"c": "d"})
    cinder.volume_snapshots.delete_metadata(first, ["a"])
    found = cinder.volume_snapshots.get(first.id)
    assert (found.name, found.description, found.metadata) == ("renamed", "d", {"c": "d"})
    assert [s.id for s in cinder.volume_snapshots.list(search_opts={"volume_id": volume.id})] == [first.id]

    cinder.volumes.extend(volume, 3)
    assert until(lambda: cinder.volumes.get(volume.id), "available").size == 3

    cinder.volume_snapshots.delete(first)
    gone(lambda: cinder.volume_snapshots.get(first.id))
    assert bytes_of(cinder, copy) == b"first" * 100
    for each in (volume, copy):
        cinder.volumes.delete(each)
        gone(partial(cinder.volumes.get, each.id))


def bytes_of(cinder: Any, volume: Any) -> bytes:
    """Connect, read the first 500 bytes, disconnect."""
    uri = cinder.volumes.initialize_connection(volume, CONNECTOR)["data"]["uri"]
    try:
        return read_at(uri, 0, 500)
    finally:
        cinder.volumes.terminate_connection(volume, CONNECTOR)


def test_attachments_api(service: Service) -> None:
    cinder = connect(service, "3.54")
    volume = cinder.volumes.create(1)
    until(lambda: cinder.volumes.get(volume.id), "available")
    made = cinder.attachments.create(volume.id, None, None, mode="rw")
    assert cinder.volumes.get(volume.id).status == "reserved"
    info = cinder.attachments.update(made["id"], {**CONNECTOR, "mode": "rw"}).connection_info
    write_at(info["uri"], 0, b"x" * 512)
    cinder.attachments.complete(made["id"])
    assert cinder.volumes.get(volume.id).status == "in-use"
    cinder.attachments.delete(made["id"])
    until(lambda: cinder.volumes.get(volume.id), "available")
    cinder.volumes.delete(volume, cascade=True)
    gone(lambda: cinder.volumes.get(volume.id))


def test_paging_follows_links(service: Service) -> None:
    cinder = connect(service, "3.71")
    volume = cinder.volumes.create(1)
    until(lambda: cinder.volumes.get(volume.id), "available")
    made = [cinder.volume_snapshots.create(volume.id, name=f"p{i}") for i in range(5)]
    for each in made:
        until(partial(cinder.volume_snapshots.get, each.id), "available")
    listed = cinder.volume_snapshots.list(search_opts={"volume_id": volume.id}, limit=None, sort="name:asc")
    assert [s.name for s in listed] == ["p0", "p1", "p2", "p3", "p4"]
    page = cinder.volume_snapshots.list(search_opts={"volume_id": volume.id}, limit=2, sort="name:asc")
    assert [s.name for s in page] == ["p0", "p1"]
    page = cinder.volume_snapshots.list(
        search_opts={"volume_id": volume.id}, limit=2, marker=page[-1].id, sort="name:asc"
    )
    assert [s.name for s in page] == ["p2", "p3"]
    cinder.volumes.delete(volume, cascade=True)
    gone(lambda: cinder.volumes.get(volume.id))
