"""Daemons as processes."""

import asyncio
import ctypes
import os
import platform
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from openevs.domain.ids import VolumeId
from openevs.engine.errors import Transient
from openevs.engine.layers import LayersSettings, slices
from openevs.engine.layers.daemon import Daemon, RunFiles, _born
from tests.engine.layers.bench import Bench, on_bench, until

SLOW_START = """#!{python}
import json, os, sys
os.environ["WORDS"] = json.dumps(sys.argv[1:])
rest = "import json, os, time; time.sleep(0.3); os.execv('{program}', ['{name}', *json.loads(os.environ['WORDS'])])"
os.execv(sys.executable, [sys.executable, "-c", rest])
"""


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


@asynccontextmanager
async def unreached(folder: Path) -> AsyncIterator[Daemon]:
    """Start a daemon, and let it wait for whoever reaches it first."""
    daemon = Daemon(RunFiles(folder, "d"), LayersSettings())

    async def waits() -> bool:
        return "waiting for connection" in daemon.files.log.read_text()

    daemon.pid = daemon._spawn([], folder)
    try:
        await until(waits)
        yield daemon
    finally:
        await daemon.kill()


def test_a_daemon_does_nothing_until_it_is_reached(tmp_path: Path) -> None:
    """Its socket goes from one of its threads to another, and that is no moment for anybody to come."""

    async def test() -> None:
        async with unreached(tmp_path) as daemon:
            assert not daemon.files.trigger.exists()
            await daemon.connect()
            assert daemon.files.trigger.exists()

    asyncio.run(test())


def test_that_it_waited_is_not_why_a_daemon_has_ended(tmp_path: Path) -> None:
    async def test() -> None:
        async with unreached(tmp_path) as daemon:
            assert daemon.pid is not None
            os.kill(daemon.pid, signal.SIGKILL)
            assert await daemon.wait_gone()
            with pytest.raises(Transient, match="ended at its start"):
                await daemon._try_connect()

    asyncio.run(test())


def test_a_daemon_that_still_has_another_command_line_is_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process turns from one program into another; what it says of itself meanwhile is not that it has ended."""
    program = tmp_path / "qemu-storage-daemon"
    found = shutil.which(program.name)
    program.write_text(SLOW_START.format(python=sys.executable, program=found, name=program.name))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    async def test(bench: Bench) -> None:
        volume_id = await bench.volume()
        async with bench.served(volume_id) as client:
            await client.write(0, b"x" * 512, fua=True)
        assert bench.core.volumes[volume_id].daemon is None

    on_bench(test)


@pytest.mark.parametrize("killed", ["the other", "the first", "none"])
def test_two_daemons_of_one_volume_become_one(killed: str) -> None:
    """A service that was killed as it started a daemon may leave one that nobody knows: it does not come between."""

    async def test(bench: Bench) -> None:
        volume_id = await bench.volume()
        async with await bench.connect(volume_id) as client:
            await client.write(0, b"x" * 512, fua=True)
        first = bench.pid(volume_id)
        other = await asyncio.to_thread(start_another, bench, volume_id)
        await bench.die()
        if killed != "none":
            doomed = other if killed == "the other" else first
            os.kill(doomed, signal.SIGKILL)
            await asyncio.to_thread(os.waitpid, doomed, 0)
        await bench.reopen()
        async with await bench.connect(volume_id) as client:
            assert await client.read(0, 512) == b"x" * 512
        (left,) = {pid for pid in (first, other, bench.pid(volume_id)) if runs(pid)}
        assert left == bench.pid(volume_id)

    on_bench(test)


def start_another(bench: Bench, volume_id: VolumeId) -> int:
    """Start a daemon with the words of the one that serves a volume: it takes the place of its socket, and waits."""
    daemon = bench.state(volume_id).daemon
    assert daemon is not None
    words = Path(f"/proc/{daemon.pid}/cmdline").read_bytes().split(b"\0")[:-1]
    daemon.files.remove()
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, cwd=bench.pool / "layers")
    until = time.monotonic() + 10
    while not daemon.files.qmp.exists():
        assert time.monotonic() < until
        time.sleep(0.01)
    process.returncode = 0  # whoever ends it waits for it, by its id
    return process.pid


def runs(pid: int) -> bool:
    """Say whether there is such a process, and it has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except (FileNotFoundError, ProcessLookupError):
        return False


def slice_of(pid: int) -> int:
    """Return the slice of a process in nanoseconds (sched_getattr(2), `sched_runtime`); 0 if the kernel says none."""
    number, found = {"x86_64": 315, "aarch64": 275}[platform.machine()], ctypes.create_string_buffer(48)
    refused = ctypes.CDLL(None).syscall(number, pid, found, len(found), 0)
    return 0 if refused else int(struct.unpack("=IIQiIQQQ", found.raw)[5])


def test_what_serves_a_volume_asks_for_short_slices() -> None:
    async def test(bench: Bench) -> None:
        volume_id = await bench.volume()
        async with bench.served(volume_id):
            pid = bench.pid(volume_id)
            # A kernel that has no slices says 0 of everybody.
            assert slice_of(pid) == (slices.SLICE_NS if slice_of(os.getpid()) else 0)
            assert os.getpriority(os.PRIO_PROCESS, pid) == os.getpriority(os.PRIO_PROCESS, 0)

    on_bench(test)


def test_a_daemon_that_is_waited_for_is_no_error_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It has made its socket, and does not listen yet."""
    files = RunFiles(tmp_path, "0" * 20)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(files.qmp))
        daemon = Daemon(files, LayersSettings(), os.getpid())
        daemon._born = _born(os.getpid())
        assert asyncio.run(daemon._try_connect()) is False
    assert caplog.records == []
