"""Served volumes use Linux AIO where they can, and are served where they cannot."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from openevs.domain.ids import VolumeId
from openevs.engine.layers import aio
from openevs.engine.layers.core import Core
from openevs.engine.layers.graph import LayerId
from tests.engine.layers.bench import Bench, on_bench

KernelWith = Callable[[int, int], None]


@pytest.fixture
def kernel_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KernelWith:
    """Let the kernel say that so many requests are taken, of so many."""

    def pretend(taken: int, most: int) -> None:
        (tmp_path / "aio-nr").write_text(f"{taken}\n")
        (tmp_path / "aio-max-nr").write_text(f"{most}\n")
        monkeypatch.setattr(aio, "_KERNEL", tmp_path)

    return pretend


def is_native(bench: Bench, volume_id: VolumeId) -> bool:
    return "[aio]" in Path(f"/proc/{bench.pid(volume_id)}/maps").read_text()


async def serve(bench: Bench) -> bool:
    """Serve a volume, with a snapshot; say whether that is done with Linux AIO."""
    volume_id = await bench.volume()
    async with bench.served(volume_id) as client:
        await client.write(0, b"before".ljust(512))
        snapshot = await bench.snapshot(volume_id)
        await client.write(0, b"after".ljust(512))
        await client.flush()
        assert (await bench.engine.read(snapshot, 0, 6), await client.read(0, 5)) == (b"before", b"after")
        return is_native(bench, volume_id)


def test_it_is_used_where_there_is_direct_io(kernel_with: KernelWith) -> None:
    async def test(bench: Bench) -> None:
        assert await serve(bench) is bench.core.direct

    kernel_with(31 * 1024, 64 * 1024)
    on_bench(test)


def test_half_of_what_the_kernel_has_is_left_to_others(kernel_with: KernelWith) -> None:
    async def test(bench: Bench) -> None:
        assert await serve(bench) is False

    kernel_with(31 * 1024 + 1, 64 * 1024)
    on_bench(test)


def test_a_kernel_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aio, "_KERNEL", tmp_path)
    assert aio.has_room() is False


def test_a_file_for_which_qemu_refuses_it_is_served_by_threads(
    kernel_with: KernelWith, monkeypatch: pytest.MonkeyPatch
) -> None:
    file_node = Core.file_node

    def cached(self: Core, layer: LayerId, **options: object) -> dict[str, Any]:
        return {**file_node(self, layer, **options), "cache": {"direct": False}}

    async def test(bench: Bench) -> None:
        bench.core.direct = True  # so it is tried; and QEMU says that it wants direct I/O for it
        assert await serve(bench) is False

    kernel_with(0, 64 * 1024)
    monkeypatch.setattr(Core, "file_node", cached)
    on_bench(test)
