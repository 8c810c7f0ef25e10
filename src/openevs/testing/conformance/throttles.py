"""Limits: what the clients of a volume may do in a second."""

from time import monotonic
from typing import Final

from openevs.domain.ids import VolumeId, new_uuid
from openevs.engine.errors import Mismatch
from openevs.engine.nbd import NbdClient
from openevs.engine.port import UNTHROTTLED, ExportSpec, Limits, Throttles
from openevs.testing.conformance.bench import ConformanceError, EngineBench, expect, expect_error, exports_of
from openevs.testing.conformance.exports import connected_again
from openevs.testing.conformance.twin import SIZE, Twin, pattern

_RATE: Final = 1 << 20
_LENGTH: Final = 512 << 10
_LEAST_SECONDS: Final = 0.3
"""What `_LENGTH` bytes take at `_RATE`, less what an engine lets through at once (a tenth of
a second's worth, or so)."""
_TRIES: Final = 5
"""Without a limit one of so many is quicker than any with one: it is a few milliseconds' work, but a machine may be
busy."""


def throttles_of(bench: EngineBench) -> Throttles:
    """Return the engine as one that limits; for checks that need the power."""
    engine = bench.engine
    if not isinstance(engine, Throttles):
        raise ConformanceError("the engine says that it limits, but has no such method")
    return engine


async def _took(client: NbdClient, *, reads: bool = False) -> float:
    """Return how many seconds `_LENGTH` bytes take, in requests of 32 KiB."""
    started, step = monotonic(), 32 << 10
    for at in range(0, _LENGTH, step):
        await (client.read(at, step) if reads else client.write(at, pattern(0, _LENGTH)[at : at + step]))
    return monotonic() - started


async def _expect_pace(client: NbdClient, *, limited: bool, when: str, reads: bool = False) -> None:
    took = await _took(client, reads=reads)
    if limited:
        expect(took >= _LEAST_SECONDS, f"{when}: {_LENGTH} bytes took {took:.2f} s, so the limit is not kept to")
        return
    for _ in range(_TRIES - 1):
        if took < _LEAST_SECONDS:
            return
        took = await _took(client, reads=reads)
    expect(took < _LEAST_SECONDS, f"{when}: {_LENGTH} bytes took {took:.2f} s without a limit")


async def check_limits(bench: EngineBench) -> None:
    """Limits are kept to from the first client on, can be changed while it is connected, and outlive us and our
    helpers; limits that cannot be are Mismatch."""
    twin = Twin(bench)
    volume_id = await twin.volume()
    limits = Limits(write_bytes=_RATE)
    facts = await exports_of(bench).ensure_export(ExportSpec(volume_id, limits=limits))
    async with await NbdClient.connect(facts.uri) as client:
        await _expect_pace(client, limited=True, when="served with a limit")
        await _expect_pace(client, limited=False, when="reads, where writes are limited", reads=True)
        await throttles_of(bench).ensure_limits(volume_id, UNTHROTTLED)
        await _expect_pace(client, limited=False, when="the limit lifted")
        await twin.bench.engine.ensure_volume_size(volume_id, SIZE)
        await throttles_of(bench).ensure_limits(volume_id, Limits(total_bytes=_RATE))
        await _expect_pace(client, limited=True, when="a limit set under a client", reads=True)
        await throttles_of(bench).ensure_limits(volume_id, Limits(write_requests=20))
        await _expect_pace(client, limited=True, when="a limit of requests")
        wrong = (Limits(total_bytes=1, read_bytes=1), Limits(write_requests=0), Limits(read_bytes=-1))
        for each in wrong:
            await expect_error(Mismatch, throttles_of(bench).ensure_limits(volume_id, each), f"{each}")
        await _expect_pace(client, limited=True, when="after refusals")
        await client.flush()
    twin.volumes[volume_id].data[:_LENGTH] = pattern(0, _LENGTH)
    await twin.snapshot(volume_id)
    await bench.reopen()
    async with await NbdClient.connect(facts.uri) as client:
        await _expect_pace(client, limited=True, when="after a snapshot and a reopening")
    await bench.kill_helpers()
    await connected_again(facts)
    async with await NbdClient.connect(facts.uri) as client:
        await _expect_pace(client, limited=True, when="after the death of our helpers")
    await exports_of(bench).ensure_export(ExportSpec(volume_id, limits=limits))
    await exports_of(bench).ensure_no_export(volume_id)
    await throttles_of(bench).ensure_limits(volume_id, limits)
    await throttles_of(bench).ensure_limits(VolumeId(new_uuid()), limits)
    facts = await exports_of(bench).ensure_export(ExportSpec(volume_id))
    async with await NbdClient.connect(facts.uri) as client:
        await _expect_pace(client, limited=False, when="served anew, without a limit")
    await exports_of(bench).ensure_no_export(volume_id)
    await twin.compare("written to under limits")
