"""`openevs demo` for real, and that its checks can fail."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from openevs.demo.api import Taken
from openevs.demo.disk import Changes, change_image, download, listing_of, make_image, read_image, size_for
from openevs.demo.records import RECORD_BYTES, NotOneInstant, record, state_of
from openevs.demo.story import difference, misplaced
from openevs.demo.writer import Request, worst_ms
from openevs.engine.errors import Broken
from openevs.testing.nbd_server import NbdServer

COMMAND = [sys.executable, "-m", "openevs.cli", "demo"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small folder with files."""
    made = tmp_path / "given"
    (made / "below").mkdir(parents=True)
    for number in range(12):
        (made / "below" / f"file {number}.txt").write_bytes(b"content\n" * number * 100)
    (made / "plain").write_text("plain")
    return made


@pytest.fixture
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the demo works: sockets want a short path."""
    return tmp_path_factory.mktemp("w")


def daemons_in(folder: Path) -> list[str]:
    """Return the command lines of processes that name the folder."""
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    return [os.fsdecode(line) for line in lines if os.fsencode(folder) in line]


def test_the_demo_succeeds_and_leaves_nothing(folder: Path, work: Path) -> None:
    command = [*COMMAND, str(folder), "--work-folder", str(work)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "checks that hold" in done.stdout
    assert "5 of 5" in done.stdout
    assert list(work.iterdir()) == []
    assert daemons_in(work) == []


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let what is started be interruptible, even if these tests run in the background of a shell, which ignores it: a
    process inherits what is ignored, but not what is handled."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_demo_says_so_and_leaves_nothing(folder: Path, work: Path) -> None:
    command = [*COMMAND, str(folder), "--work-folder", str(work)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "A writer writes" in line:
                break
        time.sleep(0.2)
        demo.send_signal(signal.SIGINT)
        _, errors = demo.communicate(timeout=60)
    assert demo.returncode == 1
    assert "Interrupted" in errors
    assert list(work.iterdir()) == []
    assert daemons_in(work) == []


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    done = subprocess.run([*COMMAND, str(tmp_path / "no")], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "does not exist" in done.stderr


def test_a_changed_image_is_seen_to_differ(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As for a user who is not root, on Debian.
    monkeypatch.setenv("PATH", "/usr/local/bin:/usr/bin:/bin")
    image = tmp_path / "image"
    make_image(folder, image, size_for(folder))
    expected = listing_of(folder)
    assert difference(expected, read_image(image, tmp_path)) is None
    (tmp_path / "new").write_text("other")
    change_image(image, Changes(["below/file 3.txt"], {"plain": tmp_path / "new"}))
    found = read_image(image, tmp_path)
    assert {name for name in expected if found.get(name) != expected[name]} == {"plain", "below/file 3.txt"}
    sentence = difference(expected, found)
    assert sentence is not None
    assert "2 of" in sentence


class BrokenDisk:
    """Cannot be read."""

    async def size(self) -> int:
        return 1 << 30

    async def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        raise Broken("it cannot be read")

    async def write(self, offset_bytes: int, data: bytes) -> None: ...

    async def write_zeroes(self, offset_bytes: int, length_bytes: int) -> None: ...


def test_a_volume_that_cannot_be_read_ends_the_demo_with_a_reason(work: Path) -> None:
    async def scene() -> None:
        server = NbdServer(BrokenDisk(), "it")
        await server.start_unix(work / "socket")
        try:
            with pytest.raises(OSError, match="output error"):
                await download(f"nbd+unix:///it?socket={work / 'socket'}", 1 << 30, work / "image")
        finally:
            await server.stop()

    asyncio.run(scene())


def ring(*numbers: int) -> bytes:
    """Return a ring that holds these records, -1 being none."""
    return b"".join(bytes(RECORD_BYTES) if n < 0 else record(n, len(numbers)) for n in numbers)


@pytest.mark.parametrize(
    ("numbers", "count"),
    [((-1, -1, -1), 0), ((0, -1, -1), 1), ((0, 1, 2), 3), ((3, 1, 2), 4), ((6, 7, 5), 8)],
)
def test_a_ring_tells_its_moment(numbers: tuple[int, ...], count: int) -> None:
    assert state_of(ring(*numbers)) == count


@pytest.mark.parametrize("numbers", [(-1, 1, -1), (0, -1, 2), (3, -1, 2), (3, 1, 5), (6, 4, 2)])
def test_a_ring_of_several_moments_is_found_out(numbers: tuple[int, ...]) -> None:
    with pytest.raises(NotOneInstant):
        state_of(ring(*numbers))


def test_half_a_record_is_found_out() -> None:
    torn = bytearray(ring(0, 1, 2))
    torn[2 * RECORD_BYTES - 100 : 2 * RECORD_BYTES] = bytes(100)
    with pytest.raises(NotOneInstant):
        state_of(bytes(torn))


def test_a_state_outside_the_window_is_found_out() -> None:
    requests = [Request(n, n * 10, n * 10 + 5) for n in range(10)]
    taken = Taken({}, 38, 45, 62)
    assert [misplaced(count, taken, requests) is None for count in range(3, 10)] == [
        False, True, True, True, True, False, False,
    ]  # fmt: skip


def test_the_worst_latency_is_of_requests_under_way_in_the_window() -> None:
    requests = [Request(0, 0, 4_000_000), Request(1, 5_000_000, 6_000_000), Request(2, 7_000_000, 10_000_000)]
    assert worst_ms(requests, 4_500_000, 6_500_000) == 1.0
    assert worst_ms(requests, 3_000_000, 8_000_000) == 4.0
