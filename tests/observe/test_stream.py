"""A log whose target is full, gone or stuck holds nothing up."""

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

import httpx
import pytest
import structlog

from openevs.observe.log import configure_logging
from openevs.observe.stream import Unhindered, hold_standard_files, say
from openevs.settings import Log

FULL = Path("/dev/full")


def test_lines_that_cannot_be_written_are_counted() -> None:
    full = FULL.open("w")
    out = Unhindered(full)
    out.write("one\n")
    out.write("two\n")
    assert out.lost == 2
    with suppress(OSError):
        full.close()


def test_a_reader_that_does_not_read_is_not_waited_for() -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader) as reading, os.fdopen(writer, "w") as stuck:
        out = Unhindered(stuck)
        began, written = time.monotonic(), 0
        while not out.lost:
            out.write("x" * 2999 + "\n")
            written += 1
        for _ in range(100):
            out.write("y" * 2999 + "\n")
        assert time.monotonic() - began < 5
        assert out.lost == 101
        os.set_blocking(reading.fileno(), False)
        reading.read()
        out.write("again\n")
        assert out.lost == 0
        assert reading.read().splitlines()[-1] == "again"


def test_the_next_line_says_how_many_were_lost(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Log(level="info", format="json"))
    try:
        log = structlog.get_logger()
        flush = sys.stderr.flush
        sys.stderr.flush = _no_space  # type: ignore[method-assign]
        log.info("one")
        log.info("two")
        sys.stderr.flush = flush  # type: ignore[method-assign]
        log.info("three")
        log.info("four")
    finally:
        structlog.reset_defaults()
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()][-2:]
    assert [(line["event"], line.get("lines_lost_before")) for line in lines] == [("three", 2), ("four", None)]


def _no_space() -> None:
    raise OSError(28, "No space left on device")


def test_lines_of_libraries_look_like_ours(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, []
    try:
        configure_logging(Log(level="info", format="json"))
        logging.getLogger("qemu.qmp").error("Unknown ID '%s'", 7)
    finally:
        root.handlers = handlers
        structlog.reset_defaults()
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["logger"], line["level"]) == ("Unknown ID '7'", "qemu.qmp", "error")


def test_saying_something_to_nobody_leaves_python_able_to_end() -> None:
    code = "import sys; from openevs.observe.stream import say; say(['x'], sys.stdout)"
    with FULL.open("w") as full:
        assert subprocess.run([sys.executable, "-c", code], stdout=full, check=False).returncode == 0
    say(["x"], None)


def test_files_that_were_closed_are_taken_by_nobody_else(tmp_path: Path) -> None:
    code = (
        "import os; from openevs.observe.stream import hold_standard_files; hold_standard_files();"
        f"assert os.open({str(tmp_path / 'database')!r}, os.O_CREAT | os.O_RDWR) > 2"
    )
    command = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", code]
    assert subprocess.run(command, check=False).returncode == 0
    hold_standard_files()


@pytest.mark.parametrize("target", ["full", "gone"])
def test_a_service_whose_log_cannot_be_written_serves(tmp_path: Path, target: str) -> None:
    def gone() -> IO[str]:
        reader, writer = os.pipe()
        os.close(reader)
        return os.fdopen(writer, "w")

    kinds: dict[str, Callable[[], IO[str]]] = {"full": lambda: FULL.open("w"), "gone": gone}
    command = [sys.executable, "-m", "openevs.cli", "serve", "--data-folder", str(tmp_path / "data"), "--port", "0"]
    with kinds[target]() as log:
        environment = {**os.environ, "OPENEVS_ENGINE_KIND": "memory"}
        with subprocess.Popen(command, stdout=log, stderr=log, env=environment) as service:
            try:
                ready = _url(tmp_path / "data" / "openrc", service) + "/readyz"
                assert httpx.get(ready, timeout=20).status_code == 200
            finally:
                service.terminate()
            assert service.wait(30) == 0


def _url(openrc: Path, service: subprocess.Popen[bytes]) -> str:
    end = time.monotonic() + 30
    while time.monotonic() < end and service.poll() is None:
        if openrc.exists() and (found := openrc.read_text().partition("OS_AUTH_URL=")[2]):
            return found.splitlines()[0].strip("'\"").removesuffix("/identity/v3")
        time.sleep(0.05)
    raise AssertionError(f"the service has not started ({service.poll()})")
