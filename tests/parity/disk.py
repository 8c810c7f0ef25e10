"""What a consumer does with a connection: open the NBD URI and read or write."""

import asyncio

from openevs.engine.nbd import NbdClient


def write_at(uri: str, offset_bytes: int, data: bytes) -> None:
    """Write and flush."""

    async def write() -> None:
        client = await NbdClient.connect(uri)
        await client.write(offset_bytes, data)
        await client.flush()
        await client.close()

    asyncio.run(write())


def read_at(uri: str, offset_bytes: int, length_bytes: int) -> bytes:
    """Read."""

    async def read() -> bytes:
        client = await NbdClient.connect(uri)
        data = await client.read(offset_bytes, length_bytes)
        await client.close()
        return data

    return asyncio.run(read())
