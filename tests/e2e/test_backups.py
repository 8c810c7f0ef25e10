"""Backups of real volumes, whole and incremental, while somebody writes to them: every byte that is restored."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, cast

from openevs.compose import build_engine
from openevs.domain.ids import GIB, VolumeId
from openevs.engine.nbd import NbdClient
from openevs.engine.port import Reads
from openevs.testing.application import Client, Running, running, settings_for
from tests.api.asking import ok, refused
from tests.api.test_backups import ALL, back_up, restore

BLOCK_BYTES: Final = 64 << 10
PIECE_BYTES: Final = 16 << 20
BLOCKS: Final = GIB // BLOCK_BYTES
NOTHING: Final = bytes(BLOCK_BYTES)
LAYERS: Final = {("engine", "kind"): "layers"}
Content = dict[int, bytes]
"""Block → its bytes, for every block that is not all zeros."""


class Writer:
    """A client of an attached volume. It writes one block after the other, each when the one before is there, so what
    the volume held at any instant is what the first so many writes make."""

    def __init__(self, nbd: NbdClient) -> None:
        self.begun: list[tuple[int, bytes]] = []
        self.done = 0
        self._nbd = nbd
        self._random = random.Random(11)

    async def write(self) -> None:
        """Write one block, at times zeros, at times where it has written before."""
        again = bool(self.begun) and self._random.random() < 0.3
        block = self._random.choice(self.begun)[0] if again else self._random.randrange(BLOCKS)
        data = NOTHING if self._random.random() < 0.2 else self._random.randbytes(BLOCK_BYTES)
        self.begun.append((block, data))
        await self._nbd.write(block * BLOCK_BYTES, data)
        self.done += 1

    async def go_on(self) -> None:
        """Write until cancelled."""
        while True:
            await self.write()
            await asyncio.sleep(0.005)

    def held(self, found: Content, first: int, last: int) -> bool:
        """Say whether this is what the volume held after some number of writes from `first` to `last`."""
        content: Content = {}
        for number, (block, data) in enumerate(self.begun[:last]):
            if number >= first and content == found:
                return True
            content.pop(block, None)
            if data != NOTHING:
                content[block] = data
        return content == found


@asynccontextmanager
async def writing(client: Client, volume_id: str) -> AsyncIterator[Writer]:
    """Attach a volume and write to it, until the end of the block."""
    body = {"attachment": {"volume_uuid": volume_id, "connector": {"host": "here"}}}
    attached = (await ok(client, "POST", "/v3/{p}/attachments", body, 200))["attachment"]
    await ok(client, "POST", f"/v3/{{p}}/attachments/{attached['id']}/action", {"os-complete": {}}, 204)
    async with await NbdClient.connect(attached["connection_info"]["uri"]) as nbd:
        writer = Writer(nbd)
        for _ in range(100):
            await writer.write()
        task = asyncio.create_task(writer.go_on())
        try:
            yield writer
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    await ok(client, "DELETE", f"/v3/{{p}}/attachments/{attached['id']}", status=200)
    await client.until("volume", volume_id, "available")


async def content_of(run: Running, volume_id: str, size_gib: int = 1) -> Content:
    """Read all of a volume."""
    engine, found, nothing = cast(Reads, run.app.engine), {}, bytes(PIECE_BYTES)
    for start in range(0, size_gib * GIB, PIECE_BYTES):
        piece = await engine.read(VolumeId(volume_id), start, PIECE_BYTES)
        if piece == nothing:
            continue
        for offset in range(0, PIECE_BYTES, BLOCK_BYTES):
            block = bytes(piece[offset : offset + BLOCK_BYTES])
            if block != NOTHING:
                found[(start + offset) // BLOCK_BYTES] = block
    return found


def test_backups_of_a_volume_that_is_written_to_restore_every_byte(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, build_engine(settings_for(tmp_path, LAYERS)), LAYERS) as run:
            client = await run.client()
            client.version = "3.71"
            await story(run, client, tmp_path)

    asyncio.run(main())


async def story(run: Running, client: Client, folder: Path) -> None:
    volume_id = (await client.volume(1))["id"]
    larger_id = (await client.volume(2))["id"]
    made: list[tuple[dict[str, Any], int, int]] = []
    async with writing(client, volume_id) as writer:
        for incremental in (False, True, True):
            before = writer.done
            backup = await back_up(client, volume_id, incremental=incremental, force=True)
            made.append((backup, before, len(writer.begun)))
            assert len(writer.begun) > before  # it was written to meanwhile
            for _ in range(20):
                await writer.write()
    assert [backup["is_incremental"] for backup, _, _ in made] == [False, True, True]
    whole, middle, last = (backup["id"] for backup, _, _ in made)
    status, text = await refused(client, "DELETE", f"{ALL}/{middle}")
    assert (status, "on top of it" in text) == (400, True)

    held = {}
    for backup, first, latest in made:
        held[backup["id"]] = await content_of(run, await restore(client, backup["id"]))
        assert writer.held(held[backup["id"]], first, latest)
    assert held[whole] != held[middle] != held[last]

    await restore(client, middle, volume_id=volume_id)
    assert await content_of(run, volume_id) == held[middle]
    async with writing(client, larger_id):
        pass
    await restore(client, last, volume_id=larger_id)
    assert await content_of(run, larger_id, 2) == held[last]

    # What was restored into goes on from there.
    after = await back_up(client, volume_id, incremental=True)
    assert await content_of(run, await restore(client, after["id"])) == held[middle]

    for chunk in (folder / "backups" / "chunks").rglob("*"):
        if chunk.is_file():
            chunk.chmod(0o600)
            damaged = bytearray(chunk.read_bytes())
            damaged[len(damaged) // 2] ^= 1
            chunk.write_bytes(damaged)
    await ok(client, "POST", f"{ALL}/{last}/restore", {"restore": {"volume_id": larger_id}})
    await client.until("volume", larger_id, "error_restoring")
    await client.until("backup", last, "available")
    (message,) = (await client.get("/v3/{p}/messages"))["messages"]
    assert (message["resource_uuid"], message["message_level"]) == (larger_id, "ERROR")
