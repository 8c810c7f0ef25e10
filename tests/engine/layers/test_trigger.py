"""The trigger: a command that a daemon has read but for its last byte takes effect with that byte, and only then."""

import asyncio
import os
import signal

import pytest

from openevs.engine.errors import EngineError, OutcomeUnknown
from openevs.engine.layers.daemon import Daemon
from openevs.engine.port import ExportSpec
from tests.engine.layers.bench import Bench, on_bench


async def daemon_of(bench: Bench) -> Daemon:
    volume_id = await bench.volume()
    await bench.engine.ensure_export(ExportSpec(volume_id))
    await bench.engine.settle()
    daemon = bench.state(volume_id).daemon
    assert daemon is not None
    return daemon


async def objects(daemon: Daemon) -> set[str]:
    return {item["name"] for item in await daemon.execute("qom-list", {"path": "/objects"})}


def words(name: str) -> dict[str, str]:
    return {"qom-type": "throttle-group", "id": name}


def test_it_takes_effect_when_it_is_executed() -> None:
    async def test(bench: Bench) -> None:
        daemon = await daemon_of(bench)
        for name in ("first", "second"):  # the second by the same connection
            async with daemon.holding("object-add", words(name)) as order:
                await asyncio.sleep(0.05)
                assert name not in await objects(daemon)
                assert await order() == {}
            assert name in await objects(daemon)

    on_bench(test)


def test_what_is_dropped_is_never_carried_out() -> None:
    async def test(bench: Bench) -> None:
        daemon = await daemon_of(bench)
        async with daemon.holding("object-add", words("never")):
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.05)
        assert "never" not in await objects(daemon)
        async with daemon.holding("object-add", words("later")) as order:
            await order()
        assert "later" in await objects(daemon)

    on_bench(test)


def test_two_at_once_are_both_carried_out() -> None:
    async def test(bench: Bench) -> None:
        daemon = await daemon_of(bench)

        async def add(name: str) -> None:
            async with daemon.holding("object-add", words(name)) as order:
                await asyncio.sleep(0.02)
                await order()

        await asyncio.gather(*(add(f"each-{number}") for number in range(5)))
        assert {f"each-{number}" for number in range(5)} <= await objects(daemon)

    on_bench(test)


def test_a_refusal_says_why() -> None:
    async def test(bench: Bench) -> None:
        daemon = await daemon_of(bench)
        async with daemon.holding("object-del", {"id": "nobody"}) as order:
            with pytest.raises(EngineError, match="nobody"):
                await order()

    on_bench(test)


def test_a_daemon_that_dies_leaves_the_outcome_unknown() -> None:
    async def test(bench: Bench) -> None:
        daemon = await daemon_of(bench)
        assert daemon.pid is not None
        async with daemon.holding("object-add", words("lost")) as order:
            os.kill(daemon.pid, signal.SIGSTOP)
            adding = asyncio.create_task(order())
            await asyncio.sleep(0.05)
            os.kill(daemon.pid, signal.SIGKILL)
            with pytest.raises(OutcomeUnknown):
                await adding

    on_bench(test)


def test_without_the_second_monitor_it_is_an_ordinary_command() -> None:
    async def test(bench: Bench) -> None:
        daemon = await daemon_of(bench)
        daemon.files.trigger.unlink()
        async with daemon.holding("object-add", words("plain")) as order:
            await order()
        assert "plain" in await objects(daemon)

    on_bench(test)
