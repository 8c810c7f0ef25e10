"""Snapshots, clones and roll-backs, byte by byte, while somebody writes, and with the engine lost between."""

import asyncio
import contextlib
import itertools
import os
import signal
from collections.abc import Awaitable, Callable

import pytest

from openevs.domain.ids import GIB, SnapshotId, VolumeId, new_uuid
from openevs.engine.errors import EngineError, OutcomeUnknown, Stale, Transient
from openevs.engine.layers import heads, inside, serving
from openevs.engine.layers.cut import cut
from openevs.engine.nbd import NbdClient, NbdError
from openevs.engine.port import SnapshotSpec, VolumeSpec
from tests.engine.layers.bench import BLOCK, Bench, on_bench, until


async def grow_a_tree(bench: Bench) -> tuple[dict[SnapshotId, str], dict[VolumeId, str]]:
    """Take, write, take, roll back, write, take, clone: three branches."""
    volume_id = await bench.volume()
    await bench.put(volume_id, 0, "a")
    first = await bench.snapshot(volume_id)
    await bench.put(volume_id, 1, "b")
    second = await bench.snapshot(volume_id)
    await bench.engine.ensure_reverted(volume_id, first, 1)
    await bench.put(volume_id, 2, "c")
    third = await bench.snapshot(volume_id)
    clone_id = await bench.clone(second, 2 * GIB)
    await bench.put(clone_id, 0, "d")
    await bench.put(volume_id, 0, "e")
    return {first: "a...", second: "ab..", third: "a.c."}, {volume_id: "e.c.", clone_id: "db.."}


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_tree_keeps_its_bytes_in_whatever_order_it_is_deleted(order: tuple[int, ...]) -> None:
    async def test(bench: Bench) -> None:
        snapshots, volumes = await grow_a_tree(bench)
        names = list(snapshots)
        for place in order:
            await bench.engine.ensure_no_snapshot(names[place])
            del snapshots[names[place]]
            await bench.engine.settle()
            for snapshot_id, text in snapshots.items():
                assert await bench.text(snapshot_id, 4) == text
            for volume_id, text in volumes.items():
                assert await bench.text(volume_id, 4) == text
        await bench.lose()
        assert [await bench.text(each, 4) for each in volumes] == list(volumes.values())
        for each in volumes:
            await bench.engine.ensure_no_volume(each)
        await bench.engine.settle()
        assert bench.layers() == []

    on_bench(test)


def test_a_live_snapshot_holds_the_bytes_of_its_moment() -> None:
    async def test(bench: Bench) -> None:
        volume_id = await bench.volume()
        async with bench.served(volume_id) as client:
            taken = []
            for number in range(12):
                await client.write(0, bytes([65 + number]) * BLOCK)
                taken.append(await bench.take(volume_id))
                assert taken[-1].cut_ms is not None
                assert taken[-1].stall_ms is not None
            await client.write(0, b"z" * BLOCK)
            for number, facts in enumerate(taken):
                assert await bench.text(facts.snapshot_id, 2) == f"{chr(65 + number)}."
            await bench.lose()
            again = await bench.engine.ensure_snapshot(SnapshotSpec(taken[3].snapshot_id, volume_id))
            assert again.taken_at == taken[3].taken_at
            assert again == await bench.engine.inspect_snapshot(taken[3].snapshot_id)

    on_bench(test)


async def connected(bench: Bench, volume_id: VolumeId) -> NbdClient:
    async with asyncio.timeout(10):
        while True:
            with contextlib.suppress(OSError):
                return await bench.connect(volume_id)
            await asyncio.sleep(0.01)


def test_flushed_writes_survive_a_killed_daemon() -> None:
    async def test(bench: Bench) -> None:
        volume_id = await bench.volume()
        client = await bench.connect(volume_id)
        await client.write(0, b"a" * BLOCK, fua=True)
        before = await bench.snapshot(volume_id)
        await client.write(BLOCK, b"b" * BLOCK)
        await client.flush()
        for _ in range(3):
            os.kill(bench.pid(volume_id), signal.SIGKILL)
            with pytest.raises(NbdError):
                await client.read(0, 512)
            await client.close()

            client = await connected(bench, volume_id)
            assert await client.read(0, 2 * BLOCK) == b"a" * BLOCK + b"b" * BLOCK
            await bench.take(volume_id)
        await client.close()
        await bench.engine.ensure_no_export(volume_id)
        assert await bench.text(before, 3) == "a.."
        assert await bench.text(volume_id, 3) == "ab."

    on_bench(test)


class LostError(Exception):
    """The process is killed here."""


async def _lost(*_: object, **__: object) -> None:
    raise LostError


async def lose_before_intent(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openevs.engine.layers.core.Core.commit", _lost)


async def lose_before_cut(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "cut", _lost)


async def lose_after_cut(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def cut_and_lose(*args: object) -> None:
        await cut(*args)  # type: ignore[arg-type]
        raise LostError

    monkeypatch.setattr(heads, "cut", cut_and_lose)


Loss = Callable[[Bench, pytest.MonkeyPatch], Awaitable[None]]


@pytest.mark.parametrize("daemon_too", [False, True], ids=["daemon_lives", "daemon_dies"])
@pytest.mark.parametrize("lose", [lose_before_intent, lose_before_cut, lose_after_cut])
def test_a_snapshot_that_was_cut_short_is_finished_by_a_repeat(
    lose: Loss, daemon_too: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(bench: Bench) -> None:
        volume_id = await bench.volume()
        client = await bench.connect(volume_id)
        await client.write(0, b"a" * BLOCK, fua=True)
        spec = SnapshotSpec(SnapshotId(new_uuid()), volume_id)
        with monkeypatch.context() as patch:
            await bench.engine.settle()
            await lose(bench, patch)
            with pytest.raises(LostError):
                await bench.engine.ensure_snapshot(spec)
        if lose is not lose_after_cut:
            await client.write(BLOCK, b"b" * BLOCK, fua=True)  # before any success: belongs to either side
        if daemon_too:
            os.kill(bench.pid(volume_id), signal.SIGKILL)
        await bench.lose()
        facts = await bench.engine.ensure_snapshot(spec)
        await client.close()
        client = await connected(bench, volume_id)
        await client.write(2 * BLOCK, b"c" * BLOCK, fua=True)
        assert await bench.engine.ensure_snapshot(spec) == facts
        expected = "a..." if lose is lose_after_cut else "ab.."
        assert await bench.text(spec.snapshot_id, 4) == expected
        assert await client.read(0, BLOCK) == b"a" * BLOCK
        later = await bench.snapshot(volume_id)
        await client.close()
        await bench.engine.ensure_no_export(volume_id)
        assert await bench.text(volume_id, 4) == expected[:2] + "c."
        await bench.engine.ensure_no_snapshot(spec.snapshot_id)
        await bench.engine.settle()
        assert await bench.text(later, 4) == expected[:2] + "c."

    on_bench(test)


def test_a_cut_that_was_never_made_can_be_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(bench: Bench) -> None:
        volume_id = await bench.volume()
        async with bench.served(volume_id) as client:
            await client.write(0, b"a" * BLOCK, fua=True)
            spec = SnapshotSpec(SnapshotId(new_uuid()), volume_id)

            async def unheard(*_: object) -> None:
                raise OutcomeUnknown("no answer")

            with monkeypatch.context() as patch:
                patch.setattr(heads, "cut", unheard)
                patch.setattr(inside.Inside, "active", unheard)
                with pytest.raises(OutcomeUnknown):
                    await bench.engine.ensure_snapshot(spec)
            assert spec.snapshot_id not in (await bench.engine.list_objects()).snapshots
            await bench.engine.ensure_no_snapshot(spec.snapshot_id)
            await client.write(BLOCK, b"b" * BLOCK, fua=True)
            later = await bench.snapshot(volume_id)
            assert await bench.text(later, 3) == "ab."
        assert await bench.text(volume_id, 3) == "ab."

    on_bench(test)


def test_a_refused_cut_leaves_everything_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(bench: Bench) -> None:
        volume_id = await bench.volume()
        async with bench.served(volume_id) as client:
            await bench.engine.settle()
            head = bench.state(volume_id).manifest.head

            async def refused(*_: object) -> None:
                raise EngineError("no")

            with monkeypatch.context() as patch:
                patch.setattr(heads, "cut", refused)
                with pytest.raises(EngineError):
                    await bench.take(volume_id)
            assert bench.state(volume_id).manifest.head == head
            assert (await bench.engine.list_objects()).snapshots == {}
            await client.write(0, b"a" * BLOCK)
            assert await bench.text(await bench.snapshot(volume_id), 2) == "a."

    on_bench(test)


def test_growing_and_rolling_back_shows_zeros_beyond_the_snapshot() -> None:
    async def test(bench: Bench) -> None:
        size = 1 << 20
        volume_id = await bench.volume(size)
        await bench.put(volume_id, 0, "a")
        snapshot_id = await bench.snapshot(volume_id)
        async with bench.served(volume_id):
            await bench.engine.ensure_volume_size(volume_id, 2 * size)
        last = 2 * size // BLOCK - 1
        await bench.put(volume_id, last, "z")
        await bench.engine.ensure_volume_size(volume_id, 3 * size)
        await bench.put(volume_id, last + 1, "y")
        await bench.engine.ensure_reverted(volume_id, snapshot_id, 1)
        assert (await bench.text(volume_id, 3 * size // BLOCK)).strip(".") == "a"
        await bench.engine.ensure_no_snapshot(snapshot_id)
        await bench.engine.settle()
        await bench.lose()
        assert (await bench.text(volume_id, 3 * size // BLOCK)).strip(".") == "a"
        with pytest.raises(Stale):
            await bench.engine.ensure_reverted(volume_id, snapshot_id, 0)
        assert (await bench.engine.ensure_reverted(volume_id, snapshot_id, 1)).size_bytes == 3 * size

    on_bench(test)


def test_clients_see_a_grown_size_once_none_is_left_that_saw_the_old(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(bench: Bench) -> None:
        volume_id = await bench.volume()
        client = await bench.connect(volume_id)
        await client.write(0, b"a" * BLOCK)
        await bench.engine.ensure_volume_size(volume_id, 2 * GIB)
        await client.write(BLOCK, b"b" * BLOCK, fua=True)  # it was not cut off
        await client.close()

        async def grown() -> bool:
            async with await connected(bench, volume_id) as late:  # there is a moment without an export
                size = late.size_bytes
            await asyncio.sleep(0.6)
            return size == 2 * GIB

        monkeypatch.setattr(serving, "_OUTGROWN_SECONDS", 0.1)
        await until(grown)
        client = await bench.connect(volume_id)
        await client.write(2 * GIB - BLOCK, b"z" * BLOCK, fua=True)
        assert await client.read(0, 3 * BLOCK) == b"a" * BLOCK + b"b" * BLOCK + bytes(BLOCK)
        await client.close()
        await bench.engine.ensure_no_export(volume_id)
        assert await bench.engine.read(volume_id, 2 * GIB - BLOCK, BLOCK) == b"z" * BLOCK

    on_bench(test)


async def grow_under_a_client(bench: Bench) -> tuple[VolumeId, NbdClient]:
    """Let a volume have a size that its client does not see, and a snapshot whose deletion takes a while."""
    volume_id = await bench.volume()
    client = await bench.connect(volume_id)
    await client.write(0, b"a" * BLOCK)
    first = await bench.snapshot(volume_id)
    for at in range(16):
        await client.write(at * (8 << 20), b"b" * (8 << 20))
    await bench.snapshot(volume_id)
    await bench.engine.ensure_volume_size(volume_id, 2 * GIB)
    await bench.engine.ensure_no_snapshot(first)
    return volume_id, client


async def sees(bench: Bench, volume_id: VolumeId, size_bytes: int) -> bool:
    async with await connected(bench, volume_id) as late:
        return late.size_bytes == size_bytes


def test_a_grown_size_is_shown_while_layers_are_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(bench: Bench) -> None:
        monkeypatch.setattr(serving, "_OUTGROWN_SECONDS", 0.02)
        volume_id, client = await grow_under_a_client(bench)
        merger = bench.engine._opened().merger
        async with asyncio.timeout(10):
            while merger._copy is None:  # noqa: ASYNC110 - a test
                await asyncio.sleep(0.001)
        await client.close()
        await until(lambda: asyncio.sleep(0.01, not bench.state(volume_id).outgrown))
        assert await sees(bench, volume_id, 2 * GIB)
        await bench.engine.settle()
        assert len(bench.layers()) <= 4, "the merge was made all the same"
        assert await sees(bench, volume_id, 2 * GIB)

    on_bench(test)


def test_a_volume_that_has_lost_its_export_while_its_size_was_shown_is_given_it_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(bench: Bench) -> None:
        monkeypatch.setattr(serving, "_OUTGROWN_SECONDS", 0.02)
        volume_id, client = await grow_under_a_client(bench)
        refusals = []

        async def refused(*_: object) -> None:
            refusals.append(1)
            raise Transient("busy")

        with monkeypatch.context() as patch:
            patch.setattr(inside.Inside, "export_anew", refused)
            await client.close()
            await until(lambda: asyncio.sleep(0.005, bool(refusals)))
        assert await sees(bench, volume_id, 2 * GIB)

    on_bench(test)


def test_sixteen_tebibytes() -> None:
    async def test(bench: Bench) -> None:
        size = 16 << 40
        volume_id = await bench.volume(size)
        async with bench.served(volume_id) as client:
            await client.write(size - BLOCK, b"z" * BLOCK)
            snapshot_id = await bench.snapshot(volume_id)
            await client.write(size - BLOCK, b"y" * BLOCK)
        assert await bench.engine.read(snapshot_id, size - BLOCK, BLOCK) == b"z" * BLOCK
        assert await bench.engine.read(volume_id, size - BLOCK, BLOCK) == b"y" * BLOCK
        assert bench.allocated() < 2 << 20

    on_bench(test)


def test_256_snapshots_of_an_idle_volume() -> None:
    async def test(bench: Bench) -> None:
        volume_id = await bench.volume()
        async with bench.served(volume_id) as client:
            await client.write(0, b"a" * BLOCK, fua=True)
            for _ in range(128):
                await bench.take(volume_id)
        for _ in range(128):
            last = await bench.snapshot(volume_id)
        async with bench.served(volume_id) as client:
            assert await client.read(0, BLOCK) == b"a" * BLOCK
        assert await bench.text(last, 2) == "a."
        assert len((await bench.engine.list_objects()).snapshots) == 256

    on_bench(test)


def test_a_volume_of_every_odd_size_is_itself() -> None:
    async def test(bench: Bench) -> None:
        for size in (512, GIB - 512, GIB + 512):
            volume_id = await bench.volume(size)
            async with bench.served(volume_id) as client:
                assert client.size_bytes == size
                await client.write(size - 512, b"x" * 512)
            assert await bench.engine.read(volume_id, size - 512, 512) == b"x" * 512
            assert await bench.engine.ensure_volume(VolumeSpec(volume_id, size))

    on_bench(test)
