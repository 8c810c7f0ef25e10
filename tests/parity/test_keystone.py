"""A service that uses a real Keystone: its tokens, its catalog, its revocations, and the time when it is down."""

import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import cinderclient.client
import httpx
import pytest
from keystoneauth1.identity.v3 import Password
from keystoneauth1.session import Session

from openevs.demo.service import Service
from tests.keystone.server import Keystone
from tests.parity.test_cinderclient import gone, until

pytestmark = pytest.mark.slow

CACHE_SECONDS: Final = 1.0
WAIT_SECONDS: Final = CACHE_SECONDS + 0.5


class Cloud(NamedTuple):
    """Keystone, the service, and a member of a project."""

    keystone: Keystone
    service: Service
    user_id: str
    password: str

    def session(self) -> Any:
        """A session of the member's, as any client would make it."""
        return Session(
            Password(self.keystone.url, username="jo", password=self.password, project_name="work",
                     user_domain_name="Default", project_domain_name="Default")
        )  # fmt: skip

    def volumes(self, token: str) -> int:
        """Return the status of a plain request with a token."""
        headers = {"X-Auth-Token": token}
        return httpx.get(f"{self.service.base_url}/v3/volumes", headers=headers, timeout=30).status_code

    def token(self) -> str:
        """Return a new token of the member's."""
        return self.keystone.log_in("jo", self.password, "work")


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    folder = Path(str(tmp_path_factory.mktemp("k")))
    with Keystone(folder / "keystone") as keystone:
        secret = secrets.token_urlsafe()
        keystone.make_user("openevs", secret, "service", "service")
        settings = {
            "IDENTITY_KIND": "keystone",
            "IDENTITY_KEYSTONE_URL": keystone.url,
            "IDENTITY_KEYSTONE_PASSWORD": secret,
            "IDENTITY_KEYSTONE_CACHE_SECONDS": str(CACHE_SECONDS),
        }
        with Service(folder / "evs", settings) as service:
            keystone.register("block-storage", service.base_url + "/v3/%(project_id)s")
            password = secrets.token_urlsafe()
            yield Cloud(keystone, service, keystone.make_user("jo", password, "work", "member"), password)


def test_a_client_finds_the_service_in_keystones_catalog(cloud: Cloud) -> None:
    cinder = cinderclient.client.Client("3.71", session=cloud.session(), service_type="block-storage")
    volume = cinder.volumes.create(1, name="v")
    until(lambda: cinder.volumes.get(volume.id), "available")
    snapshot = cinder.volume_snapshots.create(volume.id)
    until(lambda: cinder.volume_snapshots.get(snapshot.id), "available")
    with pytest.raises(cinderclient.exceptions.Forbidden):
        cinder.services.list()
    cinder.volumes.delete(volume, cascade=True)
    gone(lambda: cinder.volumes.get(volume.id))


def test_roles_are_keystones(cloud: Cloud) -> None:
    cloud.keystone.make_user("rita", "p" * 20, "work", "reader")
    token = cloud.keystone.log_in("rita", "p" * 20, "work")
    assert cloud.volumes(token) == 200
    made = httpx.post(
        f"{cloud.service.base_url}/v3/volumes", json={"volume": {"size": 1}}, headers={"X-Auth-Token": token}
    )
    assert made.status_code == 403
    admin = cloud.keystone.log_in("admin", cloud.keystone.password, "admin")
    services = httpx.get(f"{cloud.service.base_url}/v3/os-services", headers={"X-Auth-Token": admin})
    assert services.status_code == 200


def test_identity_is_not_served_here(cloud: Cloud) -> None:
    for path in ("/identity/v3/auth/tokens", "/v3/auth/tokens", "/identity/v3"):
        assert httpx.get(cloud.service.base_url + path).status_code == 404


def test_what_keystone_revokes_is_refused_in_time(cloud: Cloud) -> None:
    token = cloud.token()
    assert cloud.volumes(token) == 200
    cloud.keystone.ask("DELETE", "/auth/tokens", **{"X-Subject-Token": token})
    time.sleep(WAIT_SECONDS)
    assert cloud.volumes(token) == 401
    assert cloud.volumes("gAAAAA" + "x" * 180) == 401

    token = cloud.token()
    assert cloud.volumes(token) == 200
    cloud.keystone.ask("PATCH", f"/users/{cloud.user_id}", {"user": {"enabled": False}})
    time.sleep(WAIT_SECONDS)
    assert cloud.volumes(token) == 401
    cloud.keystone.ask("PATCH", f"/users/{cloud.user_id}", {"user": {"enabled": True}})
    time.sleep(WAIT_SECONDS)
    assert cloud.volumes(cloud.token()) == 200


def test_while_keystone_is_down_nobody_is_refused_for_good(cloud: Cloud) -> None:
    token = cloud.token()
    cloud.keystone.stop()
    try:
        answer = httpx.get(f"{cloud.service.base_url}/v3/volumes", headers={"X-Auth-Token": token})
        assert answer.status_code == 503
        assert "identity service" in answer.json()["serviceUnavailable"]["message"]
        assert httpx.get(f"{cloud.service.base_url}/readyz").status_code == 200
    finally:
        cloud.keystone.start()
    assert cloud.volumes(token) == 200
