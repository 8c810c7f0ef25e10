"""One `openevs serve` in a process of its own on one data folder: started, killed, started again, at the same port."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import IO, Final

import httpx

from tests.ports import own_port, own_ports

PROGRAM: Final = "openevs.cli"
"""The module that serves, unless one with a planted mistake is to."""
_READY_SECONDS: Final = 60.0
_OPTIONS: Final = {
    "OPENEVS_OPERATIONS_SCAN_SECONDS": "0.2",
    "OPENEVS_OPERATIONS_RETRY_SECONDS": "0.05",
}


class NotReady(Exception):
    """The service did not start."""


class Service:
    """The service, and the daemons that it started."""

    def __init__(self, folder: Path, program: str = PROGRAM) -> None:
        self.folder = folder
        self._program = program
        self.run_folder = folder / "run"
        self.port = own_port()
        first, last = own_ports()
        self._options = {**_OPTIONS, "OPENEVS_ENGINE_NBD_PORTS": f"{first}-{last}"}
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: asyncio.subprocess.Process | None = None
        self._log: IO[bytes] | None = None

    async def start(self) -> float:
        """Start, and return the seconds until the first answer. Raises NotReady."""
        began = time.perf_counter()
        self._log = (self.folder.parent / "service.log").open("ab")
        command = (sys.executable, "-m", self._program, "serve", "--data-folder", str(self.folder))
        self._process = await asyncio.create_subprocess_exec(
            *command, "--port", str(self.port), stdout=self._log, stderr=self._log, env={**os.environ, **self._options}
        )
        async with httpx.AsyncClient() as http:
            while time.perf_counter() - began < _READY_SECONDS:
                if self._process.returncode is not None:
                    raise NotReady(f"the service ended with {self._process.returncode}; see {self._log.name}")
                with contextlib.suppress(httpx.HTTPError):
                    if (await http.get(self.url + "/", timeout=5)).status_code < 500:
                        return time.perf_counter() - began
                await asyncio.sleep(0.01)
        raise NotReady(f"the service did not answer within {_READY_SECONDS:g} s")

    def kill(self) -> None:
        """Send SIGKILL, and return at once."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def ended(self) -> None:
        """Wait until the process is gone."""
        if self._process is not None:
            await self._process.wait()
            self._process = None
        if self._log is not None:
            self._log.close()

    async def stop(self) -> None:
        """End the service in good order, and its daemons."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)
            await self.ended()
        for pid in self.daemons().values():
            _kill(pid)

    def daemons(self) -> dict[str, int]:
        """Return the daemons of this service that run: key of its files → process id."""
        found = {}
        for path in self.run_folder.glob("*.pid"):
            with contextlib.suppress(OSError, ValueError):
                pid = int(path.read_text())
                # A process id may have been given to somebody else's process since: the command line tells.
                if os.fsencode(self.run_folder) in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found[path.stem] = pid
        return found

    def kill_daemons(self, pids: list[int]) -> None:
        """Send SIGKILL to daemons of ours."""
        ours = set(self.daemons().values())
        for pid in pids:
            if pid in ours:
                _kill(pid)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
