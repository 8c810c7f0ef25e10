"""The whole life of a snapshot with Ansible's modules for OpenStack, unmodified, and real bytes."""

import os
import subprocess
import zipfile
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from openevs.demo.service import Service
from tests.environments import FOLDER, install
from tests.parity.disk import read_at, write_at
from tests.parity.test_cinderclient import CONNECTOR, connect, until

pytestmark = pytest.mark.slow

BOOKS: Final = Path(__file__).parent / "ansible"
PACKAGE: Final = "ansible==12.3.0"
"""What the modules come with."""
COLLECTION: Final = "ansible_collections/openstack/"


class Ansible(NamedTuple):
    """Ansible, and where its collections are."""

    environment: Path
    collections: Path

    def play(self, name: str, service: Service) -> None:
        """Run a playbook, which must succeed."""
        python = self.environment / "bin" / "python"
        environ = {
            "PATH": f"{python.parent}:{os.environ['PATH']}",
            "HOME": str(service.folder),
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_COLLECTIONS_PATH": str(self.collections),
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "OS_CLIENT_CONFIG_FILE": str(service.folder / "clouds.yaml"),
        }
        command = [str(python.parent / "ansible-playbook"), "--inventory", "localhost,", "--connection", "local"]
        command += ["--extra-vars", f"ansible_python_interpreter={python}", str(BOOKS / f"{name}.yml")]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def ansible() -> Ansible:
    environment = install("ansible", BOOKS / "requirements.txt")
    collections = FOLDER / "ansible" / PACKAGE
    if not (collections / COLLECTION).is_dir():
        pip = [str(environment / "bin" / "python"), "-m", "pip", "download", "--quiet", "--no-deps"]
        subprocess.run([*pip, "--dest", str(collections), PACKAGE], check=True)
        for wheel in collections.glob("*.whl"):
            with zipfile.ZipFile(wheel) as packed:
                packed.extractall(collections, [name for name in packed.namelist() if name.startswith(COLLECTION)])
            wheel.unlink()
    return Ansible(environment, collections)


def test_snapshot_life(service: Service, ansible: Ansible) -> None:
    cinder = connect(service, "3.44")

    def named(name: str) -> Any:
        return cinder.volumes.find(name=name)

    def served(volume: Any) -> str:
        return str(cinder.volumes.initialize_connection(volume, CONNECTOR)["data"]["uri"])

    ansible.play("make", service)
    volume = named("play")
    cinder.volumes.reserve(volume)
    uri = served(volume)
    cinder.volumes.attach(volume, None, "/dev/vdb", host_name="test")
    write_at(uri, 0, b"first" * 100)
    ansible.play("freeze", service)
    write_at(uri, 0, b"later" * 100)
    cinder.volumes.begin_detaching(volume)
    cinder.volumes.terminate_connection(volume, CONNECTOR)
    cinder.volumes.detach(volume)
    until(lambda: cinder.volumes.get(volume.id), "available")

    ansible.play("copy", service)
    copy = named("play-copy")
    assert read_at(served(copy), 0, 500) == b"first" * 100
    cinder.volumes.terminate_connection(copy, CONNECTOR)
    ansible.play("clear", service)
