"""Killed in the middle: a backup being made or restored, by the death of the service or of the daemon that reads or
writes for it. What comes of it is whole, and nothing is left over."""

import asyncio
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from openevs.domain.ids import GIB
from openevs.engine.nbd import NbdClient
from openevs.testing.application import Client, log_in
from tests.commands.serving import credentials
from tests.kill.service import Service

pytestmark = pytest.mark.skipif(shutil.which("qemu-storage-daemon") is None, reason="needs QEMU")
MIB: Final = 1 << 20
BLOCKS: Final = 192
FEW: Final = 8
Content = dict[int, bytes]
"""MiB → its bytes, for each that is not all zeros."""


class Api:
    """The service's API, as the demo user sees it, whichever process answers."""

    def __init__(self, service: Service, client: Client) -> None:
        self.service, self.client = service, client

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """Ask for something that must be granted."""
        reply = await self.client.call(method, f"/v3/{{p}}{path}", body)
        assert reply.status_code < 300, reply.text
        return reply.json() if reply.content else None

    async def until(self, kind: str, resource_id: str, status: str) -> None:
        """Wait for a status."""
        await self.client.until(kind, resource_id, status, 120)

    async def volume(self, seed: int, blocks: int = BLOCKS) -> tuple[str, Content]:
        """Make a volume with random bytes here and there."""
        made = (await self.call("POST", "/volumes", {"volume": {"size": 1}}))["volume"]["id"]
        await self.until("volume", made, "available")
        source = random.Random(seed)
        content = {block: source.randbytes(MIB) for block in sorted(source.sample(range(GIB // MIB), blocks))}
        async with self.attached(made) as nbd:
            for block, data in content.items():
                await nbd.write(block * MIB, data)
            await nbd.flush()
        return made, content

    @asynccontextmanager
    async def attached(self, volume_id: str) -> AsyncIterator[NbdClient]:
        """Be a client of a volume."""
        body = {"attachment": {"volume_uuid": volume_id, "connector": {"host": "here"}}}
        made = (await self.call("POST", "/attachments", body))["attachment"]
        async with await NbdClient.connect(made["connection_info"]["uri"]) as nbd:
            yield nbd
        await self.call("DELETE", f"/attachments/{made['id']}")
        await self.until("volume", volume_id, "available")

    async def content_of(self, volume_id: str) -> Content:
        """Read all of a volume."""
        async with self.attached(volume_id) as nbd:
            found = {block: await nbd.read(block * MIB, MIB) for block in range(GIB // MIB)}
        return {block: data for block, data in found.items() if data != bytes(MIB)}

    async def begin_backup(self, volume_id: str) -> str:
        """Ask for a backup."""
        return str((await self.call("POST", "/backups", {"backup": {"volume_id": volume_id}}))["backup"]["id"])

    async def begin_restore(self, backup_id: str, volume_id: str) -> None:
        """Ask for a backup to be restored into a volume."""
        await self.call("POST", f"/backups/{backup_id}/restore", {"restore": {"volume_id": volume_id}})


async def kill_service(api: Api) -> None:
    """Let the service die at once."""
    api.service.kill()
    await api.service.ended()


async def kill_daemons(api: Api) -> None:
    """Let what reads and writes for the service die at once."""
    pids = list(api.service.daemons().values())
    assert pids
    api.service.kill_daemons(pids)


async def go_on(api: Api, kill: "Kill") -> None:
    """Start the service again, if it has died."""
    if kill is kill_service:
        await api.service.start()


Kill = Callable[[Api], Awaitable[None]]
each_death = pytest.mark.parametrize("kill", [kill_service, kill_daemons])


def in_vault(folder: Path, what: str) -> list[str]:
    """Return the names of the vault's objects of one kind."""
    return [name for _, _, names in os.walk(folder / "backups" / what) for name in names]


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something to become so."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - other processes give us no event
            await asyncio.sleep(0.002)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder."""
    made = tmp_path / "d"
    made.mkdir()
    return made


def with_service(folder: Path, story: Callable[[Api], Awaitable[None]]) -> None:
    """Tell a story of a service; in the end nothing is left of it, and nothing is wrong."""

    async def main() -> None:
        service = Service(folder)
        await service.start()
        http = httpx.AsyncClient(base_url=service.url, timeout=60)
        try:
            client = await log_in(http, *credentials(folder, admin=False))
            client.version = "3.50"
            api = Api(service, client)
            await story(api)
            for backup in (await api.call("GET", "/backups"))["backups"]:
                await api.call("DELETE", f"/backups/{backup['id']}")
                await api.until("backup", backup["id"], "gone")
            left = [name for what in ("chunks", "backups", "begun", "ended") for name in in_vault(folder, what)]
            assert left == []
            await until(lambda: service.daemons() == {})  # readers and writers go when nobody uses them
        finally:
            await http.aclose()
            await service.stop()

    asyncio.run(main())
    said = subprocess.run(
        [sys.executable, "-m", "openevs.cli", "doctor", "--data-folder", str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "All is well." in said.stdout, said


@each_death
def test_a_backup_that_is_being_made(folder: Path, kill: Kill) -> None:
    async def story(api: Api) -> None:
        volume_id, content = await api.volume(1)
        backup_id = await api.begin_backup(volume_id)
        await until(lambda: len(in_vault(folder, "chunks")) > BLOCKS // 16)
        await kill(api)
        assert in_vault(folder, "backups") == [], "it was done already: nothing was tested"
        await go_on(api, kill)
        await api.until("backup", backup_id, "available")
        assert len(in_vault(folder, "chunks")) <= BLOCKS + 1, "no chunk is there that no index names"
        other_id, _ = await api.volume(2, FEW)
        await api.begin_restore(backup_id, other_id)
        await api.until("volume", other_id, "available")
        assert await api.content_of(other_id) == content
        assert await api.content_of(volume_id) == content

    with_service(folder, story)


@each_death
def test_a_backup_that_is_being_restored(folder: Path, kill: Kill) -> None:
    async def story(api: Api) -> None:
        volume_id, content = await api.volume(1)
        other_id, _ = await api.volume(2, FEW)
        backup_id = await api.begin_backup(volume_id)
        await api.until("backup", backup_id, "available")
        made = json.loads((folder / "pool" / "volumes" / f"{other_id}.json").read_text())
        head = folder / "pool" / "layers" / f"{made['head']}.qcow2"
        before = head.stat().st_blocks
        await api.begin_restore(backup_id, other_id)
        await until(lambda: head.stat().st_blocks > before + BLOCKS // 16 * MIB // 512)
        await kill(api)
        written = head.stat().st_blocks - before
        assert written < BLOCKS * 3 // 4 * MIB // 512, "it was done already: nothing was tested"
        await go_on(api, kill)
        await api.until("volume", other_id, "available")
        assert await api.content_of(other_id) == content
        assert (await api.call("GET", f"/backups/{backup_id}"))["backup"]["status"] == "available"

    with_service(folder, story)
