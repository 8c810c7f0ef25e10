"""Serving: over TLS, through a hung daemon, a full disk, a lost run folder, a damaged layer; and who may connect."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from openevs.domain.ids import SnapshotId, VolumeId, new_uuid
from openevs.engine.errors import Broken, Mismatch, OutcomeUnknown, Transient
from openevs.engine.layers import LayersEngine, LayersSettings
from openevs.engine.nbd import NbdClient, NbdError
from openevs.engine.port import ExportSpec, Limits, SnapshotSpec, VolumeSpec
from tests.engine.layers.bench import BLOCK, Bench, on_bench, until


def nbdinfo(uri: str) -> subprocess.CompletedProcess[str]:
    # What the volume holds is not asked for: nbdinfo lets the program `file` guess it, and without that prints rubbish.
    command = ["nbdinfo", "--no-content", "--json", uri]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)


def test_tcp_wants_the_key() -> None:
    async def test(bench: Bench) -> None:
        volume_id = await bench.volume()
        facts = await bench.engine.ensure_export(ExportSpec(volume_id, "tcp"))
        assert facts.tls_psk_hex is not None
        keys = bench.run / "keys"
        keys.write_text(f"{facts.tls_username}:{facts.tls_psk_hex}\n")
        with_key = await asyncio.to_thread(nbdinfo, f"{facts.uri}?tls-psk-file={keys}")
        assert json.loads(with_key.stdout)["exports"][0]["export-size"] == 1 << 30, with_key.stderr
        keys.write_text(f"{facts.tls_username}:{'00' * 32}\n")
        plain = f"nbd://{facts.host}:{facts.port}/{facts.export_name}"
        for uri in (plain, facts.uri, f"{facts.uri}?tls-psk-file={keys}"):
            assert (await asyncio.to_thread(nbdinfo, uri)).returncode
        with pytest.raises(NbdError):
            await NbdClient.connect(plain)
        taken = await bench.take(volume_id)
        assert taken.cut_ms is not None
        assert taken.stall_ms is None
        os.kill(bench.pid(volume_id), signal.SIGKILL)
        await bench.lose()
        assert await bench.engine.ensure_export(ExportSpec(volume_id, "tcp")) == facts
        other = await bench.volume()
        assert (await bench.engine.ensure_export(ExportSpec(other, "tcp"))).port != facts.port
        with pytest.raises(Mismatch):
            await bench.engine.ensure_export(ExportSpec(volume_id, "unix"))
        secrets = [*bench.run.rglob("*.psk"), *bench.pool.rglob("*.json")]
        assert {path.stat().st_mode & 0o077 for path in secrets} == {0}

    on_bench(test)


def test_what_a_client_discards_is_given_back() -> None:
    async def test(bench: Bench) -> None:
        volume_id = await bench.volume()
        facts = await bench.engine.ensure_export(ExportSpec(volume_id))
        async with await NbdClient.connect(facts.uri) as client:
            await client.write(0, os.urandom(16 << 20))
            await client.flush()
            assert bench.allocated() > 16 << 20
            await client.trim(0, 16 << 20)
            await client.flush()
            assert bench.allocated() < 1 << 20
            assert await client.read(0, BLOCK) == bytes(BLOCK)

    on_bench(test)


def test_what_is_discarded_after_a_snapshot_is_given_back_too() -> None:
    async def test(bench: Bench) -> None:
        volume_id = await bench.volume()
        async with bench.served(volume_id) as client:
            await bench.snapshot(volume_id)
            await client.write(0, os.urandom(16 << 20))
            await client.flush()
            before = bench.allocated()
            await client.trim(0, 16 << 20)
            await client.flush()
            assert bench.allocated() < before - (12 << 20)

    on_bench(test)


def test_limits_hold_after_a_snapshot_too() -> None:
    async def test(bench: Bench) -> None:
        volume_id = await bench.volume()
        limits = Limits(total_requests=20)
        async with await NbdClient.connect((await bench.engine.ensure_export(ExportSpec(volume_id))).uri) as client:
            await bench.engine.ensure_limits(volume_id, limits)
            await bench.snapshot(volume_id)
            began = time.monotonic()
            for number in range(60):
                await client.write(number * BLOCK, b"a" * BLOCK)
            assert time.monotonic() - began > 1.5, "sixty requests, and twenty a second are let through"

    on_bench(test)


def test_a_hung_daemon_holds_nobody_else_up() -> None:
    async def test(bench: Bench) -> None:
        hung, well = await bench.volume(), await bench.volume()
        async with bench.served(hung) as client, bench.served(well):
            await client.write(0, b"a" * BLOCK, fua=True)
            pid = bench.pid(hung)
            os.kill(pid, signal.SIGSTOP)
            spec = SnapshotSpec(SnapshotId(new_uuid()), hung)
            waiting = asyncio.create_task(bench.engine.ensure_snapshot(spec))
            await asyncio.sleep(0.05)
            await bench.take(well)
            assert not waiting.done()
            with pytest.raises((Transient, OutcomeUnknown), match="does not answer"):
                await waiting
            assert spec.snapshot_id not in (await bench.engine.list_objects()).snapshots
            await bench.lose()
            await bench.take(well)
            os.kill(pid, signal.SIGCONT)
            await client.write(BLOCK, b"b" * BLOCK, fua=True)
            facts = await bench.engine.ensure_snapshot(spec)
            await client.write(2 * BLOCK, b"c" * BLOCK, fua=True)
            assert await bench.engine.ensure_snapshot(spec) == facts
            assert (await bench.text(spec.snapshot_id, 4)).startswith("a")
            assert not (await bench.text(spec.snapshot_id, 4)).count("c")
            os.kill(bench.pid(hung), signal.SIGSTOP)
            await bench.engine.ensure_no_export(hung)  # a stopped one can still be killed
        assert await bench.text(hung, 4) == "abc."

    on_bench(test, qmp_timeout_seconds=1.0)


def test_a_lost_run_folder_is_made_anew() -> None:
    async def test(bench: Bench) -> None:
        volume_id = await bench.volume()
        await bench.engine.ensure_export(ExportSpec(volume_id, "tcp"))
        os.kill(bench.pid(volume_id), signal.SIGKILL)
        shutil.rmtree(bench.run)  # a reboot
        await bench.lose()
        await bench.take(volume_id)

    on_bench(test)


def test_a_run_folder_that_goes_meanwhile_is_made_anew() -> None:
    """Clients that are connected go on; who comes later is not sent to a socket that is not there."""

    async def test(bench: Bench) -> None:
        volume_id, other, secret = await bench.volume(), await bench.volume(), await bench.volume()
        async with await bench.connect(volume_id) as client:
            shutil.rmtree(bench.run)
            await client.write(0, b"a" * BLOCK, fua=True)
            snapshot_id = await bench.snapshot(volume_id)
            with pytest.raises(Broken, match=f"end the storage daemon .pid {bench.pid(volume_id)}."):
                await bench.engine.ensure_export(ExportSpec(volume_id))
            await bench.put(other, 0, "b")
            shutil.rmtree(bench.run)
            await bench.engine.ensure_export(ExportSpec(secret, "tcp"))
            os.kill(bench.pid(volume_id), signal.SIGKILL)
        await until(lambda: asyncio.to_thread(bench.core.files_of(bench.state(volume_id).manifest).nbd.exists))
        await bench.put(volume_id, 1, "c")
        assert await bench.text(volume_id, 2) == "ac"
        assert await bench.text(snapshot_id, 2) == "a."

    on_bench(test)


@pytest.mark.parametrize("together", [None, "word"])
def test_who_comes_after_the_run_folder_has_gone_connects_as_soon_as_all_have_left(together: str | None) -> None:
    """At the address that was given before: nobody asks for another one."""

    async def test(bench: Bench) -> None:
        volume_id, other = await bench.volume(), await bench.volume()
        specs = [ExportSpec(each, together=together) for each in (volume_id, other)]
        facts, others = [await bench.engine.ensure_export(spec) for spec in specs]
        client = await NbdClient.connect(facts.uri)
        await client.write(0, b"a" * BLOCK, fua=True)
        await bench.take(volume_id)
        shutil.rmtree(bench.run)
        await asyncio.sleep(5 * bench.settings.look_seconds)
        await client.write(BLOCK, b"b" * BLOCK, fua=True)  # not cut off
        with pytest.raises(FileNotFoundError):
            await NbdClient.connect(facts.uri)
        await client.close()
        for each in (facts, others):

            async def connects(uri: str = each.uri) -> bool:
                with contextlib.suppress(OSError):
                    await (await NbdClient.connect(uri)).close()
                    return True
                return False

            await until(connects)
        async with await NbdClient.connect(facts.uri) as client:
            assert await client.read(0, 2 * BLOCK) == b"a" * BLOCK + b"b" * BLOCK
        async with await NbdClient.connect(others.uri) as client:
            await client.write(0, b"c" * BLOCK, fua=True)

    on_bench(test, look_seconds=0.05)


def test_a_run_folder_too_deep_for_sockets_is_said_to_be(tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        bench.engine = LayersEngine(tmp_path, tmp_path / ("deep" * 25), LayersSettings())
        await bench.engine.open()
        volume_id = await bench.volume()
        with pytest.raises(Broken, match="too long for unix sockets"):
            await bench.engine.ensure_export(ExportSpec(volume_id))
        assert await bench.engine.list_exports() == {}

    on_bench(test)


def test_a_pool_has_one_user_and_must_be_there(tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        with pytest.raises(Broken, match="another process uses"):
            await LayersEngine(bench.pool, bench.run).open()
        with pytest.raises(Broken, match="create the folder"):
            await LayersEngine(tmp_path / "none", bench.run).open()
        (tmp_path / "precious").touch()
        with pytest.raises(Broken, match="precious"):
            await LayersEngine(tmp_path, bench.run).open()
        with pytest.raises(Mismatch):
            await bench.engine.ensure_volume(VolumeSpec(VolumeId("../escape"), 512))

    on_bench(test)


def test_a_damaged_layer_is_named_and_nothing_is_removed() -> None:
    async def test(bench: Bench) -> None:
        ill, well = await bench.volume(), await bench.volume()
        await bench.put(ill, 0, "a")
        await bench.snapshot(ill)
        layer = bench.state(ill).manifest.head
        path = bench.core.pool.layer_path(bench.core.chain(layer)[1])
        with path.open("r+b") as file:
            file.write(b"ruin")
        count = len(bench.layers())
        await bench.lose()
        with pytest.raises(Broken, match=path.stem):
            await bench.engine.ensure_export(ExportSpec(ill))
        with pytest.raises(Broken, match=path.stem):
            await bench.text(ill, 1)
        await bench.put(well, 0, "b")
        await bench.engine.settle()
        assert len(bench.layers()) == count

    on_bench(test)


def test_a_daemon_is_small() -> None:
    async def test(bench: Bench) -> None:
        volume_id = await bench.volume()
        async with bench.served(volume_id) as client:

            def resident_kib() -> int:
                text = Path(f"/proc/{bench.pid(volume_id)}/status").read_text()
                return int(text.split("VmRSS:")[1].split()[0])

            before = resident_kib()
            for number in range(10):
                for block in range(64):
                    await client.write((number * 64 + block) * (1 << 20), b"a" * BLOCK)
                await bench.take(volume_id)
            assert resident_kib() - before < 12 << 10

    on_bench(test)


def test_a_restarted_daemon_serves_the_same_address() -> None:
    async def test(bench: Bench) -> None:
        volume_id = await bench.volume()
        facts = await bench.engine.ensure_export(ExportSpec(volume_id))
        old = bench.pid(volume_id)
        os.kill(old, signal.SIGKILL)

        async def back() -> bool:
            try:
                await (await NbdClient.connect(facts.uri)).close()
            except OSError:
                return False
            return bench.pid(volume_id) != old

        await until(back)
        assert await bench.engine.list_exports() == {volume_id: facts}

    on_bench(test)
