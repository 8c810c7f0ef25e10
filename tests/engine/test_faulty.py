"""Faults happen when and where a test asks for them, and only there."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest

from openevs.domain.ids import VolumeId, new_uuid
from openevs.engine.errors import NoSpace, OutcomeUnknown, Transient
from openevs.engine.memory import MemoryEngine
from openevs.engine.port import Engine, VolumeSpec
from openevs.testing.faulty import Crashed, Faults, faulty

SPEC = VolumeSpec(VolumeId(new_uuid()), 4096)


def with_faults(test: Callable[[Engine, Faults], Awaitable[None]]) -> None:
    async def run() -> None:
        inner = MemoryEngine()
        await inner.open()
        faults = Faults()
        await test(faulty(inner, faults), faults)

    asyncio.run(run())


def test_before_and_after_the_effect() -> None:
    async def test(engine: Engine, faults: Faults) -> None:
        faults.fail("ensure_volume", NoSpace("full"))
        with pytest.raises(NoSpace):
            await engine.ensure_volume(SPEC)
        assert await engine.inspect_volume(SPEC.volume_id) is None
        faults.fail("ensure_volume", OutcomeUnknown("no answer"), when="after")
        with pytest.raises(OutcomeUnknown):
            await engine.ensure_volume(SPEC)
        assert await engine.inspect_volume(SPEC.volume_id) is not None
        await engine.ensure_volume(SPEC)
        assert faults.pending == []

    with_faults(test)


def test_the_nth_call() -> None:
    async def test(engine: Engine, faults: Faults) -> None:
        faults.fail("capacity", Transient("second"), nth=2)
        faults.fail("capacity", Transient("third"), nth=3)
        await engine.capacity()
        await engine.settle()
        for reason in ("second", "third"):
            with pytest.raises(Transient, match=reason):
                await engine.capacity()
        await engine.capacity()

    with_faults(test)


async def catching_every_exception(call: Awaitable[object]) -> None:
    with contextlib.suppress(Exception):
        await call


def test_a_crash_passes_every_except_exception() -> None:
    async def test(engine: Engine, faults: Faults) -> None:
        faults.crash("ensure_volume", when="after")
        with pytest.raises(Crashed):
            await catching_every_exception(engine.ensure_volume(SPEC))
        assert await engine.inspect_volume(SPEC.volume_id) is not None

    with_faults(test)


def test_a_call_hangs_until_released() -> None:
    async def test(engine: Engine, faults: Faults) -> None:
        hang = faults.hang("ensure_volume")
        call = asyncio.create_task(engine.ensure_volume(SPEC))
        await hang.reached.wait()
        assert not call.done()
        assert await engine.inspect_volume(SPEC.volume_id) is None
        hang.release()
        assert (await call).size_bytes == SPEC.size_bytes

    with_faults(test)


def test_calls_are_recorded_with_their_arguments() -> None:
    async def test(engine: Engine, faults: Faults) -> None:
        faults.fail("ensure_volume", Transient("once"))
        with pytest.raises(Transient):
            await engine.ensure_volume(SPEC)
        await engine.ensure_volume(SPEC)
        await engine.ensure_volume_size(SPEC.volume_id, 8192)
        assert [call.method for call in faults.calls] == ["ensure_volume", "ensure_volume", "ensure_volume_size"]
        assert faults.called("ensure_volume_size") == [(SPEC.volume_id, 8192)]

    with_faults(test)


def test_a_fault_that_cannot_happen_is_refused() -> None:
    faults = Faults()
    with pytest.raises(ValueError, match="no method 'ensure_snapshop'"):
        faults.fail("ensure_snapshop", Transient("never"))
    with pytest.raises(ValueError, match="counted from 1"):
        faults.crash("ensure_snapshot", nth=0)
    faults.crash("ensure_snapshot", nth=2)
    assert faults.pending == ["ensure_snapshot"]
