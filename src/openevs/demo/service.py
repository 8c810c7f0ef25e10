"""A service in a process of its own, on a folder of its own, on a free port."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Self

from openevs.demo.api import Api

_START_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 30.0
_SERVES: Final = " serves "


class ServiceError(Exception):
    """The service did not start; the message has the end of its log."""


class Service:
    """One `openevs serve`. Used as a context manager it runs inside the block, and no storage daemon outlives it."""

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None, prefix: Sequence[str] = ()) -> None:
        """`settings` are environment variables without `OPENEVS_`; `prefix` is put before the command (`taskset`)."""
        self.folder = folder
        self.base_url = ""
        self._settings = dict(settings or {})
        self._prefix = list(prefix)
        self._process: subprocess.Popen[str] | None = None
        self._log = folder / "service.log"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        end_daemons(self.folder / "run")

    @property
    def pid(self) -> int:
        """Process id of the running service. Raises ServiceError."""
        if self._process is None:
            raise ServiceError("The service is not running.")
        return self._process.pid

    def start(self) -> None:
        """Start, and return when it answers. Raises ServiceError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        # Settings of the caller's own service, if there is one, are not meant for this one.
        environ = {name: value for name, value in os.environ.items() if not name.startswith("OPENEVS_")}
        environ |= {f"OPENEVS_{name}": value for name, value in self._settings.items()}
        command = [sys.executable, "-m", "openevs.cli", "serve", "--data-folder", str(self.folder), "--port", "0"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._prefix, *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environ,
                start_new_session=True,  # Ctrl-C is ours to handle: volumes are to be detached before it stops
            )
        assert self._process.stdout is not None  # noqa: S101 - a pipe was asked for
        line = self._process.stdout.readline()
        if _SERVES not in line:
            self.stop()
            raise ServiceError(f"The service did not start: {self._last_words()}")
        self.base_url = line.split(_SERVES)[1].split()[0]
        self._wait_ready()

    def stop(self) -> None:
        """Stop in good order; after a while, by force. Attached volumes go on being served."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()

    def log_in(self) -> Api:
        """Return a client for the user and project that the first start has made."""
        return Api.log_in(self.base_url, self.folder / "openrc")

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), contextlib.closing(Api(self.base_url, "", "")) as api:
                api.get("/")
                return
            time.sleep(0.01)
        self.stop()
        raise ServiceError(f"The service does not answer: {self._last_words()}")

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return " / ".join(lines[-3:]) or "it said nothing"


def end_daemons(run_folder: Path) -> int:
    """Kill storage daemons that still run from this folder, as after a crash they may; return how many there were."""
    ended = 0
    for path in run_folder.glob("*.pid"):
        with contextlib.suppress(OSError, ValueError):
            pid = int(path.read_text())
            if os.fsencode(run_folder) in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)
                ended += 1
    return ended
