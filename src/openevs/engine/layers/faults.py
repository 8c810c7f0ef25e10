"""From what the system and QEMU report to the engine's errors. One table, used at one edge: `translated`."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from qemu.qmp import ExecInterruptedError, ExecuteError, QMPError

from openevs.engine import errors
from openevs.engine.layers.graph import MissingLayerError
from openevs.engine.layers.manifest import ManifestError
from openevs.engine.layers.qcow2 import Qcow2Error

_LOCKED: Final = "Failed to get"
_TAKEN: Final = "Address already in use"
_FULL: Final = {errno.ENOSPC, errno.EDQUOT}
_PASSING: Final = {
    errno.EAGAIN, errno.EINTR, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EBUSY, errno.ETIMEDOUT,
    errno.ECONNREFUSED, errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN, errno.EADDRINUSE,
}  # fmt: skip

_QEMU_SAYS: Final[tuple[tuple[str, type[errors.EngineError]], ...]] = (  # the first that fits
    (_LOCKED, errors.Transient),
    ("Too many open files", errors.Transient),
    ("No space left", errors.NoSpace),
    ("Disk quota exceeded", errors.NoSpace),
    ("Image is corrupt", errors.Broken),
    ("not in qcow2 format", errors.Broken),
    ("Could not open", errors.Broken),
    ("Could not read", errors.Broken),
    ("Input/output error", errors.Broken),
)

_QUOTED: Final = re.compile(
    r'--blockdev \{.*"filename": "(?:[^"]*/)?(?P<file>[^"/]+)".*\}: (?P<complaint>.*)', re.DOTALL
)

_PATH: Final = re.compile(r"/[^'\"\s]*/[^'\"\s]+")


def _short(path: str) -> str:
    """Return the end of a path: reasons reach users, who need not know where on the host the pool is."""
    return "/".join(path.rsplit("/", 2)[-2:])


class PortTaken(errors.Transient):
    """A daemon cannot listen at its TCP port: another program has it."""

    def __init__(self, host: str, port: int, served: str) -> None:
        super().__init__(
            f"TCP port {port} of {host}, where volume {served} is to be served, is taken by another program: end that, "
            "or detach the volume and attach it anew"
        )
        self.port = port


def says_taken(error: errors.EngineError) -> bool:
    """Say whether a daemon could not start because somebody has its address."""
    return _TAKEN in error.reason


def is_locked(error: errors.EngineError) -> bool:
    """Say whether a layer could not be opened because another process has it open."""
    return _LOCKED in error.reason


def from_os_error(error: OSError) -> errors.EngineError:
    """Return the engine error for a failed system call."""
    where = f" ({_short(str(error.filename))})" if error.filename else ""
    text = f"{error.strerror or error}{where}"
    if error.errno in _FULL:
        return errors.NoSpace(f"the pool is full: {text}")
    if error.errno in _PASSING or isinstance(error, TimeoutError | ConnectionError):
        return errors.Transient(text)
    return errors.Broken(f"storage cannot be used: {text}")


def from_qemu(text: str) -> errors.EngineError:
    """Return the engine error for a sentence of QEMU's. Of the option that it quotes, a person needs the file alone."""
    quoted = _QUOTED.match(text)
    if quoted:
        text = f"layer {quoted['file']}: {quoted['complaint']}"
    text = _PATH.sub(lambda path: _short(path[0]), text)
    for words, kind in _QEMU_SAYS:
        if words in text:
            return kind(f"QEMU: {text}")
    return errors.Transient(f"QEMU refused: {text}")


@contextmanager
def translated() -> Iterator[None]:
    """Let only engine errors out of the block."""
    try:
        yield
    except errors.EngineError:
        raise
    except OSError as error:
        raise from_os_error(error) from error
    except MissingLayerError as error:
        raise errors.Broken(
            f"layer {error.layer}.qcow2 is missing or damaged; restore it to the pool's folder 'layers', or delete "
            "what needs it"
        ) from error
    except (Qcow2Error, ManifestError) as error:
        raise errors.Broken(str(error)) from error
    except ExecuteError as error:
        raise from_qemu(str(error)) from error
    except ExecInterruptedError as error:
        raise errors.OutcomeUnknown("the storage daemon went away while it carried out a command") from error
    except QMPError as error:
        raise errors.Transient(f"the storage daemon cannot be reached: {error}") from error
