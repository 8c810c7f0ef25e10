"""A disk that takes what it is given, and then cannot say that it lasts: what was written may be gone after a power
failure, or not, so nothing that needs it may be removed and nothing be promised on it."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from openevs import durable
from openevs.engine.errors import OutcomeUnknown
from openevs.engine.port import ExportSpec
from tests.engine.layers.bench import BLOCK, Bench, on_bench
from tests.engine.layers.test_groups import connected, served, specs_of


@contextmanager
def failing(name: str) -> Iterator[dict[Path, bytes]]:
    """Let no name of a file in this folder be made to last; yields the files that were there when it was tried."""
    seen: dict[Path, bytes] = {}
    sync = durable.sync_folder

    def fails(path: Path) -> None:
        if path.name == name:
            seen.update({each: each.read_bytes() for each in path.iterdir()})
            raise OSError(5, "Input/output error")
        sync(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(durable, "sync_folder", fails)
        yield seen


def test_a_snapshot_that_may_not_last_is_not_acknowledged() -> None:
    async def test(bench: Bench) -> None:
        volume_id, other = await bench.volume(), await bench.volume()
        facts = await bench.engine.ensure_export(ExportSpec(volume_id))
        async with await connected(facts) as client:
            await client.write(0, b"a" * BLOCK, fua=True)
            spec = specs_of([volume_id])[0]
            with failing("volumes"):
                for _ in range(2):
                    with pytest.raises(OutcomeUnknown, match="may not be on stable storage"):
                        await bench.engine.ensure_snapshot(spec)
                with pytest.raises(OutcomeUnknown):
                    await bench.engine.ensure_volume_size(other, 2 << 30)
                await client.write(BLOCK, b"b" * BLOCK, fua=True)  # clients are not held up
            await bench.engine.ensure_snapshot(spec)
            await client.write(2 * BLOCK, b"c" * BLOCK, fua=True)
            assert (await bench.text(spec.snapshot_id, 3))[::2] == "a."
            await bench.engine.ensure_volume_size(other, 2 << 30)

    on_bench(test)


def back(files: dict[Path, bytes]) -> None:
    for path, data in files.items():
        path.write_bytes(data)


def gone(files: dict[Path, bytes]) -> None:
    for path in files:
        path.unlink(missing_ok=True)


@pytest.mark.parametrize("power_fails", [back, gone], ids=["it_lasted", "it_did_not"])
def test_a_group_that_may_not_last_is_neither_taken_back_nor_acknowledged(
    power_fails: Callable[[dict[Path, bytes]], None],
) -> None:
    async def test(bench: Bench) -> None:
        volumes = [await bench.volume() for _ in range(3)]
        await bench.put(volumes[2], 0, "a")
        specs = specs_of(volumes)
        facts = [await served(bench, one) for one in volumes[:2]]
        clients = [await connected(one) for one in facts]
        for client in clients:
            await client.write(0, b"a" * BLOCK, fua=True)
        await bench.engine.settle()
        with failing("groups") as files:
            for _ in range(2):
                with pytest.raises(OutcomeUnknown, match="may not be on stable storage"):
                    await bench.engine.ensure_group_snapshot(specs)
            for client in clients:
                await client.write(BLOCK, b"b" * BLOCK, fua=True)
            pids = {bench.pid(one) for one in volumes[:2]}
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
        for client in clients:
            await client.close()
        power_fails(files)
        await bench.lose()
        for one in volumes[:2]:
            await bench.engine.ensure_no_export(one)
        assert [await bench.text(one, 3) for one in volumes] == ["ab.", "ab.", "a.."]
        taken = await bench.engine.ensure_group_snapshot(specs)
        assert len({one.taken_at for one in taken}) == 1
        assert [await bench.text(one.snapshot_id, 3) for one in specs] == ["ab.", "ab.", "a.."]

    on_bench(test)


def test_a_group_goes_on_when_the_disk_does() -> None:
    async def test(bench: Bench) -> None:
        volumes = [await bench.volume() for _ in range(2)]
        specs = specs_of(volumes)
        facts = [await served(bench, one) for one in volumes]
        clients = [await connected(one) for one in facts]
        with failing("groups"), pytest.raises(OutcomeUnknown):
            await bench.engine.ensure_group_snapshot(specs)
        for client in clients:
            await client.write(0, b"a" * BLOCK, fua=True)
        await bench.engine.ensure_group_snapshot(specs)
        for client in clients:
            await client.write(BLOCK, b"b" * BLOCK, fua=True)
            await client.close()
        assert {(await bench.text(one.snapshot_id, 2))[1] for one in specs} == {"."}
        await bench.engine.settle()
        assert not list((bench.pool / "groups").iterdir())
        await bench.lose()
        assert len(await bench.engine.ensure_group_snapshot(specs)) == len(specs)

    on_bench(test)
