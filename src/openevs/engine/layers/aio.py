"""Linux AIO for the files that guests write to, as long as the machine has room for it.

A request then needs no thread of the daemon's, which is woken for it and wakes the daemon in turn, each of them waiting
for a core: small reads, and small writes to new places, take a fifth to a third less time, those to old places as long
as before; requests of a MiB take a tenth more. The kernel has room for so many requests of all processes together
(`fs.aio-max-nr`), of which a daemon takes a thousand whether it uses them or not. At most half of it is ours: databases
want it too. Daemons that find it used up have threads.
"""

from pathlib import Path
from typing import Final

from openevs.engine.errors import EngineError

_REQUESTS: Final = 1024
"""That a daemon reserves; `MAX_EVENTS` of QEMU's `linux-aio.c`."""
_SHARE: Final = 2
_KERNEL: Final = Path("/proc/sys/fs")


def has_room() -> bool:
    """Say whether one more daemon may use it."""
    try:
        taken, most = (int((_KERNEL / name).read_text()) for name in ("aio-nr", "aio-max-nr"))
    except (OSError, ValueError):
        return False
    return (taken + _REQUESTS) * _SHARE <= most


def was_refused(error: EngineError) -> bool:
    """Say whether a file was not opened because of it: there was no room after all, or QEMU was built without."""
    return "aio" in error.reason.lower()
