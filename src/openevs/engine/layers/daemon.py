"""A storage daemon: one process for each served volume, and the QMP connection to it.

The process belongs to nobody: it has its own session, writes to its own log, and goes on when we end or are killed. It
is found again by its command line, which holds the path of its QMP socket. Death is seen at once by the connection.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog
from qemu.qmp import Message, QMPClient, QMPError
from qemu.qmp.protocol import Runstate

from openevs.engine.errors import Broken, EngineError, OutcomeUnknown, Transient
from openevs.engine.layers.faults import from_qemu, translated
from openevs.engine.layers.settings import LayersSettings
from openevs.engine.layers.trigger import Trigger

_log = structlog.get_logger()
_PROGRAM: Final = "qemu-storage-daemon"
_SOCKET_PATH_MAX: Final = 107
_LAUNCH: Final = (
    'umask 077; cd "$0" || exit; files=$1; shift; ulimit -n "$files" 2>/dev/null || ulimit -n "$(ulimit -H -n)"; '
    'exec "$@"'
)
_LOG_BYTES_MAX: Final = 1 << 20
_LISTENING, _CONNECTED = "01", "03"
"""Of a unix socket, in the system's words."""
_PEER: Final = struct.Struct("3i")
"""What the system says of who listens: process, user, group."""
Order = Callable[[], Coroutine[Any, Any, Any]]
"""Has a command carried out that was sent ahead, and returns its answer."""


@dataclass(frozen=True, slots=True)
class RunFiles:
    """Where one daemon's files are; names are short because a socket's path may have 107 bytes only."""

    folder: Path
    key: str

    @property
    def qmp(self) -> Path:
        return self.folder / f"{self.key}.q"

    @property
    def trigger(self) -> Path:
        return self.folder / f"{self.key}.t"

    @property
    def nbd(self) -> Path:
        return self.folder / f"{self.key}.s"

    @property
    def pid(self) -> Path:
        return self.folder / f"{self.key}.pid"

    @property
    def log(self) -> Path:
        return self.folder / f"{self.key}.log"

    @property
    def tls(self) -> Path:
        return self.folder / f"{self.key}.tls"

    def check(self) -> None:
        """Raise Broken if the folder lies too deep for sockets."""
        if len(os.fsencode(self.qmp)) > _SOCKET_PATH_MAX:
            raise Broken(
                f"the run folder's path is too long for unix sockets ({self.folder}): choose one of at most "
                f"{_SOCKET_PATH_MAX - len(self.key) - 3} bytes"
            )

    def make_folder(self) -> None:
        """See that the folder is there: it is made of nothing but what a daemon needs, and people tidy up."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def remove(self) -> None:
        """Remove what the daemon left, but for its log."""
        for path in (self.qmp, self.trigger, self.nbd, self.pid, self.tls / "keys.psk"):
            path.unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            self.tls.rmdir()


class _Qmp(QMPClient):
    """One that does not lay out every message for a log that nobody reads: that takes longer than to send it.

    Nor does it log as an error what it raises: a daemon that is not up yet, or a start that was broken off, is none."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.logger.setLevel(logging.CRITICAL)

    def _cb_outbound(self, msg: Message) -> Message:
        return msg

    def _cb_inbound(self, msg: Message) -> Message:
        return msg


class Daemon:
    """One daemon. Methods raise engine errors only."""

    def __init__(self, files: RunFiles, settings: LayersSettings, pid: int | None = None) -> None:
        self.files = files
        self.pid = pid
        self._born = ""
        """When the process began, if it is one that we have started: with its id, that tells it from every other."""
        self.native_io: bool | None = None
        """Whether it opens files with Linux AIO; None: it has opened none for us."""
        self._settings = settings
        self._qmp: QMPClient | None = None
        self._trigger = Trigger(files.trigger)

    @property
    def connected(self) -> bool:
        """Whether commands can be sent now, as far as the connection has noticed."""
        return self._qmp is not None and self._qmp.runstate == Runstate.RUNNING

    def alive(self) -> bool:
        """Whether the process is there and is ours (a zombie is not)."""
        if self.pid is None:
            return False
        if self._born and _born(self.pid) == self._born:
            # What its command line says does not matter: for a moment that may be another program's.
            return not _has_ended(self.pid)
        return _is_ours(self.pid, self.files.qmp)

    async def spawn(self, arguments: Sequence[str], folder: Path) -> None:
        """Start the process in `folder` and connect. Raises what QEMU says is wrong with its arguments."""
        self.files.check()
        await self.disconnect()
        self.native_io = None
        with translated():
            self.pid = self._spawn(arguments, folder)  # in no thread: a cancelled caller would never learn the pid
            self._born = _born(self.pid)
            try:
                async with asyncio.timeout(self._settings.start_timeout_seconds):
                    while not await self._try_connect():  # noqa: ASYNC110  # another process gives us no event
                        await asyncio.sleep(0.002)
            except TimeoutError:
                await self.kill()
                raise Transient(
                    f"the storage daemon did not start within {self._settings.start_timeout_seconds:g} s; "
                    f"its log is {self.files.log}"
                ) from None

    async def connect(self) -> None:
        """Connect to a process that runs already. Raises Transient if it does not answer.

        If nobody listens at its socket, it is ending or another one has taken the place: it is ended."""
        await self.disconnect()
        qmp = _Qmp(self.files.key)
        try:
            async with asyncio.timeout(self._settings.qmp_timeout_seconds):
                await qmp.connect(str(self.files.qmp))
        except (TimeoutError, QMPError, OSError) as error:
            silent = self._silent()
            if isinstance(getattr(error, "exc", error), ConnectionRefusedError | FileNotFoundError):
                await self.kill()
            raise silent from error
        self._qmp = qmp

    async def disconnect(self) -> None:
        """Let go of the connection; the process goes on."""
        qmp, self._qmp = self._qmp, None
        await self._trigger.close()
        if qmp is not None:
            with contextlib.suppress(TimeoutError, QMPError, OSError, EOFError):
                async with asyncio.timeout(1):
                    await qmp.disconnect()

    async def wait_lost(self) -> None:
        """Return when there is no connection (any more)."""
        while (qmp := self._qmp) is not None and qmp.runstate == Runstate.RUNNING:
            await qmp.runstate_changed()

    def is_reachable(self) -> bool:
        """Say whether clients find its socket for volumes. Blocking."""
        return self.files.nbd.exists()

    def clients(self) -> int | None:
        """Return how many are connected to that socket, ourselves among them; None: it cannot be told. Blocking."""
        states = [
            words[5]
            for words in (line.split(maxsplit=7) for line in Path("/proc/net/unix").read_text().splitlines())
            if words[7:] == [str(self.files.nbd)]
        ]
        return states.count(_CONNECTED) if _LISTENING in states else None

    async def execute(self, command: str, arguments: Mapping[str, object] | None = None) -> Any:
        """Carry out one QMP command and return its answer. Raises OutcomeUnknown if none comes in time."""
        return await self._answer(command, lambda qmp: qmp.execute(command, arguments))

    @contextlib.asynccontextmanager
    async def holding(self, command: str, arguments: Mapping[str, object]) -> AsyncIterator[Order]:
        """Let the daemon read a command, and yield what has it carried out, as `execute` does; if the block does not
        call it, nothing is carried out."""
        held = await self._trigger.hold(command, arguments) if self.connected else None

        async def order() -> Any:
            if held is not None and self._trigger.holds(held):
                return await self._answer(command, lambda _: self._trigger.pull())
            return await self.execute(command, arguments)

        try:
            yield order
        finally:
            if held is not None:
                await self._trigger.drop(held)

    async def stop(self) -> None:
        """End the process, in good order if it can; flushed data is safe either way."""
        if self.alive() and self.connected:
            with contextlib.suppress(EngineError):
                await self.execute("quit")
                await self.wait_gone(self._settings.stop_timeout_seconds)
        await self.disconnect()
        await self.kill()
        await asyncio.to_thread(self.files.remove)

    async def kill(self) -> None:
        """End the process at once."""
        await self.disconnect()
        if self.pid is not None and self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            if not await self.wait_gone(self._settings.stop_timeout_seconds):
                raise Transient(f"the storage daemon (pid {self.pid}) cannot be killed: the disk under it may hang")
        self.pid = None

    async def discard(self) -> None:
        """End the process at once, and remove all that it leaves, its log too."""
        await self.kill()
        await asyncio.to_thread(self.files.remove)
        await asyncio.to_thread(self.files.log.unlink, missing_ok=True)

    async def wait_gone(self, seconds: float = 1.0) -> bool:
        """Say whether the process ends within that time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.alive():  # noqa: ASYNC110  # another process gives us no event
                    await asyncio.sleep(0.002)
        return not self.alive()

    async def has_ended(self, process: int | None) -> bool:
        """Say whether that process is not ours any more, or ends presently; None is the present one."""
        if process is not None and self.pid != process:
            return True
        return not self.connected and await self.wait_gone()

    async def _answer(self, command: str, ask: Callable[[QMPClient], Awaitable[Any]]) -> Any:
        if self._qmp is None or not self.connected:
            raise Transient("the storage daemon is not connected")
        with translated():
            try:
                async with asyncio.timeout(self._settings.qmp_timeout_seconds):
                    return await ask(self._qmp)
            except TimeoutError:
                raise OutcomeUnknown(f"{self._silent().reason} ({command})") from None

    async def _try_connect(self) -> bool:
        if not self.alive():
            text = await asyncio.to_thread(_last_line, self.files.log)
            raise from_qemu(text.removeprefix(f"{_PROGRAM}: ") or "the storage daemon ended at its start")
        if not self.files.qmp.exists():
            return False
        qmp = _Qmp(self.files.key)
        try:
            await qmp.connect(str(self.files.qmp))
        except (QMPError, OSError):
            return False
        self._qmp = qmp
        return True

    def _spawn(self, arguments: Sequence[str], folder: Path) -> int:
        files = self.files
        files.make_folder()
        for path in (files.qmp, files.trigger, files.nbd, files.pid):
            path.unlink(missing_ok=True)
        if files.log.exists() and files.log.stat().st_size > _LOG_BYTES_MAX:
            files.log.unlink()
        # It waits for us at its monitor. One that does not hands that socket from one of its threads to another as it
        # starts, and if both see us just then, the second stands there for ever, waiting for the next to come.
        command = [
            "/bin/sh", "-c", _LAUNCH, str(folder), str(self._settings.open_files), _PROGRAM,
            "--chardev", f"socket,path={_escaped(files.qmp)},server=on,wait=on,id=qmp0", "--monitor", "chardev=qmp0",
            "--chardev", f"socket,server=on,wait=off,id=qmp1,path={_escaped(files.trigger)}",
            "--monitor", "chardev=qmp1", "--pidfile", str(files.pid), *arguments,
        ]  # fmt: skip
        to_log = (1, str(files.log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        return os.posix_spawn(
            "/bin/sh", command, os.environ, setsid=True,
            file_actions=[(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0), (os.POSIX_SPAWN_OPEN, *to_log),
                          (os.POSIX_SPAWN_DUP2, 1, 2)],
        )  # fmt: skip

    def _silent(self) -> Transient:
        return Transient(
            f"the storage daemon (pid {self.pid}) does not answer within {self._settings.qmp_timeout_seconds:g} s: it, "
            "or the disk under it, hangs; it goes on by itself when that ends, or kill it and it is started anew"
        )


def find_running(folder: Path) -> list[tuple[Path, int]]:
    """Return the daemons that run from this folder, each with the path of its QMP socket. Of several with the same path
    (a service was killed as it started one) the one that answers there comes first. Blocking."""
    every = dict.fromkeys((path, pid) for path, pid in _sockets() if path.parent == folder)
    found = [(path, pid) for path, pid in every if _is_ours(pid, path)]
    several = {path for path, number in Counter(path for path, _ in found).items() if number > 1}
    answering = {path: _listener(path) for path in several}
    return sorted(found, key=lambda one: answering.get(one[0], one[1]) != one[1])


def all_running() -> list[tuple[Path, int]]:
    """Return the daemons of all run folders of this machine, as `find_running`; but none that is still being started.
    Blocking."""
    return [(path, pid) for path, pid in _sockets() if _command_line(pid)[:1] == [_PROGRAM]]


def _sockets() -> Iterator[tuple[Path, int]]:
    """Give the path of each socket that a process was told to have as a daemon has its first."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            for word in _command_line(int(entry.name)):
                if word.startswith("socket,path="):
                    path = word.removeprefix("socket,path=").split(",server=on")[0].replace(",,", ",")
                    yield Path(path), int(entry.name)


def _listener(socket_path: Path) -> int | None:
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(1)
        try:
            one.connect(os.fspath(socket_path))
        except OSError:
            return None
        pid: int = _PEER.unpack(one.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))[0]
        with contextlib.suppress(OSError):
            one.recv(1)  # it greets once it is ready for whoever comes next
        return pid


def _is_ours(pid: int, qmp: Path) -> bool:
    words = _command_line(pid)
    if words == [""]:  # ending, ended; or, for a moment, turning into the program it runs
        return not _has_ended(pid)
    return any(word.startswith(f"socket,path={_escaped(qmp)},") for word in words)


def _has_ended(pid: int) -> bool:
    """Say whether the process holds no file any more, and reap it if it is our child.

    Its first thread may be a zombie while others are yet to end: then it still has the layers open."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return _state(pid) in {"Z", "X", ""} and _threads(pid) <= 1


def _command_line(pid: int) -> list[str]:
    """Return the process's words; none for a process that is gone."""
    try:
        return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).split("\0")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return []


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _born(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _threads(pid: int) -> int:
    try:
        return len(list(Path(f"/proc/{pid}/task").iterdir()))
    except (FileNotFoundError, ProcessLookupError):
        return 0


def _escaped(path: Path) -> str:
    return str(path).replace(",", ",,")


def _last_line(path: Path) -> str:
    """Return what the daemon has complained of; that it waits for us is no complaint."""
    try:
        lines = path.read_text(errors="replace").strip().splitlines()
    except FileNotFoundError:
        return ""
    return lines[-1] if lines and ": info: " not in lines[-1] else ""
