"""Requests per second of the smallest useful request, against the same server answering a constant."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from bench.figures import Row, Samples
from bench.rig import Rig, running

_CONNECTIONS = 16


def measure(rig: Rig) -> list[Row]:
    """Return the row about requests per second."""
    seconds = 1 if rig.quick else 3
    server, load = _pins()
    ours, constant = [], []
    with running(rig.folder / "throughput", prefix=server) as service:
        volume_id = service.api.make_volume(1)
        snapshot_id = service.client.snapshot(volume_id)[0]
        path = f"/v3/{service.api.project_id}/snapshots/{snapshot_id}"
        size = len(service.client.exchange(service.client.prepared("GET", path)).body)
        headers = ["-H", f"X-Auth-Token: {service.api.token}"]
        with _constant(size, server) as url:
            for _ in range(rig.rounds(7)):
                ours.append(_load(load, service.service.base_url + path, headers, seconds))
                constant.append(_load(load, url + path, headers, seconds))
    where = "server and load on a core each" if server else "server and load share one core"
    return [
        Row(
            "GET one snapshot, one process",
            Samples(tuple(ours), "/s"),
            "the same server answering a constant of the same size",
            Samples(tuple(constant), "/s"),
            0.30,
            at_least=True,
            notes=(f"{_CONNECTIONS} connections, {where}",),
        )
    ]


def _pins() -> tuple[tuple[str, ...], tuple[str, ...]]:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        return (), ()
    return ("taskset", "-c", str(cores[0])), ("taskset", "-c", str(cores[1]))


@contextmanager
def _constant(size: int, prefix: Sequence[str]) -> Iterator[str]:
    command = [*prefix, sys.executable, "-m", "bench.constant", str(size)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def _load(prefix: Sequence[str], url: str, headers: list[str], seconds: int) -> float:
    command = [*prefix, "wrk", "-t1", f"-c{_CONNECTIONS}", f"-d{seconds}s", *headers, url]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Non-2xx" not in said, said
    found = re.search(r"Requests/sec:\s+([\d.]+)", said)
    assert found, said
    return float(found[1])
