"""Backups with python-cinderclient, unmodified, and real bytes over NBD."""

from functools import partial

import cinderclient.exceptions
import pytest

from openevs.demo.service import Service
from tests.parity.disk import write_at
from tests.parity.test_cinderclient import CONNECTOR, bytes_of, connect, gone, until


@pytest.mark.parametrize("version", ["3.0", "3.47", "3.71"])
def test_backup_life(service: Service, version: str) -> None:
    cinder = connect(service, version)
    volume = cinder.volumes.create(1, name="source")
    until(lambda: cinder.volumes.get(volume.id), "available")
    with pytest.raises(cinderclient.exceptions.BadRequest, match="no backup"):
        cinder.backups.create(volume.id, incremental=True)

    uri = cinder.volumes.initialize_connection(volume, CONNECTOR)["data"]["uri"]
    write_at(uri, 0, b"first" * 100)
    cinder.volumes.terminate_connection(volume, CONNECTOR)
    whole = cinder.backups.create(volume.id, name="whole", description="d", container="box")
    until(lambda: cinder.backups.get(whole.id), "available")
    uri = cinder.volumes.initialize_connection(volume, CONNECTOR)["data"]["uri"]
    write_at(uri, 0, b"later" * 100)
    cinder.volumes.terminate_connection(volume, CONNECTOR)
    part = cinder.backups.create(volume.id, name="part", incremental=True)
    until(lambda: cinder.backups.get(part.id), "available")

    found = {each.name: each for each in cinder.backups.list(search_opts={"volume_id": volume.id})}
    assert found.keys() == {"whole", "part"}
    assert (found["whole"].is_incremental, found["whole"].has_dependent_backups) == (False, True)
    assert (found["part"].is_incremental, found["part"].container) == (True, None)
    with pytest.raises(cinderclient.exceptions.BadRequest, match="on top of it"):
        cinder.backups.delete(whole)

    restored = cinder.restores.restore(whole.id, name="restored")
    copy = until(lambda: cinder.volumes.get(restored.volume_id), "available")
    assert (copy.name, copy.metadata["src_backup_id"]) == ("restored", whole.id)
    assert bytes_of(cinder, copy) == b"first" * 100
    until(lambda: cinder.backups.get(whole.id), "available")
    cinder.restores.restore(part.id, copy.id)
    until(lambda: cinder.volumes.get(copy.id), "available")
    assert bytes_of(cinder, copy) == b"later" * 100
    made = [copy]
    if version >= "3.47":
        until(lambda: cinder.backups.get(whole.id), "available")
        made.append(cinder.volumes.create(2, backup_id=whole.id))
        assert until(lambda: cinder.volumes.get(made[-1].id), "available").size == 2
        assert bytes_of(cinder, made[-1]) == b"first" * 100
    if version >= "3.9":
        cinder.backups.update(part, name="renamed")
        assert cinder.backups.get(part.id).name == "renamed"

    for backup in (part, whole):
        until(partial(cinder.backups.get, backup.id), "available")
        cinder.backups.delete(backup)
        gone(partial(cinder.backups.get, backup.id))
    for each in (volume, *made):
        cinder.volumes.delete(each)
        gone(partial(cinder.volumes.get, each.id))
