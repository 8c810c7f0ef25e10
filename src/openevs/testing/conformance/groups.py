"""Group snapshots: several volumes frozen at one instant, all or none."""

import asyncio
import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from openevs.domain.ids import VolumeId, new_uuid
from openevs.engine.errors import Mismatch
from openevs.engine.nbd import NbdClient
from openevs.engine.port import ExportSpec, GroupSnapshots, SnapshotFacts, SnapshotSpec
from openevs.testing.conformance.bench import (
    ConformanceError,
    EngineBench,
    expect,
    expect_equal,
    expect_error,
    exports_of,
    interrupted,
)
from openevs.testing.conformance.exports import connected_again
from openevs.testing.conformance.interruption import points
from openevs.testing.conformance.twin import SIZE, Twin

_VOLUMES: Final = 3
_ROUNDS: Final = 5
RECORD_BYTES: Final = 512
_NUMBER: Final = struct.Struct("<Q")


def groups_of(bench: EngineBench) -> GroupSnapshots:
    """Return the engine as one that freezes groups; for checks that need the power."""
    engine = bench.engine
    if not isinstance(engine, GroupSnapshots):
        raise ConformanceError("the engine says that it freezes groups, but has no such method")
    return engine


async def take_group(twin: Twin, volumes: Sequence[VolumeId]) -> list[SnapshotSpec]:
    """Freeze the volumes together."""
    specs = [twin.snapshot_spec(volume_id) for volume_id in volumes]
    taken = await groups_of(twin.bench).ensure_group_snapshot(specs)
    expect_equal(len(taken), len(specs), "facts of a group snapshot")
    for spec, facts in zip(specs, taken, strict=True):
        twin.took(spec, facts)
    return specs


async def check_group_snapshot(bench: EngineBench) -> None:
    """A group snapshot is a snapshot of each volume; a repeat is the same, and part of one, or more, is Mismatch."""
    twin = Twin(bench)
    volumes = [await twin.volume() for _ in range(_VOLUMES)]
    for number, volume_id in enumerate(volumes):
        await twin.write(volume_id, number * 4096)
    specs = await take_group(twin, volumes)
    for volume_id in volumes:
        await twin.write(volume_id, 8192)
    await twin.compare("after a group snapshot")
    engine = groups_of(bench)
    first = await engine.ensure_group_snapshot(specs)
    await bench.reopen()
    engine = groups_of(bench)
    backwards = await engine.ensure_group_snapshot(specs[::-1])
    expect_equal([facts.taken_at for facts in backwards[::-1]], [facts.taken_at for facts in first], "moments, again")
    await twin.compare("after repeats")
    more = [*specs[:-1], twin.snapshot_spec(volumes[-1])]
    for wrong, what in (
        (more, "a group of which a part is there already"),
        (specs[:-1], "a part of a group"),
        ([*specs, *specs], "each volume twice"),
        ([twin.snapshot_spec(volumes[0]), twin.snapshot_spec(VolumeId(new_uuid()))], "an unknown volume"),
    ):
        await expect_error(Mismatch, engine.ensure_group_snapshot(wrong), what)
    expect_equal(len((await bench.engine.list_objects()).snapshots), len(twin.snapshots), "snapshots after refusals")
    await take_group(twin, volumes)
    await twin.remove_snapshot(specs[1].snapshot_id)
    await bench.engine.settle()
    await twin.revert(volumes[0], specs[0].snapshot_id)
    await twin.compare("one of a group deleted, one rolled back to")


async def check_group_of_served_and_unserved(bench: EngineBench) -> None:
    """Volumes that are served together, and others that are not in use, are frozen as one; later ones can join."""
    twin = Twin(bench)
    volumes = [await twin.volume() for _ in range(_VOLUMES)]
    for round_number in range(_VOLUMES):
        await exports_of(bench).ensure_export(ExportSpec(volumes[round_number], together="these"))
        for volume_id in volumes:
            await twin.write(volume_id, round_number * 4096)
        await take_group(twin, volumes)
        if round_number == 1:
            await bench.kill_helpers()
            for facts in (await exports_of(bench).list_exports()).values():
                await connected_again(facts)
        for volume_id in volumes:
            await twin.write(volume_id, round_number * 8192)
        await twin.snapshot(volumes[round_number])
        await twin.compare(f"{round_number + 1} of {_VOLUMES} served")
    for volume_id in volumes:
        await exports_of(bench).ensure_no_export(volume_id)
        await twin.compare("one after the other served no more")
        await take_group(twin, volumes)


async def check_group_apart_is_refused(bench: EngineBench) -> None:
    """Volumes in use that are not served together are not frozen together, and nothing is made; each can be alone."""
    twin = Twin(bench)
    volumes = [await twin.volume() for _ in range(_VOLUMES)]
    words = ("one", "other", None)
    for volume_id, word in zip(volumes, words, strict=True):
        await exports_of(bench).ensure_export(ExportSpec(volume_id, together=word))
    specs = [twin.snapshot_spec(volume_id) for volume_id in volumes]
    error = await expect_error(Mismatch, groups_of(bench).ensure_group_snapshot(specs), "volumes served apart")
    expect(any(volume_id in error.reason for volume_id in volumes), "the refusal names no volume")
    expect(not (await bench.engine.list_objects()).snapshots.keys() & {s.snapshot_id for s in specs}, "some was made")
    await twin.snapshot(volumes[0])
    for volume_id in volumes:
        await exports_of(bench).ensure_no_export(volume_id)
    await take_group(twin, volumes)
    await twin.compare("frozen together once nobody uses them")


@dataclass
class DependentWriter:
    """Writes record n to volume n modulo their number, after record n-1 was acknowledged, until it is told to stop."""

    clients: Sequence[NbdClient]
    begun: int = 0
    acknowledged: int = 0
    halt: bool = False

    @property
    def most(self) -> int:
        """How many records there is room for."""
        return len(self.clients) * (SIZE // RECORD_BYTES)

    async def run(self) -> None:
        """Write."""
        while not self.halt and self.begun < self.most:
            self.begun += 1
            slot, which = divmod(self.begun - 1, len(self.clients))
            data = _NUMBER.pack(self.begun).ljust(RECORD_BYTES, b".")
            await self.clients[which].write(slot * RECORD_BYTES, data)
            self.acknowledged = self.begun


def prefix_faults(contents: Sequence[bytes], least: int, most: int) -> list[str]:
    """Return what shows that these bytes are not what the volumes held, all at one instant, after `least` to `most`
    records of a `DependentWriter`."""
    found = set()
    for which, data in enumerate(contents):
        for slot in range(len(data) // RECORD_BYTES):
            (number,) = _NUMBER.unpack_from(data, slot * RECORD_BYTES)
            if number == slot * len(contents) + which + 1:
                found.add(number)
            elif number:
                return [f"volume {which} holds record {number} in slot {slot}"]
    last = max(found, default=0)
    missing = sorted(set(range(1, last + 1)) - found)
    faults = [f"record {missing[0]} is missing, record {last} is there"] if missing else []
    if not least <= last <= most:
        faults.append(f"the last record is {last}, not within {least} to {most}")
    return faults


Take = Callable[[Sequence[SnapshotSpec]], Awaitable[Sequence[SnapshotFacts]]]


async def faults_of_group(bench: EngineBench, take: Take, rounds: int) -> list[str]:
    """Freeze served volumes with `take` while a `DependentWriter` writes, and return what is wrong with the result."""
    twin = Twin(bench)
    volumes = [await twin.volume() for _ in range(_VOLUMES)]
    facts = [await exports_of(bench).ensure_export(ExportSpec(each, together="these")) for each in volumes]
    clients = [await NbdClient.connect(one.uri) for one in facts]
    writer = DependentWriter(clients)
    writing = asyncio.create_task(writer.run())
    taken = []
    try:
        for _ in range(rounds):
            await asyncio.sleep(0.03)
            least, specs = writer.acknowledged, [twin.snapshot_spec(volume_id) for volume_id in volumes]
            await take(specs)
            taken.append((specs, least, writer.begun))
    finally:
        writer.halt = True
        await writing
        for client in clients:
            await client.close()
    expect(writer.acknowledged > rounds, "the writer was held up for ever")
    faults = []
    for specs, least, most in taken:
        contents = [await bench.read(spec.snapshot_id, 0, SIZE) for spec in specs]
        faults += prefix_faults(contents, least, most)
    for volume_id in volumes:
        await exports_of(bench).ensure_no_export(volume_id)
    return faults


async def check_group_is_one_instant(bench: EngineBench) -> None:
    """With a writer that alternates between the volumes, each write after the one before was acknowledged, a group
    snapshot holds the first so many of its writes and no other."""
    faults = await faults_of_group(bench, groups_of(bench).ensure_group_snapshot, _ROUNDS)
    expect(not faults, f"a group snapshot is not one instant: {'; '.join(faults)}")


async def check_interrupted_group(bench: EngineBench) -> None:
    """A group snapshot that was cut short is there wholly or not at all, and has one moment once it has been seen."""
    twin = Twin(bench)
    volumes = [await twin.volume() for _ in range(_VOLUMES)]
    served = "exports" in bench.engine.describe().powers
    for volume_id in volumes[: _VOLUMES - 1] if served else ():
        await exports_of(bench).ensure_export(ExportSpec(volume_id, together="these"))
    for number, point in enumerate(await points(take_group(twin, volumes))):
        for volume_id in volumes:
            await twin.write(volume_id, 4096)
        specs = [twin.snapshot_spec(volume_id) for volume_id in volumes]
        await interrupted(groups_of(bench).ensure_group_snapshot(specs), point)
        if number % 2:
            await bench.kill_helpers()
        await bench.reopen()
        for facts in (await exports_of(bench).list_exports()).values() if served else ():
            await connected_again(facts)
        await _finish(twin, specs)
        for volume_id in volumes:
            await twin.write(volume_id, 12288)
        await twin.compare("after a group snapshot that was cut short")


async def _finish(twin: Twin, specs: Sequence[SnapshotSpec]) -> None:
    """Look what is there of a group snapshot that was cut short, and ask for it again."""
    bench = twin.bench
    seen = [await bench.engine.inspect_snapshot(spec.snapshot_id) for spec in specs]
    there = [facts for facts in seen if facts is not None]
    expect(len(there) in (0, len(specs)), f"{len(there)} of {len(specs)} snapshots of a group are there")
    for spec, facts in zip(specs, there, strict=False):
        twin.took(spec, facts)
        await twin.write(spec.volume_id, 8192)
    taken = await groups_of(bench).ensure_group_snapshot(specs)
    if there:
        expect_equal([facts.taken_at for facts in taken], [facts.taken_at for facts in there], "moments, again")
        return
    for spec, facts in zip(specs, taken, strict=True):
        twin.took(spec, facts)
