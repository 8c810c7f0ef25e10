"""The NBD client against a real server (qemu-storage-daemon)."""

import asyncio
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from openevs.engine.nbd import NbdClient, NbdError

SIZE = 64 << 20


@pytest.fixture
def uri(tmp_path: Path) -> Iterator[str]:
    disk, socket = tmp_path / "disk", tmp_path / "s"
    disk.touch()
    with disk.open("r+b") as file:
        file.truncate(SIZE)
    server = subprocess.Popen(
        ["qemu-storage-daemon", "--blockdev", f"driver=file,filename={disk},node-name=n,discard=unmap",
         "--nbd-server", f"addr.type=unix,addr.path={socket},max-connections=0",
         "--export", "type=nbd,id=e,node-name=n,name=disk,writable=on"]
    )  # fmt: skip
    while not socket.exists():
        time.sleep(0.005)
    yield f"nbd+unix:///disk?socket={socket}"
    server.kill()
    server.wait()


def test_reads_back_what_was_written(uri: str) -> None:
    async def main() -> None:
        async with await NbdClient.connect(uri) as client:
            assert client.size_bytes == SIZE
            assert not client.read_only
            await client.write(4096, b"a" * 8192, fua=True)
            await client.flush()
            assert await client.read(0, 16384) == bytes(4096) + b"a" * 8192 + bytes(4096)
            await client.touch()
            await client.write_zeroes(4096, 4096)
            await client.trim(0, 4096)
            assert await client.read(4096, 8192) == bytes(4096) + b"a" * 4096
            assert await client.read(0, SIZE) == bytes(8192) + b"a" * 4096 + bytes(SIZE - 12288)

    asyncio.run(main())


def test_many_requests_in_flight(uri: str) -> None:
    async def main() -> None:
        async with await NbdClient.connect(uri) as client:
            await asyncio.gather(*(client.write(i * 4096, bytes([i]) * 4096) for i in range(200)))
            found = await asyncio.gather(*(client.read(i * 4096, 4096) for i in range(200)))
            assert [data[0] for data in found] == list(range(200))

    asyncio.run(main())


def test_errors_have_an_errno(uri: str) -> None:
    async def main() -> None:
        client = await NbdClient.connect(uri)
        with pytest.raises(NbdError) as refused:
            await client.read(SIZE, 512)
        assert refused.value.errno == 22
        assert await client.read(0, 512) == bytes(512)
        await client.close()
        await client.close()
        with pytest.raises(NbdError) as closed:
            await client.read(0, 512)
        assert closed.value.errno == 107
        with pytest.raises(NbdError) as unknown:
            await NbdClient.connect(uri.replace("/disk?", "/other?"))
        assert unknown.value.errno == 2
        with pytest.raises(ValueError, match="not an NBD URI"):
            await NbdClient.connect("nbds://somewhere/x")

    asyncio.run(main())
