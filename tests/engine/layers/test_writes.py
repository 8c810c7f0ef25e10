"""Writing without a client: nobody is told that what was written is safe unless it is, whoever failed between."""

import asyncio
import os
import signal

import pytest

from openevs.domain.ids import VolumeId
from openevs.engine.errors import EngineError, Transient
from openevs.engine.layers.reads import Reader
from openevs.engine.nbd import NbdClient
from tests.engine.layers.bench import BLOCK, Bench, on_bench


def writer_of(bench: Bench, volume_id: VolumeId) -> Reader:
    opened = bench.engine._open
    assert opened is not None
    writer = opened.readers.writer(bench.state(volume_id).manifest.head)
    assert writer is not None
    return writer


def kill(writer: Reader) -> None:
    assert writer.daemon.pid is not None
    os.kill(writer.daemon.pid, signal.SIGKILL)


def test_writes_that_were_lost_are_told_though_others_followed() -> None:
    async def test(bench: Bench) -> None:
        volume_id = await bench.volume()
        await bench.engine.write(volume_id, 0, b"a" * BLOCK)
        kill(writer_of(bench, volume_id))
        for _ in range(2):  # by the connection, then by letting go of it
            with pytest.raises(EngineError):
                await bench.engine.write(volume_id, BLOCK, b"b" * BLOCK)
        await bench.engine.write(volume_id, BLOCK, b"b" * BLOCK)
        with pytest.raises(Transient, match="write it again"):
            await bench.engine.flush(volume_id)
        await bench.engine.write(volume_id, 0, b"a" * BLOCK)
        await bench.engine.write(volume_id, BLOCK, b"b" * BLOCK)
        await bench.engine.flush(volume_id)
        assert await bench.text(volume_id, 3) == "ab."

    on_bench(test)


def test_a_writer_that_ended_unused_is_told_to_who_flushes_and_to_nobody_else() -> None:
    async def test(bench: Bench) -> None:
        volume_id = await bench.volume()
        await bench.engine.write(volume_id, 0, b"a" * BLOCK)
        writer = writer_of(bench, volume_id)
        kill(writer)
        while writer.daemon.alive():
            pass
        for _ in range(8):  # as many as make room for each other
            assert await bench.text(await bench.volume(), 1) == "."
        with pytest.raises(Transient, match="write it again"):
            await bench.engine.flush(volume_id)
        await bench.engine.flush(volume_id)

    on_bench(test, reader_idle_seconds=60.0)


def test_nothing_is_safe_before_who_lets_go_of_it_has_flushed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(bench: Bench) -> None:
        flush, flushing, go_on = NbdClient.flush, asyncio.Event(), asyncio.Event()

        async def slow(client: NbdClient) -> None:
            flushing.set()
            await go_on.wait()
            await flush(client)

        volume_id = await bench.volume()
        await bench.engine.write(volume_id, 0, b"a" * BLOCK)
        opened = bench.engine._open
        assert opened is not None
        with monkeypatch.context() as patched:
            patched.setattr(NbdClient, "flush", slow)
            # As is done with whoever is not used for a while.
            letting_go = asyncio.create_task(opened.readers.drop(bench.state(volume_id).manifest.head))
            await flushing.wait()
            told = asyncio.create_task(bench.engine.flush(volume_id))
            await asyncio.sleep(0.2)
            assert not told.done()
            go_on.set()
            await asyncio.gather(letting_go, told)

        await bench.engine.write(volume_id, 0, b"b" * BLOCK)
        go_on.clear()
        flushing.clear()
        with monkeypatch.context() as patched:
            patched.setattr(NbdClient, "flush", slow)
            letting_go = asyncio.create_task(opened.readers.drop(bench.state(volume_id).manifest.head))
            await flushing.wait()
            letting_go.cancel()
            await asyncio.gather(letting_go, return_exceptions=True)
        with pytest.raises(Transient, match="write it again"):
            await bench.engine.flush(volume_id)

    on_bench(test)


def test_a_writer_that_ended_while_it_was_left_alone_is_told() -> None:
    async def test(bench: Bench) -> None:
        volume_id = await bench.volume()
        await bench.engine.write(volume_id, 0, b"a" * BLOCK)
        kill(writer_of(bench, volume_id))
        opened = bench.engine._open
        assert opened is not None
        with pytest.raises(Transient):
            await opened.readers.drop(bench.state(volume_id).manifest.head)
        await bench.engine.write(volume_id, BLOCK, b"b" * BLOCK)
        with pytest.raises(Transient, match="write it again"):
            await bench.engine.flush(volume_id)

    on_bench(test)
