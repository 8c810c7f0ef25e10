"""Daemons as processes."""

import os
import signal

import pytest

from tests.engine.layers.bench import Bench, on_bench


def test_a_daemon_that_has_ended_leaves_no_zombie() -> None:
    async def test(bench: Bench) -> None:
        pids = []
        volume_id = await bench.volume()
        for killed in (False, True):
            async with bench.served(volume_id):
                pids.append(bench.pid(volume_id))
                if killed:
                    os.kill(pids[-1], signal.SIGKILL)
        await bench.engine.read(volume_id, 0, 512)
        pids += [reader.daemon.pid or 0 for reader in bench.engine._opened().readers._open.values()]
        await bench.engine._opened().readers.close()
        assert len(pids) == 3
        for pid in pids:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)

    on_bench(test)
