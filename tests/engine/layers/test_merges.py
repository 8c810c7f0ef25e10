"""Giving space back: live, detached, broken off, and lost at each step."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from openevs.domain.ids import VolumeId
from openevs.engine.layers.core import Core, Volume
from openevs.engine.layers.daemon import Daemon
from openevs.engine.layers.graph import LayerId, Merge
from openevs.engine.layers.merge import Merger
from openevs.engine.layers.pool import Pool
from openevs.engine.layers.serving import Serving
from openevs.engine.nbd import NbdClient
from tests.engine.layers.bench import BLOCK, Bench, on_bench

MIB = 1 << 20


async def fill(client: NbdClient, mib: int, letter: bytes) -> None:
    for at in range(0, mib, 8):
        await client.write(at * MIB, letter * 8 * MIB)
    await client.flush()


def test_space_comes_back_when_a_snapshot_is_deleted() -> None:
    async def test(bench: Bench) -> None:
        volume_id = await bench.volume()
        async with bench.served(volume_id) as client:
            await fill(client, 32, b"a")
            first = await bench.snapshot(volume_id)
            await fill(client, 32, b"b")
            second = await bench.snapshot(volume_id)
            await fill(client, 32, b"c")
            full = bench.allocated()
            await bench.engine.ensure_no_snapshot(first)
            await bench.engine.settle()
            assert bench.allocated() < full - 31 * MIB
            assert await bench.engine.read(second, 0, 32 * MIB) == b"b" * 32 * MIB
            await bench.engine.ensure_no_snapshot(second)
            await bench.engine.settle()
            assert bench.allocated() < full - 62 * MIB, "the live head was merged too"
            assert await client.read(0, 32 * MIB) == b"c" * 32 * MIB
        await bench.engine.settle()
        assert await bench.engine.read(volume_id, 0, 32 * MIB) == b"c" * 32 * MIB
        assert len(bench.layers()) == 1

    on_bench(test, merge_head_bytes=MIB)


def test_a_merge_takes_no_more_room_than_what_it_moves() -> None:
    async def test(bench: Bench) -> None:
        volume_id = await bench.volume()
        await bench.put(volume_id, 0, "a")
        middle = await bench.snapshot(volume_id)
        async with bench.served(volume_id) as client:
            for block in range(64):
                await client.write(block * 131072, b"b" * BLOCK)
        before = bench.allocated()
        await bench.engine.ensure_no_snapshot(middle)
        await bench.engine.settle()
        assert bench.allocated() <= before
        assert len(bench.layers()) == 1

    on_bench(test)


@pytest.mark.parametrize("served", [True, False], ids=["live", "detached"])
def test_a_call_breaks_a_merge_off_and_goes_on(served: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would wait for ever for the copy."""

    async def test(bench: Bench) -> None:
        copying, wait = asyncio.Event(), Serving.wait_job

        async def endless(self: Serving, daemon: Daemon, job_id: str, *wanted: str) -> dict[str, Any]:
            if "pending" in wanted and not copying.is_set():
                copying.set()
                await asyncio.Event().wait()
            return await wait(self, daemon, job_id, *wanted)

        monkeypatch.setattr(Serving, "wait_job", endless)
        volume_id = await bench.volume()
        client = await bench.connect(volume_id)
        await fill(client, 8, b"a")
        first = await bench.snapshot(volume_id)
        await fill(client, 96, b"b")
        second = await bench.snapshot(volume_id)
        if not served:
            await client.close()
            await bench.engine.ensure_no_export(volume_id)
        await bench.engine.ensure_no_snapshot(first)
        await copying.wait()
        if served:
            await bench.snapshot(volume_id)
        else:
            client = await bench.connect(volume_id)
        await client.write(0, b"c" * BLOCK, fua=True)
        await bench.engine.settle()
        assert await bench.text(second, 2) == "bb"
        assert await client.read(0, 2 * BLOCK) == b"c" * BLOCK + b"b" * BLOCK
        await client.close()
        await bench.engine.ensure_no_export(volume_id)
        assert await bench.engine.read(second, 0, 96 * MIB) == b"b" * 96 * MIB

    on_bench(test)


@pytest.mark.parametrize("whose", ["another volume's", "its own volume's"])
def test_a_deletion_gives_its_space_back_while_a_copy_goes_on(whose: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies of large volumes take minutes."""

    async def test(bench: Bench) -> None:
        copying, going_on = asyncio.Event(), asyncio.Event()
        wait = Serving.wait_job

        async def long_wait(self: Serving, daemon: Daemon, job_id: str, *wanted: str) -> dict[str, Any]:
            copying.set()
            await going_on.wait()
            return await wait(self, daemon, job_id, *wanted)

        monkeypatch.setattr(Serving, "wait_job", long_wait)
        merged, other = await bench.volume(), await bench.volume()
        await bench.put(merged, 0, "a")
        snapshot = await bench.snapshot(merged)
        await bench.put(merged, 1, "b")
        await bench.put(other, 0, "c")
        await bench.engine.ensure_no_snapshot(snapshot)
        await copying.wait()
        heads = {volume: bench.core.pool.layer_path(bench.state(volume).manifest.head) for volume in (merged, other)}
        deleted, kept = (other, merged) if whose == "another volume's" else (merged, other)
        await bench.engine.ensure_no_volume(deleted)
        async with asyncio.timeout(20):
            while heads[deleted].exists():  # noqa: ASYNC110 - a test
                await asyncio.sleep(0.01)
        assert not going_on.is_set()
        going_on.set()
        await bench.engine.settle()
        assert await bench.text(kept, 2) == {merged: "ab", other: "c."}[kept]
        assert len(bench.layers()) == 1

    on_bench(test)


def test_a_copy_that_ends_while_something_is_removed_is_waited_for_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(bench: Bench) -> None:
        merger, going_on = bench.engine._opened().merger, asyncio.Event()
        copy = asyncio.create_task(going_on.wait())

        async def remove() -> None:
            going_on.set()
            await copy
            bench.core.bell.clear()  # a look at everything begins

        monkeypatch.setattr(merger, "remove_orphans", remove)
        monkeypatch.setattr(merger, "_still_due", lambda merge: True)
        bench.core.bell.set()
        async with asyncio.timeout(5):
            await merger._remove_meanwhile(Merge(LayerId("lower"), LayerId("upper")), copy)

    on_bench(test, merge=False)


def test_a_merge_that_is_whole_is_moved_before_its_volume_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """The volume's daemon has just been started, and has nothing open: the layer that it is about to open must be the
    one that took the other's place, or what clients write goes with the other."""

    async def test(bench: Bench) -> None:
        volume_id = await bench.volume()
        await bench.put(volume_id, 0, "a")
        first = await bench.snapshot(volume_id)
        await bench.put(volume_id, 1, "b")
        loop, noted, started = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
        note, spawn = Pool.note_merged, Daemon.spawn

        def slow_note(self: Pool, upper: LayerId, lower: LayerId) -> None:
            note(self, upper, lower)
            loop.call_soon_threadsafe(noted.set)
            assert started.wait(20)

        async def seen_spawn(self: Daemon, *given: Any) -> None:
            await spawn(self, *given)
            if noted.is_set():
                started.set()

        monkeypatch.setattr(Pool, "note_merged", slow_note)
        monkeypatch.setattr(Daemon, "spawn", seen_spawn)
        await bench.engine.ensure_no_snapshot(first)
        await asyncio.wait_for(noted.wait(), 20)
        async with bench.served(volume_id) as client:
            await client.write(2 * BLOCK, b"c" * BLOCK, fua=True)
        await bench.engine.settle()
        assert await bench.text(volume_id, 3) == "abc"

    on_bench(test)


def test_layers_open_in_two_daemons_are_left_alone() -> None:
    async def test(bench: Bench) -> None:
        source = await bench.volume()
        await bench.put(source, 0, "a")
        first = await bench.snapshot(source)
        await bench.put(source, 1, "b")
        second = await bench.snapshot(source)
        clone = await bench.clone(second)
        async with bench.served(source) as one, bench.served(clone) as other:
            await bench.engine.ensure_no_snapshot(first)
            await bench.engine.settle()
            await one.write(2 * BLOCK, b"c" * BLOCK)
            await other.write(2 * BLOCK, b"d" * BLOCK)
            assert await bench.text(second, 3) == "ab."
            layers = len(bench.layers())
        await bench.engine.settle()
        assert len(bench.layers()) < layers
        assert [await bench.text(each, 4) for each in (source, clone, second)] == ["abc.", "abd.", "ab.."]

    on_bench(test)


class LostError(Exception):
    """The process is killed here."""


def losing(method: Callable[..., Any]) -> Callable[..., Any]:
    async def lost(*_: object, **__: object) -> None:
        raise LostError

    def lost_in_thread(*_: object, **__: object) -> None:
        raise LostError

    return lost if asyncio.iscoroutinefunction(method) else lost_in_thread


def before_finalizing(patch: pytest.MonkeyPatch) -> None:
    execute = Daemon.execute

    async def lost(self: Daemon, command: str, arguments: Any = None) -> Any:
        if command == "job-finalize":
            raise LostError
        return await execute(self, command, arguments)

    patch.setattr(Daemon, "execute", lost)


def before_noting(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Pool, "note_merged", losing(Pool.note_merged))


def before_moving(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Merger, "_move", losing(Merger._move))


def between_moves(patch: pytest.MonkeyPatch) -> None:
    commit = Core.commit

    async def lost(self: Core, volume: Volume, **changes: Any) -> None:
        if "head" in changes:
            raise LostError
        await commit(self, volume, **changes)

    patch.setattr(Core, "commit", lost)


def before_removing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Pool, "remove_layer", losing(Pool.remove_layer))


@pytest.mark.parametrize("served", [True, False], ids=["live", "detached"])
@pytest.mark.parametrize("lose", [before_noting, before_finalizing, before_moving, between_moves, before_removing])
def test_a_merge_lost_at_any_step_is_finished_by_the_next_process(
    lose: Callable[[pytest.MonkeyPatch], None], served: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(bench: Bench) -> None:
        volume_id = await bench.volume()
        await bench.put(volume_id, 0, "a")
        first = await bench.snapshot(volume_id)
        await bench.put(volume_id, 1, "b")
        second = await bench.snapshot(volume_id)
        clone = await bench.clone(second)
        await bench.put(volume_id, 2, "c")
        client = await bench.connect(volume_id) if served else None
        with monkeypatch.context() as patch:
            lose(patch)
            await bench.engine.ensure_no_snapshot(first)
            loop = bench.engine._opened().merger._loop
            assert loop is not None
            await asyncio.wait({loop}, timeout=0.7)
            await check(bench, volume_id, client, "abc.")
        await bench.lose()
        await check(bench, volume_id, client, "abc.")
        await bench.engine.settle()
        if client is not None:
            await client.write(3 * BLOCK, b"d" * BLOCK, fua=True)
            await check(bench, volume_id, client, "abcd")
            await client.close()
            await bench.engine.ensure_no_export(volume_id)
            await bench.engine.settle()
        assert await bench.text(second, 4) == "ab.."
        assert await bench.text(clone, 4) == "ab.."
        assert await bench.text(volume_id, 4) == ("abcd" if served else "abc.")
        assert len(bench.layers()) == 3

    on_bench(test)


async def check(bench: Bench, volume_id: VolumeId, client: NbdClient | None, text: str) -> None:
    if client is None:
        assert await bench.text(volume_id, 4) == text
    else:
        data = await client.read(0, 4 * BLOCK)
        assert "".join(chr(byte) if byte else "." for byte in data[::BLOCK]) == text
