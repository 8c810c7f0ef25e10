"""TCP ports for the volumes that a test serves: a range that no other run of the tests on this machine has.

Tests kill daemons and expect them back at the same port; a run beside this one must not take it meanwhile.
"""

import socket
from functools import cache
from typing import Final

PORTS_EACH: Final = 40
_FIRST: Final = 12000
_END: Final = 32000
"""From here on the system gives ports to clients."""
_guards: list[socket.socket] = []


@cache
def own_ports() -> tuple[int, int]:
    """Return the first and the last port of this process's range. It is ours as long as we have the port before it."""
    for at in range(_FIRST, _END, PORTS_EACH + 1):
        guard = socket.socket()
        try:
            guard.bind(("127.0.0.1", at))
            guard.listen()
        except OSError:
            guard.close()
            continue
        _guards.append(guard)
        return at + 1, at + PORTS_EACH
    raise RuntimeError("every range of ports is taken")
