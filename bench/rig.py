"""What the measurements share: a folder, a service in it, volumes that are attached and have data on them."""

import asyncio
import random
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bench.client import QuickClient
from openevs.demo.api import Api, Attached
from openevs.demo.service import Service
from openevs.engine.nbd import NbdClient

LEAST_FREE_BYTES = 20 << 30
GIB = 1 << 30


class Rig(NamedTuple):
    """A place to measure in."""

    folder: Path
    quick: bool

    def rounds(self, full: int) -> int:
        """Return how many rounds to make where a full run makes `full`."""
        return max(3, full // 10) if self.quick else full


class Running(NamedTuple):
    """A running service and two clients of it: one to prepare things, one to measure with."""

    service: Service
    api: Api
    client: QuickClient


@contextmanager
def folder_for(parent: Path | None) -> Iterator[Path]:
    """Make a folder on the disk that is to be measured, and remove it in the end. Raises SystemExit without room."""
    folder = Path(tempfile.mkdtemp(prefix="openevs-bench-", dir=parent))
    try:
        free = shutil.disk_usage(folder).free
        if free < LEAST_FREE_BYTES:
            raise SystemExit(f"{folder} has {free / GIB:.0f} GiB free; the bench wants {LEAST_FREE_BYTES / GIB:.0f}.")
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running(folder: Path, settings: Mapping[str, str] | None = None, prefix: tuple[str, ...] = ()) -> Iterator[Running]:
    """Run a service in `folder`; detach everything and remove the folder afterwards."""
    given = {"LOG_LEVEL": "warning", **(settings or {})}
    try:
        with Service(folder, given, prefix) as service:
            api = service.log_in()
            try:
                with QuickClient(api) as client:
                    yield Running(service, api, client)
            finally:
                api.clear()
                api.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Disk(NamedTuple):
    """An attached volume."""

    volume_id: str
    attached: Attached


def attached_disk(api: Api, size_gib: int, writes: int = 2000) -> Disk:
    """Make a volume, attach it, and write 4 KiB blocks all over it."""
    volume_id = api.make_volume(size_gib)
    attached = api.attach(volume_id)
    scatter_now(attached.uri, writes)
    return Disk(volume_id, attached)


def scatter_now(uri: str, writes: int = 2000, seed: int = 1) -> None:
    """Write that many 4 KiB blocks to places all over a volume, flushed: the same places relative to its size."""
    asyncio.run(_scatter(uri, writes, seed))


async def _scatter(uri: str, writes: int, seed: int) -> None:
    places = random.Random(seed)  # noqa: S311 - repeatable, nothing secret
    async with await NbdClient.connect(uri) as client:
        blocks = client.size_bytes // 4096
        for _ in range(writes):
            await client.write(int(places.random() * blocks) * 4096, b"\x5a" * 4096)
        await client.flush()
