"""Short time slices for the daemons that serve volumes.

A daemon works for microseconds, on behalf of a guest that waits. Left to itself, the kernel lets it wait until whoever
has the core, a busy service say, has used up a slice of 1 to 3 ms. Since Linux 6.12 a process may ask for shorter
slices, which is not to get more of the core, but sooner: sched_setattr(2), `sched_runtime` of SCHED_OTHER. Older ones
ignore what is asked.
"""

import ctypes
import os
import platform
import struct
from typing import Final

SLICE_NS: Final = 100_000
"""The shortest that the kernel grants."""
_SYSCALLS: Final = {"x86_64": 314, "aarch64": 274}
"""Numbers of sched_setattr, which Python does not have."""
_ATTRIBUTES: Final = struct.Struct("=IIQiIQQQ")
"""size, policy, flags, nice, priority, runtime, deadline, period; `struct sched_attr`, first version."""


def ask(pid: int) -> None:
    """Ask for short slices for a process, and so for the threads that it will start; without, it only waits longer."""
    number = _SYSCALLS.get(platform.machine())
    if number is not None:
        nice = os.getpriority(os.PRIO_PROCESS, pid)
        wanted = _ATTRIBUTES.pack(_ATTRIBUTES.size, 0, 0, nice, 0, SLICE_NS, 0, 0)
        ctypes.CDLL(None).syscall(number, ctypes.c_int(pid), ctypes.c_char_p(wanted), ctypes.c_uint(0))
