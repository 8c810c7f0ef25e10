"""A real Keystone, in an environment and a process of its own, on a folder of its own: SQLite, Fernet tokens."""

import contextlib
import os
import secrets
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Final, Self

import httpx

from tests.environments import install
from tests.ports import own_port

REQUIREMENTS: Final = Path(__file__).parent / "requirements.txt"
_START_SECONDS: Final = 60.0
_SERVE: Final = """
import sys
address, sys.argv[:] = sys.argv[1], ["keystone"]
from keystone.wsgi.api import application
from waitress import serve
serve(application, listen=address, threads=4)
"""
DEFAULT: Final = {"id": "default"}


class Keystone:
    """One Keystone. Used as a context manager it is filled, and runs inside the block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.password = secrets.token_urlsafe()
        """Of its administrator, `admin` on the project `admin`."""
        self._address = f"127.0.0.1:{own_port()}"
        self.url = f"http://{self._address}/v3"
        self._environment = install("keystone", REQUIREMENTS)
        self._process: subprocess.Popen[bytes] | None = None
        self._http = httpx.Client(timeout=30)

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "keystone.conf").write_text(
            f"[database]\nconnection = sqlite:///{self.folder}/keystone.db\n"
            f"[fernet_tokens]\nkey_repository = {self.folder}/fernet-keys\n"
            f"[fernet_receipts]\nkey_repository = {self.folder}/receipt-keys\n"
            f"[credential]\nkey_repository = {self.folder}/credential-keys\n"
            "[cache]\nenabled = false\n"
        )
        owner = ("--keystone-user", str(os.getuid()), "--keystone-group", str(os.getgid()))
        self._manage("db_sync")
        self._manage("fernet_setup", *owner)
        self._manage("bootstrap", "--bootstrap-password", self.password, "--bootstrap-region-id", "RegionOne",
                     "--bootstrap-public-url", self.url, "--bootstrap-internal-url", self.url)  # fmt: skip
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._http.close()

    def start(self) -> None:
        """Start, and return when it answers."""
        with (self.folder / "keystone.log").open("ab") as log:
            command = [str(self._environment / "bin" / "python"), "-W", "ignore", "-c", _SERVE, self._address]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=self._environ(), cwd=self.folder)
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.HTTPError):
                if self._http.get(self.url).status_code == 200:
                    return
            time.sleep(0.1)
        raise TimeoutError((self.folder / "keystone.log").read_text()[-2000:])

    def stop(self) -> None:
        """End the process; the data stays."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def log_in(self, user: str, password: str, project: str) -> str:
        """Return a token."""
        who = {"methods": ["password"], "password": {"user": {"name": user, "password": password, "domain": DEFAULT}}}
        body = {"auth": {"identity": who, "scope": {"project": {"name": project, "domain": DEFAULT}}}}
        answer = self._http.post(f"{self.url}/auth/tokens", json=body)
        answer.raise_for_status()
        return answer.headers["X-Subject-Token"]

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> Any:
        """Return the answer to a request of the administrator's, which must succeed."""
        token = self.log_in("admin", self.password, "admin")
        answer = self._http.request(method, self.url + path, json=body, headers={"X-Auth-Token": token, **headers})
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def make_user(self, name: str, password: str, project: str, *roles: str) -> str:
        """Make a user, and the project if it is not there, and return the user's id."""
        found = self.ask("GET", f"/projects?name={project}")["projects"]
        made = found[0] if found else self.ask("POST", "/projects", {"project": {"name": project}})["project"]
        body = {"user": {"name": name, "password": password, "domain_id": "default"}}
        user_id = str(self.ask("POST", "/users", body)["user"]["id"])
        for role in self.ask("GET", "/roles")["roles"]:
            if role["name"] in roles:
                self.ask("PUT", f"/projects/{made['id']}/users/{user_id}/roles/{role['id']}")
        return user_id

    def register(self, kind: str, url: str) -> None:
        """Put a service into the catalog."""
        service = self.ask("POST", "/services", {"service": {"name": kind, "type": kind}})["service"]
        endpoint = {"service_id": service["id"], "interface": "public", "region_id": "RegionOne", "url": url}
        self.ask("POST", "/endpoints", {"endpoint": endpoint})

    def _manage(self, command: str, *arguments: str) -> None:
        program = [str(self._environment / "bin" / "python"), "-W", "ignore"]
        program += [str(self._environment / "bin" / "keystone-manage"), "--config-dir", str(self.folder)]
        program += ["--config-file", str(self.folder / "keystone.conf"), command, *arguments]
        done = subprocess.run(program, capture_output=True, text=True, env=self._environ(), check=False)
        if done.returncode:
            raise RuntimeError(f"keystone-manage {command}: {done.stderr[-2000:]}")

    def _environ(self) -> dict[str, str]:
        # Where Keystone's own files were installed to is not where it would look for them.
        return {**os.environ, "OS_KEYSTONE_CONFIG_FILES": str(self.folder / "keystone.conf")}
