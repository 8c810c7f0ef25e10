"""Serving over TCP: which port, and what happens when somebody else has it."""

import asyncio
import os
import signal
import socket

import pytest
from structlog.testing import capture_logs

from openevs.engine.errors import Transient
from openevs.engine.layers import exports
from openevs.engine.port import ExportSpec
from tests.engine.layers.bench import Bench, on_bench
from tests.ports import own_ports


def test_a_port_that_somebody_has_is_passed_over() -> None:
    """Somebody who takes it between our look and the daemon's start, too."""

    async def test(bench: Bench) -> None:
        first = bench.settings.tcp_first_port
        volumes = [await bench.volume() for _ in range(3)]
        with listening(first), listening(first + 1), pytest.MonkeyPatch.context() as patch, capture_logs() as logs:
            looked = exports._try_port
            patch.setattr(exports, "_try_port", lambda host, port: None if port == first + 1 else looked(host, port))
            facts = await asyncio.gather(*(bench.engine.ensure_export(ExportSpec(one, "tcp")) for one in volumes))
        assert sorted(one.port or 0 for one in facts) == [first + 2, first + 3, first + 4]
        assert {(one["event"], one["port"]) for one in logs if one["event"] == "port_taken"} == {
            ("port_taken", first),
            ("port_taken", first + 1),
        }
        for one, told in zip(volumes, facts, strict=True):
            assert await bench.engine.ensure_export(ExportSpec(one, "tcp")) == told

    on_bench(test)


def test_ports_that_are_all_taken_are_the_reason() -> None:
    async def test(bench: Bench) -> None:
        first = bench.settings.tcp_first_port
        served, other = await bench.volume(), await bench.volume()
        await bench.engine.ensure_export(ExportSpec(served, "tcp"))
        with pytest.raises(
            Transient, match=f"no TCP port can be had on 127.0.0.1 from {first} to {first}: each is taken"
        ):
            await bench.engine.ensure_export(ExportSpec(other, "tcp"))
        assert not bench.state(other).manifest.export
        await bench.engine.ensure_no_export(served)
        await bench.engine.ensure_export(ExportSpec(other, "tcp"))

    first, _ = own_ports()
    on_bench(test, tcp_last_port=first)


def test_an_address_that_is_not_this_machines_is_the_reason() -> None:
    async def test(bench: Bench) -> None:
        with pytest.raises(Transient, match="Cannot assign requested address"):
            await bench.engine.ensure_export(ExportSpec(await bench.volume(), "tcp"))

    on_bench(test, tcp_host="192.0.2.1")


def test_a_port_that_was_taken_while_the_daemon_was_gone_is_said_to_be() -> None:
    """Clients were told it, so there is no other; the volume can be detached, and attached anew."""

    async def test(bench: Bench) -> None:
        volume_id = await bench.volume()
        facts = await bench.engine.ensure_export(ExportSpec(volume_id, "tcp"))
        pid = bench.pid(volume_id)
        daemon = bench.state(volume_id).daemon
        assert daemon is not None
        async with bench.state(volume_id).lock:  # it is not started again before the port is taken
            os.kill(pid, signal.SIGKILL)
            assert await daemon.wait_gone()
            stranger = listening(facts.port or 0)
        with stranger:
            with pytest.raises(Transient, match=f"TCP port {facts.port} of 127.0.0.1.*taken by another program"):
                await bench.take(volume_id)
            await bench.engine.ensure_no_export(volume_id)
            assert (await bench.engine.ensure_export(ExportSpec(volume_id, "tcp"))).port != facts.port

    on_bench(test)


def listening(port: int) -> socket.socket:
    """Return a socket that has the port."""
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind(("127.0.0.1", port))
    one.listen()
    return one
