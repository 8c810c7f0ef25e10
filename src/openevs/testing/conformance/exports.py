"""Exports: a volume's bytes, served to a client, whoever dies."""

import asyncio
from time import monotonic
from typing import Final

from openevs.domain.ids import VolumeId, new_uuid
from openevs.engine.errors import Busy, Mismatch
from openevs.engine.nbd import NbdClient
from openevs.engine.port import ExportFacts, ExportSpec
from openevs.testing.conformance.bench import (
    ConformanceError,
    EngineBench,
    expect,
    expect_equal,
    expect_error,
    exports_of,
)
from openevs.testing.conformance.twin import SIZE, STEP, Twin, pattern

_SERVED_AGAIN_SECONDS: Final = 20.0
"""How long a client may find nobody after the serving process died: a restart of the slowest engine, with room."""


async def check_export_serves_the_volume(bench: EngineBench) -> None:
    """What a client writes is what the volume holds: for the client, for a snapshot, and after the export has ended."""
    twin = Twin(bench)
    volume_id = await twin.volume()
    await twin.write(volume_id)
    facts = await exports_of(bench).ensure_export(ExportSpec(volume_id))
    expect_equal((facts.volume_id, facts.transport, facts.read_only), (volume_id, "unix", False), "facts of an export")
    async with await NbdClient.connect(facts.uri) as client:
        expect_equal(client.size_bytes, SIZE, "size that a client sees")
        expect_equal(await client.read(0, SIZE), bytes(twin.volumes[volume_id].data), "bytes that a client reads")
        data = pattern(1000, 10000)
        await client.write(131072 - 1, data)
        await client.flush()
        twin.volumes[volume_id].data[131071 : 131071 + len(data)] = data
        await client.write_zeroes(132000, 4096)
        await client.flush()
        twin.volumes[volume_id].data[132000 : 132000 + 4096] = bytes(4096)
        snapshot_id = await twin.snapshot(volume_id)
        await client.write(0, data)
        twin.volumes[volume_id].data[: len(data)] = data
        await twin.compare_bytes(snapshot_id, "a snapshot, after its served volume was written to")
    await twin.compare("while exported")
    await exports_of(bench).ensure_no_export(volume_id)
    await twin.compare("after the export has ended")


async def check_export_twice(bench: EngineBench) -> None:
    """A repeat gives the same facts; another way of serving, and an unknown volume, are Mismatch."""
    twin = Twin(bench)
    volume_id = await twin.volume()
    exports = exports_of(bench)
    spec = ExportSpec(volume_id)
    facts = await exports.ensure_export(spec)
    expect_equal(await exports.ensure_export(spec), facts, "second ensure_export")
    expect_equal((await exports.list_exports()).get(volume_id), facts, "the export as listed")
    at_once = await asyncio.gather(*(exports.ensure_export(spec) for _ in range(4)))
    expect(all(one == facts for one in at_once), "ensure_export at once gave different facts")
    await expect_error(
        Mismatch, exports.ensure_export(ExportSpec(volume_id, read_only=True)), "served to be read only as well"
    )
    unknown = ExportSpec(VolumeId(new_uuid()))
    await expect_error(Mismatch, exports.ensure_export(unknown), "ensure_export of an unknown volume")
    await exports.ensure_no_export(unknown.volume_id)
    await exports.ensure_no_export(volume_id)
    await exports.ensure_no_export(volume_id)
    expect(volume_id not in await exports.list_exports(), "an ended export is listed")


async def check_export_read_only(bench: EngineBench) -> None:
    """A volume that is served to be read only cannot be written to."""
    twin = Twin(bench)
    volume_id = await twin.volume()
    await twin.write(volume_id)
    facts = await exports_of(bench).ensure_export(ExportSpec(volume_id, read_only=True))
    expect(facts.read_only, "the facts do not say that it is read only")
    async with await NbdClient.connect(facts.uri) as client:
        expect_equal(await client.read(0, SIZE), bytes(twin.volumes[volume_id].data), "bytes that a client reads")
        try:
            await client.write(0, bytes(512))
        except OSError:
            pass
        else:
            raise ConformanceError("a client wrote to an export that is read only")
    await exports_of(bench).ensure_no_export(volume_id)
    await twin.compare("after it was served to be read only")


async def check_export_ends(bench: EngineBench) -> None:
    """After ensure_no_export nobody is served, the connected client neither, and what it had flushed is there."""
    twin = Twin(bench)
    volume_id = await twin.volume()
    facts = await exports_of(bench).ensure_export(ExportSpec(volume_id))
    async with await NbdClient.connect(facts.uri) as client:
        data = pattern(7, SIZE)
        await client.write(0, data)
        await client.flush()
        twin.volumes[volume_id].data[:] = data
        await exports_of(bench).ensure_no_export(volume_id)
        try:
            await client.read(0, 512)
        except OSError:
            pass
        else:
            raise ConformanceError("a client is served after ensure_no_export")
    try:
        late = await NbdClient.connect(facts.uri)
    except OSError:
        pass
    else:
        await late.close()
        raise ConformanceError("a client can connect after ensure_no_export")
    await twin.compare("after the export has ended")


async def check_export_busy(bench: EngineBench) -> None:
    """A volume that is exported can be neither deleted nor rolled back, but snapshotted, cloned and grown."""
    twin = Twin(bench)
    volume_id = await twin.volume()
    await twin.write(volume_id)
    bare = await twin.volume()
    snapshot_id = await twin.snapshot(volume_id)
    exports = exports_of(bench)
    await exports.ensure_export(ExportSpec(volume_id))
    await exports.ensure_export(ExportSpec(bare))
    await expect_error(Busy, bench.engine.ensure_no_volume(bare), "deleting an exported volume")
    await expect_error(
        Busy, bench.engine.ensure_reverted(volume_id, snapshot_id, twin.next_token()), "rolling back an exported volume"
    )
    await twin.write(volume_id, 4096)
    newer = await twin.snapshot(volume_id)
    await twin.clone(newer, STEP)
    await twin.write(volume_id, 8192)
    await twin.remove_snapshot(snapshot_id)
    await bench.engine.settle()
    await twin.write(volume_id, 12288)
    await twin.grow(volume_id)
    await twin.write(volume_id, SIZE - 512, 1024)
    await twin.compare("changed while exported")
    await exports.ensure_no_export(volume_id)
    await exports.ensure_no_export(bare)
    await twin.compare("changed while exported, then not exported any more")
    await twin.revert(volume_id, newer)
    await twin.remove_volume(bare)
    await twin.compare("rolled back after the export has ended")


async def check_export_several_clients(bench: EngineBench) -> None:
    """Several clients of one export see one another's writes, and what one has written is safe once another flushes;
    several may read one that is read only."""
    twin = Twin(bench)
    volume_id = await twin.volume()
    exports = exports_of(bench)
    facts = await exports.ensure_export(ExportSpec(volume_id))
    for number in range(3):
        async with await NbdClient.connect(facts.uri) as one, await NbdClient.connect(facts.uri) as other:
            data = pattern(number, 65536)
            await one.write(number * 65536, data)
            expect_equal(await other.read(number * 65536, 65536), data, "what one client wrote, read by another")
            await other.flush()
            twin.volumes[volume_id].data[number * 65536 : (number + 1) * 65536] = data
            await bench.kill_helpers()
            if number == 1:
                await twin.snapshot(volume_id)
        await connected_again(facts)
        await twin.compare("what one client wrote and another flushed, after the serving process died")
    await exports.ensure_no_export(volume_id)
    facts = await exports.ensure_export(ExportSpec(volume_id, read_only=True))
    expected = bytes(twin.volumes[volume_id].data)
    async with await NbdClient.connect(facts.uri) as one, await NbdClient.connect(facts.uri) as other:
        both = await asyncio.gather(one.read(0, SIZE), other.read(0, SIZE))
    expect(all(found == expected for found in both), "two readers at once read something else")
    await exports.ensure_no_export(volume_id)


async def check_export_outlives_us(bench: EngineBench) -> None:
    """The death of our process does not cut off a client; the next process finds the export and goes on with it."""
    twin = Twin(bench)
    volume_id = await twin.volume()
    facts = await exports_of(bench).ensure_export(ExportSpec(volume_id))
    async with await NbdClient.connect(facts.uri) as client:
        for number in range(3):
            data = pattern(number, 4096)
            await client.write(number * 4096, data)
            twin.volumes[volume_id].data[number * 4096 : (number + 1) * 4096] = data
            await bench.reopen()
            expect_equal((await exports_of(bench).list_exports()).get(volume_id), facts, "the export, found again")
            expect_equal(
                await exports_of(bench).ensure_export(ExportSpec(volume_id)), facts, "ensured after a reopening"
            )
            await twin.snapshot(volume_id)
        await client.flush()
    await twin.compare("exported over three reopenings")
    await exports_of(bench).ensure_no_export(volume_id)
    await bench.reopen()
    expect(volume_id not in await exports_of(bench).list_exports(), "an ended export came back with a reopening")
    await twin.compare("after the export has ended, and a reopening")


async def check_export_outlives_its_helper(bench: EngineBench) -> None:
    """When the serving process is killed, the volume is served again at the same address with all that was flushed;
    snapshots can be taken at once, and one taken before keeps its bytes."""
    twin = Twin(bench)
    volume_id = await twin.volume()
    facts = await exports_of(bench).ensure_export(ExportSpec(volume_id))
    for number in range(2):
        await twin.write(volume_id, number * 65536, 65536)
        await twin.snapshot(volume_id)
        await twin.write(volume_id, number * 65536 + 512, 512)
        await bench.kill_helpers()
        if number:
            await bench.reopen()
        await twin.snapshot(volume_id)
        await connected_again(facts)
        await twin.compare("served again")
    expect_equal(await exports_of(bench).ensure_export(ExportSpec(volume_id)), facts, "facts after its helper died")
    await bench.kill_helpers()
    await exports_of(bench).ensure_no_export(volume_id)
    await twin.compare("not served any more, after its helper died")


async def connected_again(facts: ExportFacts) -> None:
    """Wait until the volume is served at the address of before."""
    give_up = monotonic() + _SERVED_AGAIN_SECONDS
    while True:
        try:
            client = await NbdClient.connect(facts.uri)
        except OSError as error:
            if monotonic() > give_up:
                text = f"not served again {_SERVED_AGAIN_SECONDS:g} s after the serving process died"
                raise ConformanceError(text) from error
            await asyncio.sleep(0.05)
        else:
            await client.close()
            return
