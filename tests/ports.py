"""TCP ports for what a test serves: a range that no other run of the tests on this machine has.

Tests kill daemons and services and expect them back at the same port; a run beside this one must not take it meanwhile,
nor a client, which is what may befall a free port that the system has chosen.
"""

import socket
from functools import cache
from itertools import count
from typing import Final

PORTS_EACH: Final = 40
SERVICES_EACH: Final = 8
"""So many are never up at a time."""
_FIRST: Final = 12000
_END: Final = 32000
"""From here on the system gives ports to clients."""
_guards: list[socket.socket] = []
_services = count()


@cache
def own_ports() -> tuple[int, int]:
    """Return the first and the last port of this process's range for volumes. It is ours as long as we have the port
    before it."""
    for at in range(_FIRST, _END, PORTS_EACH + SERVICES_EACH + 1):
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


def own_port() -> int:
    """Return a port for a service of this process."""
    return own_ports()[1] + 1 + next(_services) % SERVICES_EACH
