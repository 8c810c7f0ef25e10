"""The life of a snapshot with openstacksdk and with the `openstack` command, unmodified."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import openstack
import pytest

from openevs.demo.service import Service

# What the SDK calls of its own that it will remove is its own affair.
pytestmark = pytest.mark.filterwarnings(r"ignore:::openstack\..*")


def test_sdk(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(service.folder / "clouds.yaml"))
    cloud = openstack.connect(cloud="openevs")
    storage: Any = cloud.block_storage  # its type is that of every version at once
    volume = storage.wait_for_status(storage.create_volume(size=1, name="sdk"), "available", wait=20)
    snapshot = storage.create_snapshot(volume_id=volume.id, name="sdk-snapshot", is_forced=True, metadata={"k": "v"})
    assert snapshot.status == "creating"
    snapshot = storage.wait_for_status(snapshot, "available", wait=20)
    assert snapshot.metadata == {"k": "v"}
    assert [s.name for s in storage.snapshots(volume_id=volume.id)] == ["sdk-snapshot"]
    copy = storage.create_volume(size=1, snapshot_id=snapshot.id, name="sdk-copy")
    copy = storage.wait_for_status(copy, "available", wait=20)
    assert copy.snapshot_id == snapshot.id
    storage.revert_volume_to_snapshot(volume, snapshot)
    storage.wait_for_status(storage.get_volume(volume), "available", wait=20)
    storage.extend_volume(volume, 2)
    storage.wait_for_status(storage.get_volume(volume), "available", wait=20)
    assert storage.get_volume(volume).size == 2
    storage.delete_volume(copy)
    storage.wait_for_delete(copy, wait=20)
    storage.delete_snapshot(snapshot)
    storage.wait_for_delete(snapshot, wait=20)
    storage.delete_volume(volume)
    storage.wait_for_delete(volume, wait=20)
    cloud.close()


def test_sdk_backups(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(service.folder / "clouds.yaml"))
    cloud = openstack.connect(cloud="openevs")
    storage: Any = cloud.block_storage
    volume = storage.wait_for_status(storage.create_volume(size=1, name="sdk"), "available", wait=20)
    made = []
    for incremental in (False, True):
        backup = storage.create_backup(volume_id=volume.id, name=f"sdk-{incremental}", is_incremental=incremental)
        made.append(storage.wait_for_status(backup, "available", wait=20))
    assert [backup.is_incremental for backup in made] == [False, True]
    assert {backup.name for backup in storage.backups(volume_id=volume.id)} == {"sdk-False", "sdk-True"}
    restored = storage.restore_backup(made[1], name="sdk-restored")
    copy = storage.wait_for_status(storage.get_volume(restored.volume_id), "available", wait=20)
    assert copy.name == "sdk-restored"
    storage.wait_for_status(storage.get_backup(made[1]), "available", wait=20)
    for backup in reversed(made):
        storage.delete_backup(backup)
        storage.wait_for_delete(backup, wait=20)
    for each in (copy, volume):
        storage.delete_volume(each)
        storage.wait_for_delete(each, wait=20)
    cloud.close()


def run(service: Service, *words: str) -> Any:
    """Run the `openstack` command and return what it prints, decoded."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
    environ |= {"OS_CLIENT_CONFIG_FILE": str(service.folder / "clouds.yaml"), "OS_CLOUD": "openevs"}
    command = [str(Path(sys.executable).parent / "openstack"), *words]
    done = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout.strip() else None


def test_command(service: Service) -> None:
    volume = run(service, "volume", "create", "--size", "1", "cli", "-f", "json")
    snapshot = run(service, "volume", "snapshot", "create", "--volume", "cli", "cli-snapshot", "--force", "-f", "json")
    assert snapshot["status"] == "creating"
    copy = run(service, "volume", "create", "--snapshot", "cli-snapshot", "cli-copy", "-f", "json")
    names = {each["Name"] for each in run(service, "volume", "list", "-f", "json")}
    assert {"cli", "cli-copy"} <= names
    listed = run(service, "volume", "snapshot", "list", "--volume", "cli", "-f", "json")
    assert [each["Name"] for each in listed] == ["cli-snapshot"]
    run(service, "volume", "set", "--property", "a=b", "cli")
    assert run(service, "volume", "show", "cli", "-f", "json")["properties"] == {"a": "b"}
    quota = {each["Resource"]: each for each in run(service, "quota", "show", "--volume", "--usage", "-f", "json")}
    assert quota["snapshots"]["In Use"] >= 1
    assert "layers" in [each["Name"] for each in run(service, "volume", "type", "list", "-f", "json")]
    run(service, "volume", "delete", copy["id"])
    run(service, "volume", "delete", "--purge", volume["id"])
