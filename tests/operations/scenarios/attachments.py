"""Volumes served to their clients, and no more."""

import contextlib

from openevs.domain.errors import Unavailable
from openevs.service import attachments, volumes
from openevs.service.attachments import NewAttachment
from openevs.service.connections import read_connector
from openevs.service.volumes import NewVolume
from openevs.store.attachments import attachments_of_one
from tests.operations.scenarios.scenario import Scenario, add_volume, one_volume
from tests.operations.stage import Stage


async def connect_volume(stage: Stage) -> None:
    """Ask for an attachment with a connection."""
    wish = read_connector({"host": "client"})
    new = NewAttachment(stage.things["volume"], None, None, wish, complete=True)
    with contextlib.suppress(Unavailable):  # raised when the operation has failed, which is for the test to see
        stage.things["attachment"] = (await attachments.create_attachment(stage.deps, stage.caller, new)).id


async def attached_volume(stage: Stage) -> None:
    """A volume with an attachment that is connected."""
    await add_volume(stage, "volume", "present")
    await connect_volume(stage)


async def volume_connected(stage: Stage) -> None:
    """The volume is in use, and the attachment says where it is served."""
    row = await stage.volume("volume")
    assert row is not None
    (attachment,) = stage.deps.db.read_now(attachments_of_one, row.id)
    assert (row.status, attachment.status) == ("in-use", "attached")
    served = stage.storage.exports[row.id].facts
    assert attachment.connection_info is not None
    assert attachment.connection_info["data"]["socket_path"] == served.socket_path


async def volume_not_connected(stage: Stage) -> None:
    """All is as before the request."""
    row = await stage.volume("volume")
    assert row is not None
    assert row.status == "available"
    assert stage.deps.db.read_now(attachments_of_one, row.id) == []
    assert row.id not in stage.storage.exports


async def disconnect_volume(stage: Stage) -> None:
    """Ask for the end of the attachment."""
    with contextlib.suppress(Unavailable):
        await attachments.delete_attachment(stage.deps, stage.caller, stage.things["attachment"])


async def volume_not_disconnected(stage: Stage) -> None:
    """The volume says why, and asking again works."""
    row = await stage.volume("volume")
    assert row is not None
    assert (row.status, bool(row.reason)) == ("error_detaching", True)
    await attachments.delete_attachment(stage.deps, stage.caller, stage.things["attachment"])
    await volume_not_connected(stage)


async def shared_volume(stage: Stage) -> None:
    """A volume that several may attach, and one has."""
    made = await volumes.create_volume(stage.deps, stage.caller, NewVolume(1, "volume", multiattach=True))
    stage.things["volume"] = made.id
    await stage.settled()
    await stage.write("volume", "present")
    await connect_volume(stage)
    stage.things["first"] = stage.things["attachment"]


async def twice_attached_volume(stage: Stage) -> None:
    """A volume that two have attached."""
    await shared_volume(stage)
    await connect_another(stage)


async def connect_another(stage: Stage) -> None:
    """Ask for one more attachment with a connection."""
    new = NewAttachment(stage.things["volume"], None, None, read_connector({"host": "other"}), complete=True)
    with contextlib.suppress(Unavailable):
        stage.things["attachment"] = (await attachments.create_attachment(stage.deps, stage.caller, new)).id


async def both_connected(stage: Stage) -> None:
    """Both are attached, and the second one says where the volume is served."""
    row = await stage.volume("volume")
    assert row is not None
    first, second = stage.deps.db.read_now(attachments_of_one, row.id)
    assert (row.status, first.status, second.status) == ("in-use", "attached", "attached")
    assert second.connection_info is not None
    assert second.connection_info["data"]["socket_path"] == stage.storage.exports[row.id].facts.socket_path


async def first_stays_connected(stage: Stage) -> None:
    """The first attachment is what it was, and the only one."""
    row = await stage.volume("volume")
    assert row is not None
    (only,) = stage.deps.db.read_now(attachments_of_one, row.id)
    assert (row.status, only.id, only.status) == ("in-use", stage.things["first"], "attached")
    assert row.id in stage.storage.exports


async def one_not_disconnected(stage: Stage) -> None:
    """The volume says why, is still served to both, and asking again works."""
    row = await stage.volume("volume")
    assert row is not None
    assert (row.status, bool(row.reason)) == ("error_detaching", True)
    assert row.id in stage.storage.exports
    await attachments.delete_attachment(stage.deps, stage.caller, stage.things["attachment"])
    await first_stays_connected(stage)


SCENARIOS = (
    Scenario(
        "connect_volume", "attach", one_volume, connect_volume, volume_connected, volume_not_connected, "undone",
        kept="volume",
    ),
    Scenario(
        "disconnect_volume", "detach", attached_volume, disconnect_volume,
        volume_not_connected, volume_not_disconnected, "forward only", kept="volume",
    ),
    Scenario(
        "connect_volume", "attach_another", shared_volume, connect_another, both_connected, first_stays_connected,
        "undone", kept="volume",
    ),
    Scenario(
        "disconnect_volume", "detach_one_of_two", twice_attached_volume, disconnect_volume,
        first_stays_connected, one_not_disconnected, "forward only", kept="volume",
    ),
)  # fmt: skip
