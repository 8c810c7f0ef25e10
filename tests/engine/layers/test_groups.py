"""Groups: one instant on real daemons, lost between any two steps; and volumes that share a daemon."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from openevs.domain.ids import SnapshotId, VolumeId, new_uuid
from openevs.engine.errors import EngineError, Mismatch, OutcomeUnknown, Transient
from openevs.engine.layers import groups
from openevs.engine.layers.core import Core
from openevs.engine.layers.cut import cut
from openevs.engine.layers.groups import Groups
from openevs.engine.layers.pool import Pool
from openevs.engine.nbd import NbdClient
from openevs.engine.port import ExportFacts, ExportSpec, SnapshotFacts, SnapshotSpec
from openevs.testing.conformance.groups import faults_of_group
from openevs.testing.conformance.layers import layers_bench
from tests.engine.layers.bench import BLOCK, Bench, on_bench


def specs_of(volumes: Sequence[VolumeId]) -> list[SnapshotSpec]:
    return [SnapshotSpec(SnapshotId(new_uuid()), volume_id) for volume_id in volumes]


async def served(bench: Bench, volume_id: VolumeId, **how: Any) -> ExportFacts:
    return await bench.engine.ensure_export(ExportSpec(volume_id, **{"together": "these", **how}))


async def connected(facts: ExportFacts) -> NbdClient:
    async with asyncio.timeout(10):
        while True:
            with contextlib.suppress(OSError):
                return await NbdClient.connect(facts.uri)
            await asyncio.sleep(0.01)


def test_one_after_the_other_is_found_at_fault_and_together_is_not(tmp_path: Path) -> None:
    async def run() -> tuple[list[str], list[str]]:
        for name in ("pool", "run"):
            (tmp_path / name).mkdir()
        bench = await layers_bench(tmp_path / "pool", tmp_path / "run").open()

        async def apart(specs: Sequence[SnapshotSpec]) -> list[SnapshotFacts]:
            return [await bench.engine.ensure_snapshot(spec) for spec in specs]

        try:
            together = bench.engine.ensure_group_snapshot  # type: ignore[attr-defined]
            return await faults_of_group(bench, together, 10), await faults_of_group(bench, apart, 10)
        finally:
            await bench.close()

    together, apart = asyncio.run(run())
    assert together == []
    assert len(apart) >= 3


class LostError(Exception):
    """The process is killed here."""


async def _lost(*_: object, **__: object) -> None:
    raise LostError


def before_record(patch: pytest.MonkeyPatch, bench: Bench) -> None:
    def lost(*_: object) -> None:
        raise LostError

    patch.setattr(Pool, "write_record", lost)


def before_cut(patch: pytest.MonkeyPatch, bench: Bench) -> None:
    patch.setattr(groups, "cut", _lost)


def after_cut(patch: pytest.MonkeyPatch, bench: Bench) -> None:
    async def cut_and_lose(*args: Any) -> None:
        await cut(*args)
        raise LostError

    patch.setattr(groups, "cut", cut_and_lose)


def before_placing(patch: pytest.MonkeyPatch, bench: Bench) -> None:
    patch.setattr(Groups, "_place", lambda *_: None)
    lose_commit(patch, bench, 0)


def between_places(patch: pytest.MonkeyPatch, bench: Bench) -> None:
    lose_commit(patch, bench, 1)


def lose_commit(patch: pytest.MonkeyPatch, bench: Bench, after: int) -> None:
    """Let so many manifests be written by the engine that is to be lost."""
    commit, mine = Core.commit, bench.core
    written: list[Any] = []

    async def lost(self: Core, volume: Any, **changes: Any) -> None:
        if self is mine and len(written) == after:
            raise LostError
        written.append(volume)
        await commit(self, volume, **changes)

    patch.setattr(Core, "commit", lost)


@pytest.mark.parametrize("daemon_too", [False, True], ids=["daemon_lives", "daemon_dies"])
@pytest.mark.parametrize("lose", [before_record, before_cut, after_cut, before_placing, between_places])
def test_a_group_that_was_lost_at_any_step_is_whole_or_absent(  # noqa: C901 - a story
    lose: Callable[[pytest.MonkeyPatch, Bench], None], daemon_too: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(bench: Bench) -> None:
        volumes = [await bench.volume() for _ in range(3)]
        await bench.put(volumes[2], 0, "a")
        facts = [await served(bench, volume_id) for volume_id in volumes[:2]]
        clients = [await connected(one) for one in facts]
        for client in clients:
            await client.write(0, b"a" * BLOCK, fua=True)
        specs = specs_of(volumes)
        await bench.engine.settle()
        with monkeypatch.context() as patch:
            lose(patch, bench)
            with contextlib.suppress(LostError):
                await bench.engine.ensure_group_snapshot(specs)
            for client in clients:  # one after the other was acknowledged
                await client.write(BLOCK, b"b" * BLOCK, fua=True)
            await asyncio.sleep(0.1)
            if daemon_too:
                os.kill(bench.pid(volumes[0]), signal.SIGKILL)
            await bench.lose()
        there = (await bench.engine.list_objects()).snapshots
        if lose is before_record:
            assert not there
        else:
            assert len(there) == 3
        first = await bench.engine.ensure_group_snapshot(specs)
        assert {one.snapshot_id: one for one in first}.items() >= there.items()
        for client in clients:
            await client.close()
        clients = [await connected(one) for one in facts]
        for client in clients:
            await client.write(2 * BLOCK, b"c" * BLOCK, fua=True)
        assert await bench.engine.ensure_group_snapshot(specs) == first
        expected = "ab.." if lose in (before_record, before_cut) else "a..."
        assert [await bench.text(spec.snapshot_id, 4) for spec in specs] == [expected, expected, "a..."]
        for client in clients:
            await client.close()
        for volume_id in volumes:
            await bench.engine.ensure_no_export(volume_id)
        await bench.engine.settle()
        assert [await bench.text(each, 4) for each in volumes] == ["abc.", "abc.", "a..."]
        assert list((bench.pool / "groups").iterdir()) == []
        for spec in specs:
            await bench.engine.ensure_no_snapshot(spec.snapshot_id)
        await bench.engine.settle()
        assert len(bench.layers()) == 3

    on_bench(test)


def test_a_group_is_refused_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(bench: Bench) -> None:
        volumes = [await bench.volume() for _ in range(3)]
        clients = [await connected(await served(bench, volume_id)) for volume_id in volumes[:2]]
        await bench.engine.settle()
        specs, heads = specs_of(volumes), [bench.state(each).manifest.head for each in volumes]

        async def refused(*_: object) -> None:
            raise EngineError("no")

        with monkeypatch.context() as patch:
            patch.setattr(groups, "cut", refused)
            with pytest.raises(EngineError):
                await bench.engine.ensure_group_snapshot(specs)
        assert [bench.state(each).manifest.head for each in volumes] == heads
        assert (await bench.engine.list_objects()).snapshots == {}
        for client in clients:
            await client.write(0, b"a" * BLOCK, fua=True)
        await bench.lose()
        assert (await bench.engine.list_objects()).snapshots == {}
        await bench.engine.ensure_group_snapshot(specs)
        assert [await bench.text(spec.snapshot_id, 2) for spec in specs] == ["a.", "a.", ".."]
        for client in clients:
            await client.close()

    on_bench(test)


def test_a_hung_daemon_keeps_the_group_whole() -> None:
    """Its cut may still have to be made: until then no other volume of the group begins to be written."""

    async def test(bench: Bench) -> None:
        volumes = [await bench.volume() for _ in range(3)]
        facts = [await served(bench, volume_id) for volume_id in volumes[:2]]
        clients = [await connected(one) for one in facts]
        for client in clients:
            await client.write(0, b"a" * BLOCK, fua=True)
        await bench.engine.settle()
        specs, pid = specs_of(volumes), bench.pid(volumes[0])
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises((Transient, OutcomeUnknown)):
            await bench.engine.ensure_group_snapshot(specs)
        await bench.lose()
        with pytest.raises((Transient, OutcomeUnknown)):
            await bench.engine.ensure_group_snapshot(specs)
        with contextlib.suppress(Transient, OutcomeUnknown):
            await bench.engine.ensure_export(ExportSpec(volumes[2]))
            assert not bench.state(volumes[2]).manifest.pending()
        os.kill(pid, signal.SIGCONT)
        taken = await bench.engine.ensure_group_snapshot(specs)
        for client in clients:
            await client.write(BLOCK, b"b" * BLOCK, fua=True)
            await client.close()
        assert await bench.engine.ensure_group_snapshot(specs) == taken
        assert [await bench.text(spec.snapshot_id, 2) for spec in specs] == ["a.", "a.", ".."]

    on_bench(test, qmp_timeout_seconds=0.5)


def test_who_shares_a_daemon_is_not_disturbed_by_the_others() -> None:
    async def test(bench: Bench) -> None:
        source = await bench.volume()
        await bench.put(source, 0, "a")
        first = await bench.snapshot(source)
        await bench.put(source, 1, "b")
        second = await bench.snapshot(source)
        clone, other = await bench.clone(second), await bench.volume()
        facts = {volume_id: await served(bench, volume_id) for volume_id in (source, clone, other)}
        assert len({bench.pid(volume_id) for volume_id in facts}) == 1
        assert len({one.socket_path for one in facts.values()}) == 1
        client = await connected(facts[source])
        await bench.engine.ensure_no_snapshot(first)
        await bench.engine.settle()
        await bench.engine.ensure_no_export(clone)
        await bench.engine.settle()
        await bench.engine.ensure_no_snapshot(second)
        await bench.engine.settle()
        await bench.engine.ensure_volume_size(other, 2 << 30)
        await bench.engine.ensure_no_export(other)
        await client.write(2 * BLOCK, b"c" * BLOCK, fua=True)  # it was not cut off
        os.kill(bench.pid(source), signal.SIGKILL)
        await client.close()
        client = await connected(facts[source])
        assert await bench.engine.ensure_export(ExportSpec(source)) == facts[source], "another word changes nothing"
        await client.close()
        await bench.lose()
        await bench.engine.ensure_no_export(source)
        await bench.engine.settle()
        assert [await bench.text(each, 4) for each in (source, clone, other)] == ["abc.", "ab..", "...."]
        await bench.engine._opened().readers.close()
        assert [path.name for path in bench.run.iterdir() if path.suffix not in (".log", ".lock")] == []

    on_bench(test)


def test_over_tcp_each_has_a_server_and_a_key_of_its_own() -> None:
    async def test(bench: Bench) -> None:
        volumes = [await bench.volume() for _ in range(2)]
        facts = [await served(bench, volume_id, transport="tcp") for volume_id in volumes]
        assert len({bench.pid(volume_id) for volume_id in volumes}) == 2
        assert len({one.port for one in facts}) == len({one.tls_psk_hex for one in facts}) == 2
        with pytest.raises(Mismatch, match=volumes[0]):
            await bench.engine.ensure_group_snapshot(specs_of(volumes))

    on_bench(test)
