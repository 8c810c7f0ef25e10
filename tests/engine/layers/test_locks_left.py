"""The locks of a daemon that was killed: its process has ended for whoever looks at it, and holds its files until the
system has ended its requests."""

import fcntl
import os
import struct
from typing import BinaryIO

import pytest

from openevs.engine.errors import EngineError
from openevs.engine.layers import serving
from openevs.engine.layers.daemon import Daemon
from tests.engine.layers.bench import Bench, on_bench

_OFD_SETLK = 37
_SHARED_WRITE = 201
"""Byte of a layer: locked, nobody else may write. `RAW_LOCK_SHARED_BASE` of QEMU's `file-posix.c`, and its bit."""


def lock(layer: BinaryIO) -> None:
    fcntl.fcntl(layer, _OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, _SHARED_WRITE, 1, 0))


def test_they_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(bench: Bench) -> None:
        volume_id = await bench.volume()
        await bench.put(volume_id, 0, "a")
        head = bench.core.pool.layer_path(bench.state(volume_id).manifest.head).open("rb")
        execute, refused = Daemon.execute, []

        async def until_refused(self: Daemon, command: str, arguments: dict[str, object] | None = None) -> object:
            try:
                return await execute(self, command, arguments)
            except EngineError as error:
                refused.append(error.reason)
                head.close()
                raise

        monkeypatch.setattr(Daemon, "execute", until_refused)
        lock(head)
        async with bench.served(volume_id) as client:
            assert await client.read(0, 1) == b"a"
        assert any("lock" in reason for reason in refused)

    on_bench(test)


def test_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(bench: Bench) -> None:
        volume_id = await bench.volume()
        with bench.core.pool.layer_path(bench.state(volume_id).manifest.head).open("rb") as head:
            lock(head)
            with pytest.raises(EngineError, match="lock"):
                await bench.connect(volume_id)
        async with bench.served(volume_id):
            pass

    monkeypatch.setattr(serving, "_LOCK_SECONDS", 0.05)
    on_bench(test)
