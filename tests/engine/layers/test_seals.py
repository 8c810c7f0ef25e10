"""Seals: a frozen layer may be written by nobody soon after the cut, and before anything else opens it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from openevs.domain.ids import VolumeId
from openevs.engine.layers import serving
from openevs.engine.layers.exports import node_name
from openevs.engine.nbd import NbdClient
from openevs.engine.port import ExportSpec
from tests.engine.layers.bench import BLOCK, Bench, on_bench, until


async def writable(bench: Bench, volume_id: VolumeId) -> list[bool]:
    """Return of each layer of the volume, from the head down, whether its daemon could write it."""
    state = bench.state(volume_id)
    assert state.daemon is not None
    nodes = {node["node-name"]: node for node in await state.daemon.execute("query-named-block-nodes", {"flat": True})}
    return [not nodes[node_name(layer)]["ro"] for layer in bench.core.chain(state.manifest.head)]


def unsealed(bench: Bench, volume_id: VolumeId) -> int:
    host = bench.state(volume_id).host
    assert host is not None
    return len(host.unsealed)


def test_what_was_frozen_is_read_only_soon_after() -> None:
    async def test(bench: Bench) -> None:
        volume_id = await bench.volume()
        async with bench.served(volume_id) as client:
            for letter in b"abc":
                await client.write(0, bytes([letter]) * BLOCK)
                await bench.snapshot(volume_id)
            assert unsealed(bench, volume_id)

            async def sealed() -> bool:
                return await writable(bench, volume_id) == [True, False, False, False]

            await until(sealed)
            assert not unsealed(bench, volume_id)
            await client.write(0, b"d" * BLOCK, fua=True)
        assert await bench.text(volume_id, 1) == "d"

    on_bench(test)


@asynccontextmanager
async def just_frozen(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[VolumeId, NbdClient]]:
    """Give a volume made from a snapshot that is not sealed, nor would be by the way, and the snapshot's own client."""
    monkeypatch.setattr(serving, "_TIDY_SECONDS", 30.0)
    volume_id = await bench.volume()
    async with bench.served(volume_id) as client:
        await client.write(0, b"a" * BLOCK)
        snapshot_id = await bench.snapshot(volume_id)
        assert unsealed(bench, volume_id)
        yield await bench.clone(snapshot_id), client
        assert await writable(bench, volume_id) == [True, False]


def test_a_volume_made_from_it_at_once_can_be_opened_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(bench: Bench) -> None:
        async with (
            just_frozen(bench, monkeypatch) as (clone_id, client),
            bench.served(clone_id) as other,  # QEMU would refuse to open what another process may write
        ):
            await client.write(0, b"b" * BLOCK)
            assert await other.read(0, BLOCK) == b"a" * BLOCK

    on_bench(test)


def test_a_detached_volume_made_from_it_can_be_written_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(bench: Bench) -> None:
        async with just_frozen(bench, monkeypatch) as (clone_id, _):
            await bench.engine.write(clone_id, BLOCK, b"b" * BLOCK)
            await bench.engine.flush(clone_id)
            assert await bench.text(clone_id, 2) == "ab"

    on_bench(test)


def test_the_next_process_seals_what_the_last_one_had_not(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(bench: Bench) -> None:
        volume_id = await bench.volume()
        with monkeypatch.context() as patch:
            patch.setattr(serving, "_TIDY_SECONDS", 30.0)
            await bench.engine.ensure_export(ExportSpec(volume_id))
            await bench.snapshot(volume_id)
            assert await writable(bench, volume_id) == [True, True]
        await bench.lose()

        async def sealed() -> bool:
            return await writable(bench, volume_id) == [True, False]

        await until(sealed)

    on_bench(test)


def test_a_snapshot_deleted_at_once_is_merged() -> None:
    async def test(bench: Bench) -> None:
        volume_id = await bench.volume()
        async with bench.served(volume_id) as client:
            await client.write(0, b"a" * BLOCK)
            first = await bench.snapshot(volume_id)
            await client.write(BLOCK, b"b" * BLOCK)
            second = await bench.snapshot(volume_id)
            await bench.engine.ensure_no_snapshot(first)
            await bench.engine.settle()
            assert len(bench.core.chain(bench.state(volume_id).manifest.head)) == 2
            assert await bench.text(second, 2) == "ab"

            async def sealed() -> bool:
                return await writable(bench, volume_id) == [True, False]

            await until(sealed)
            await client.write(0, b"c" * BLOCK)
        assert await bench.text(volume_id, 2) == "cb"
        assert await bench.text(second, 2) == "ab"

    on_bench(test)
