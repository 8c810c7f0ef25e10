"""OpenStack's own clients against a real server, with the files that the first start wrote."""

import asyncio
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keystoneauth1.exceptions
import openstack
import pytest
from keystoneauth1.identity import v3
from keystoneauth1.identity.base import BaseIdentityPlugin
from keystoneauth1.identity.generic import Password
from keystoneauth1.session import Session
from openstack.connection import Connection

from openevs.compose import Application
from openevs.server import listen, serve, url_of
from openevs.testing.application import settings_for

# What the SDK calls of its own that it will remove is its own affair.
pytestmark = pytest.mark.filterwarnings(r"ignore:::openstack\..*")


class Server:
    """A service on a free port, in a thread of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = ""
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))
        self._thread.start()
        assert self._ready.wait(20)

    async def _serve(self) -> None:
        settings = settings_for(self.folder, {("server", "port"): "0"})
        app = Application(settings)
        listener = listen(settings.server)
        self.url = url_of(listener)
        await app.start(self.url)
        self._ready.set()
        try:
            await serve(app.asgi, listener, self._stop)
        finally:
            await app.stop()

    def close(self) -> None:
        """Stop it."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)
        self._loop.close()

    def cloud(self, name: str) -> Connection:
        """Return the SDK's connection to a cloud of `clouds.yaml`."""
        config = openstack.config.OpenStackConfig(config_files=[str(self.folder / "clouds.yaml")])
        return Connection(config=config.get_one(name))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service for all tests of this module: they leave it as they found it."""
    running = Server(tmp_path_factory.mktemp("clients"))
    yield running
    running.close()


@contextmanager
def session_of(auth: BaseIdentityPlugin) -> Iterator[Session]:
    """Keystoneauth's session, whose connections are closed at the end: a warning is an error here."""
    session = Session(auth=auth)
    try:
        yield session
    finally:
        session.session.close()


def variables(server: Server) -> dict[str, str]:
    """Return what sourcing `openrc` would set."""
    words = shlex.split((server.folder / "openrc").read_text())
    return dict(word.split("=", 1) for word in words if word != "export")


@pytest.mark.parametrize("path", ["", "/", "/v3", "/v3/", "/identity", "/identity/", "/identity/v3", "/identity/v3/"])
def test_keystoneauth_finds_its_way_from_any_url(server: Server, path: str) -> None:
    given = variables(server)
    auth = Password(
        auth_url=server.url + path,
        username="demo",
        password=given["OS_PASSWORD"],
        project_name="demo",
        user_domain_name="Default",
        project_domain_id="default",
    )
    with session_of(auth) as session:
        project_id = session.get_project_id()
        assert project_id
        for service_type in ("block-storage", "volumev3", "volume"):
            assert session.get_endpoint(service_type=service_type) == f"{server.url}/v3/{project_id}"
        assert session.get_endpoint(service_type="volumev2") == f"{server.url}/v2/{project_id}"
        assert session.get("/auth/projects", endpoint_filter={"service_type": "identity"}).status_code == 200


def test_keystoneauth_goes_from_unscoped_to_scoped(server: Server) -> None:
    given = variables(server)
    url = given["OS_AUTH_URL"]
    unscoped = v3.Password(url, username="demo", password=given["OS_PASSWORD"], user_domain_id="default", unscoped=True)
    with session_of(unscoped) as session:
        assert session.get_project_id() is None
        token = session.get_token()
        assert token is not None
    with session_of(v3.Token(url, token=token, project_name="demo", project_domain_name="Default")) as session:
        assert session.get_project_id()
    wrong = v3.Password(url, username="demo", password="wrong", user_domain_id="default")
    with session_of(wrong) as session, pytest.raises(keystoneauth1.exceptions.Unauthorized):
        session.get_token()


def test_sdk_administers_users_projects_and_roles(server: Server) -> None:
    admin: Any = server.cloud("openevs-admin")
    identity = admin.identity
    project = identity.create_project(name="sdk", domain_id="default", description="x")
    user = identity.create_user(name="sdk", password="sdk", default_project_id=project.id)
    role = identity.find_role("member")
    identity.assign_project_role_to_user(project, user, role)
    assert identity.validate_user_has_project_role(project, user, role)
    assert {found.name for found in identity.projects()} == {"admin", "demo", "sdk"}
    assert identity.find_user("sdk").id == user.id
    assert identity.find_project("nothing") is None
    assert identity.find_domain("Default").id == "default"
    assert len(list(identity.role_assignments(user_id=user.id, include_names=True))) == 1
    assert {service.type for service in identity.services()} >= {"block-storage", "identity"}
    assert [region.id for region in identity.regions()] == ["RegionOne"]
    assert len(list(identity.endpoints())) == 15
    assert identity.update_user(user, description="y").description == "y"
    assert identity.update_project(project, name="sdk2").name == "sdk2"

    member: Any = admin.connect_as(username="sdk", password="sdk", project_id=project.id)
    assert member.current_project_id == project.id
    assert [found.name for found in member.identity.user_projects(user.id)] == ["sdk2"]
    assert member.block_storage.get_endpoint() == f"{server.url}/v3/{project.id}"
    with pytest.raises(openstack.exceptions.ForbiddenException):
        list(member.identity.users())
    member.close()

    identity.unassign_project_role_from_user(project, user, role)
    assert not identity.validate_user_has_project_role(project, user, role)
    identity.delete_user(user)
    identity.delete_project(project)
    admin.close()


@pytest.mark.slow  # the tool takes seconds to start
def test_command_line_client(server: Server) -> None:
    tool = Path(sys.executable).with_name("openstack")
    environment = {**os.environ, **variables(server)}
    command = [str(tool), "project", "list", "-f", "value", "-c", "Name"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "demo\n"
