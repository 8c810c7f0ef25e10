"""Memory that is resident: of the service when it is idle, and what each attached volume adds."""

import time
from pathlib import Path

from bench.figures import Row, Samples, absolute
from bench.rig import Rig, attached_disk, running

_VOLUMES = 20
_MIB = 1 << 20


def measure(rig: Rig) -> list[Row]:
    """Return the rows about memory."""
    folder = rig.folder / "memory"
    with running(folder) as service:
        pid = service.service.pid
        for _ in range(200):
            service.client.call("GET", "/v3/{p}/volumes/detail")
        time.sleep(1)
        idle = resident_bytes(pid)
        for _ in range(_VOLUMES):
            attached_disk(service.api, 10)
        time.sleep(1)
        grown = (resident_bytes(pid) - idle) / _VOLUMES
        daemons = [resident_bytes(int(path.read_text())) for path in (folder / "run").glob("*.pid")]
        assert len(daemons) == _VOLUMES
        note = f"of it in the service: {grown / _MIB:.2f} MiB; the rest is the resident size of its daemon"
        each = Samples(tuple((daemon + grown) / _MIB for daemon in daemons), "MiB")
    return [
        absolute("memory of the idle service", Samples((idle / _MIB,), "MiB"), 120),
        absolute("memory of each attached volume", each, 12)._replace(notes=(note,)),
    ]


def resident_bytes(pid: int) -> int:
    """Return the resident size of a process, shared pages included."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(pid)
