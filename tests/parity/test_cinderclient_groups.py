"""Groups with python-cinderclient, unmodified, over real volumes; and what one instant means to a client that writes.

The writer's writes depend on each other: number n goes to volume n modulo the number of volumes, and is begun only when
number n - 1 was acknowledged. So a group snapshot is one instant if and only if it holds a prefix of the numbers.
"""

import asyncio
import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import cinderclient.exceptions
import cinderclient.shell
import pytest
import yaml

from openevs.demo.service import Service
from openevs.engine.nbd import NbdClient
from tests.parity.disk import read_at, write_at
from tests.parity.test_cinderclient import CONNECTOR, connect, gone, until
from tests.parity.test_cinderclient_operating import as_admin

VOLUMES, SNAPSHOTS, BLOCK = 3, 5, 4096


class Writer:
    """Writes numbers to several volumes in turn, for as long as it is let."""

    def __init__(self, uris: list[str]) -> None:
        self._uris, self.acked, self.halt = uris, 0, False

    def run(self) -> None:
        """Write."""
        asyncio.run(self._write())

    async def _write(self) -> None:
        clients = [await NbdClient.connect(uri) for uri in self._uris]
        for number in itertools.count(1):
            await clients[number % len(clients)].write(0, number.to_bytes(8, "little").ljust(BLOCK, b"."))
            self.acked = number
            if self.halt:
                break
        for client in clients:
            await client.flush()
            await client.close()


@contextmanager
def writing(uris: list[str]) -> Iterator[Writer]:
    """Let a writer run meanwhile."""
    writer = Writer(uris)
    thread = threading.Thread(target=writer.run)
    thread.start()
    try:
        yield writer
    finally:
        writer.halt = True
        thread.join(20)


def serve(cinder: Any, volume_id: str) -> tuple[str, str]:
    """Attach a volume; return the attachment's id, and where it is served."""
    made = cinder.attachments.create(volume_id, CONNECTOR, None)
    cinder.attachments.complete(made["id"] if isinstance(made, dict) else made.id)
    attachment_id = made["id"] if isinstance(made, dict) else made.id
    info = cinder.attachments.show(attachment_id).connection_info
    return attachment_id, info["uri"]


def is_prefix(numbers: list[int]) -> bool:
    """Say whether these last numbers of each volume are what was there after one of the writes."""
    newest = max(numbers)
    return all(number == max(newest - (newest - index) % VOLUMES, 0) for index, number in enumerate(numbers))


def test_a_prefix_is_told_from_what_is_none() -> None:
    assert is_prefix([3, 4, 5])
    assert is_prefix([6, 4, 5])
    assert is_prefix([6, 7, 5])
    assert not is_prefix([3, 7, 5])
    assert not is_prefix([6, 4, 2])


def test_groups(service: Service) -> None:
    admin, cinder = as_admin(service), connect(service, "3.71")
    kind = admin.group_types.create("loose", "for tests")
    kind.set_keys({"k": "v"})
    assert admin.group_types.get(kind.id).get_keys() == {"k": "v"}
    kind.unset_keys(["k"])
    volume_type = cinder.volume_types.default().id
    group = cinder.groups.create(kind.id, volume_type, name="g")
    until(lambda: cinder.groups.get(group.id), "available")
    first = cinder.volumes.create(1, group_id=group.id, volume_type=volume_type)
    second = cinder.volumes.create(1)
    for volume in (first, second):
        until(partial(cinder.volumes.get, volume.id), "available")
    cinder.groups.update(group.id, name="h", add_volumes=second.id)
    assert set(cinder.groups.get(group.id, list_volume=True).volumes) == {first.id, second.id}
    taken = cinder.group_snapshots.create(group.id, name="s")
    until(lambda: cinder.group_snapshots.get(taken.id), "available")
    assert [one.id for one in cinder.group_snapshots.list(search_opts={"group_id": group.id})] == [taken.id]
    for source in ({"group_snapshot_id": taken.id}, {"source_group_id": group.id}):
        made = cinder.groups.create_from_src(source.get("group_snapshot_id"), source.get("source_group_id"), name="c")
        copy = until(partial(cinder.groups.get, made["id"]), "available")
        assert len(cinder.groups.get(copy.id, list_volume=True).volumes) == 2
        cinder.groups.delete(copy.id, delete_volumes=True)
        gone(partial(cinder.groups.get, copy.id))
    with pytest.raises(cinderclient.exceptions.BadRequest):
        cinder.groups.delete(group.id, delete_volumes=True)
    cinder.group_snapshots.delete(taken.id)
    gone(lambda: cinder.group_snapshots.get(taken.id))
    cinder.groups.delete(group.id, delete_volumes=True)
    gone(lambda: cinder.groups.get(group.id))
    admin.group_types.delete(kind.id)


def test_every_snapshot_of_a_group_in_use_is_a_prefix(service: Service) -> None:
    admin, cinder = as_admin(service), connect(service, "3.71")
    kind = admin.group_types.create("strict", "one instant")
    kind.set_keys({"consistent_group_snapshot_enabled": "<is> True"})
    volume_type = cinder.volume_types.default().id
    group = cinder.groups.create(kind.id, volume_type)
    volumes = [cinder.volumes.create(1, group_id=group.id, volume_type=volume_type) for _ in range(VOLUMES)]
    for volume in volumes:
        until(partial(cinder.volumes.get, volume.id), "available")
    served = [serve(cinder, volume.id) for volume in volumes]
    taken = []
    with writing([uri for _, uri in served]) as writer:
        for _ in range(SNAPSHOTS):
            made = cinder.group_snapshots.create(group.id)
            until(partial(cinder.group_snapshots.get, made.id), "available")
            taken.append(made)
    assert writer.acked > 10 * VOLUMES
    for attachment_id, _ in served:
        cinder.attachments.delete(attachment_id)
    newest = 0
    for made in taken:
        copied = cinder.groups.create_from_src(made.id, None)["id"]
        copy = until(partial(cinder.groups.get, copied), "available")
        rows = {row.snapshot_id: row for row in cinder.volumes.list(search_opts={"group_id": copy.id})}
        of = {row.volume_id: row.id for row in cinder.volume_snapshots.list() if row.group_snapshot_id == made.id}
        numbers = []
        for volume in volumes:
            attachment_id, uri = serve(cinder, rows[of[volume.id]].id)
            numbers.append(int.from_bytes(read_at(uri, 0, 8), "little"))
            cinder.attachments.delete(attachment_id)
        assert is_prefix(numbers), numbers
        assert max(numbers) >= newest, "a later snapshot holds more"
        newest = max(numbers)
        cinder.groups.delete(copy.id, delete_volumes=True)
        gone(partial(cinder.groups.get, copy.id))
        cinder.group_snapshots.delete(made.id)
        gone(partial(cinder.group_snapshots.get, made.id))
    assert newest > 0
    cinder.groups.delete(group.id, delete_volumes=True)
    gone(lambda: cinder.groups.get(group.id))
    admin.group_types.delete(kind.id)


def shell(service: Service, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Run a command of the `cinder` program; return what it prints."""
    cloud = yaml.safe_load((service.folder / "clouds.yaml").read_text())["clouds"]["openevs"]["auth"]
    options = [f"--os-{name.replace('_', '-')}={value}" for name, value in cloud.items()]
    capsys.readouterr()
    cinderclient.shell.OpenStackCinderShell().main([*options, *words])
    return capsys.readouterr().out


def test_the_commands_for_consistency_groups(service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    cinder, run = connect(service, "3.0"), partial(shell, service, capsys)
    run("consisgroup-create", cinder.volume_types.default().id, "--name", "cg", "--description", "d")
    group = cinder.consistencygroups.find(name="cg")
    until(partial(cinder.consistencygroups.get, group.id), "available")
    volume = cinder.volumes.create(1, consistencygroup_id=group.id)
    assert until(partial(cinder.volumes.get, volume.id), "available").consistencygroup_id == group.id
    attachment_id, uri = serve(connect(service, "3.44"), volume.id)
    write_at(uri, 0, b"kept" * 100)
    run("cgsnapshot-create", "cg", "--name", "cgs")
    taken = cinder.cgsnapshots.find(name="cgs")
    until(partial(cinder.cgsnapshots.get, taken.id), "available")
    write_at(uri, 0, b"lost" * 100)
    connect(service, "3.44").attachments.delete(attachment_id)
    run("consisgroup-create-from-src", "--cgsnapshot", "cgs", "--name", "copy")
    copy = cinder.consistencygroups.find(name="copy")
    until(partial(cinder.consistencygroups.get, copy.id), "available")
    (copied,) = [one for one in cinder.volumes.list() if one.consistencygroup_id == copy.id]
    attachment_id, uri = serve(connect(service, "3.44"), copied.id)
    assert read_at(uri, 0, 400) == b"kept" * 100
    connect(service, "3.44").attachments.delete(attachment_id)
    assert all(word in run("consisgroup-list") for word in ("cg", "copy", "available"))
    assert group.id in run("consisgroup-show", "cg")
    assert taken.id in run("cgsnapshot-list", "--consistencygroup-id", group.id)
    assert group.id in run("cgsnapshot-show", "cgs")
    run("cgsnapshot-delete", "cgs")
    gone(partial(cinder.cgsnapshots.get, taken.id))
    run("consisgroup-update", "cg", "--name", "renamed", "--remove-volumes", volume.id)
    assert cinder.consistencygroups.get(group.id).name == "renamed"
    run("consisgroup-delete", "renamed")
    run("consisgroup-delete", "copy", "--force")
    for one in (group, copy):
        gone(partial(cinder.consistencygroups.get, one.id))
    cinder.volumes.delete(volume.id)
    gone(partial(cinder.volumes.get, volume.id))
