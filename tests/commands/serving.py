"""A service as a process, on real QEMU, and a client of it: what the tests of commands share."""

import asyncio
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from openevs.engine.layers.engine import LayersEngine
from openevs.engine.nbd import NbdClient

OPENEVS = [sys.executable, "-m", "openevs.cli"]
BLOCK = 64 << 10


def openevs(folder: Path, *words: str) -> tuple[int, str]:
    """Run a command to its end; return its status and all that it printed."""
    command = [*OPENEVS, *words, "--data-folder", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout + done.stderr


@dataclass
class Service:
    """A service that is running, and a client of it."""

    http: httpx.Client
    project_id: str

    def call(self, method: str, path: str, body: Any = None) -> Any:
        reply = self.http.request(method, f"/v3/{self.project_id}{path}", json=body)
        assert reply.status_code < 300, reply.text
        return reply.json() if reply.content else None

    def until(self, kind: str, resource_id: str, status: str) -> dict[str, Any]:
        for _ in range(2000):
            found: dict[str, Any] = self.call("GET", f"/{kind}s/{resource_id}")[kind]
            if found["status"] == status:
                return found
        raise AssertionError(found)

    def until_gone(self, volume_id: str) -> None:
        for _ in range(2000):
            if all(each["id"] != volume_id for each in self.call("GET", "/volumes")["volumes"]):
                return
        raise AssertionError(volume_id)

    def volume(self, name: str, **fields: Any) -> str:
        made = self.call("POST", "/volumes", {"volume": {"name": name, "size": 1, **fields}})["volume"]
        self.until("volume", made["id"], "available")
        return str(made["id"])

    def snapshot(self, name: str, volume_id: str) -> str:
        body = {"snapshot": {"name": name, "volume_id": volume_id, "force": True}}
        made = self.call("POST", "/snapshots", body)["snapshot"]
        self.until("snapshot", made["id"], "available")
        return str(made["id"])

    def backup(self, volume_id: str, name: str, *, incremental: bool = False) -> str:
        body = {"backup": {"volume_id": volume_id, "name": name, "incremental": incremental}}
        made = self.call("POST", "/backups", body)["backup"]
        self.until("backup", made["id"], "available")
        return str(made["id"])

    def attach(self, volume_id: str) -> tuple[str, str]:
        body = {"attachment": {"volume_uuid": volume_id, "instance_uuid": volume_id, "connector": {"host": "here"}}}
        made = self.call("POST", "/attachments", body)["attachment"]
        info = made["connection_info"]
        return made["id"], (info.get("data") or info)["uri"]

    def write(self, volume_id: str, text: str) -> None:
        attachment_id, uri = self.attach(volume_id)
        asyncio.run(write(uri, text))
        self.call("DELETE", f"/attachments/{attachment_id}")
        self.until("volume", volume_id, "available")


async def write(uri: str, text: str) -> None:
    async with await NbdClient.connect(uri) as client:
        await client.write(BLOCK, block(text))
        await client.flush()


async def read(uri: str) -> bytes:
    async with await NbdClient.connect(uri) as client:
        return await client.read(BLOCK, BLOCK)


def block(text: str) -> bytes:
    return (text.encode() * BLOCK)[:BLOCK]


async def stored(folder: Path, *object_ids: str) -> list[bytes]:
    engine = LayersEngine(folder / "pool", folder / "run")
    await engine.open()
    try:
        return [bytes(await engine.read(object_id, BLOCK, BLOCK)) for object_id in object_ids]  # type: ignore[arg-type]
    finally:
        await engine.close()


@contextmanager
def served(folder: Path, project: str | None = None, config: Path | None = None) -> Iterator[Service]:
    """Run a service; the client is the administrator on `project` (an id), or else the demo user on its own."""
    log = (folder / "log").open("ab")
    more = [] if config is None else ["--config", str(config)]
    process = subprocess.Popen(
        [*OPENEVS, "serve", "--port", "0", "--data-folder", str(folder), *more],
        stdout=subprocess.PIPE, stderr=log, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found, (folder / "log").read_text()
        with httpx.Client(base_url=found[0], timeout=60) as http:
            user, password, scope = credentials(folder, admin=project is not None)
            target = {"id": project} if project else {"name": scope, "domain": {"id": "default"}}
            login = {"user": {"name": user, "domain": {"id": "default"}, "password": password}}
            body = {"auth": {"identity": {"methods": ["password"], "password": login}, "scope": {"project": target}}}
            reply = http.post("/identity/v3/auth/tokens", json=body)
            assert reply.status_code == 201, reply.text
            http.headers["X-Auth-Token"] = reply.headers["X-Subject-Token"]
            http.headers["OpenStack-API-Version"] = "volume 3.50"
            yield Service(http, reply.json()["token"]["project"]["id"])
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        log.close()
        if process.stdout is not None:
            process.stdout.close()


def credentials(folder: Path, *, admin: bool) -> tuple[str, str, str]:
    if admin:
        text = (folder / "clouds.yaml").read_text().split("openevs-admin:")[1]
        found = dict(re.findall(r"^ +(username|password|project_name): \"?(.*?)\"?$", text, re.MULTILINE))
        return found["username"], found["password"], found["project_name"]
    words = dict(word.split("=", 1) for word in shlex.split((folder / "openrc").read_text()) if word.startswith("OS_"))
    return words["OS_USERNAME"], words["OS_PASSWORD"], words["OS_PROJECT_NAME"]
