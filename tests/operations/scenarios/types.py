"""Volumes that get another type, or whose type changes."""

from openevs.engine.port import Limits
from openevs.service import qos, retyping, types, volumes
from openevs.service.volumes import NewVolume
from tests.operations.scenarios.attachments import connect_volume
from tests.operations.scenarios.scenario import Act, Scenario
from tests.operations.stage import Stage


async def typed_volume(stage: Stage) -> None:
    """An attached volume of a type that has QoS specs, and another such type."""
    caller = stage.caller
    for name, most in (("slow", "10"), ("fast", "1000")):
        made = await types.create_type(stage.deps, stage.caller, name, None, is_public=True, specs={})
        specs = await qos.create_qos(stage.deps, stage.caller, name, "front-end", {"total_iops_sec": most})
        await qos.associate(stage.deps, caller, specs.id, made.id)
        stage.things |= {f"type {name}": made.id, f"specs {name}": specs.id}
    volume = await volumes.create_volume(stage.deps, caller, NewVolume(1, "volume", volume_type="slow"))
    stage.things["volume"] = volume.id
    await stage.settled()
    await connect_volume(stage)


async def retype_volume(stage: Stage) -> None:
    """Ask for another type."""
    await retyping.retype_volume(stage.deps, stage.caller, stage.things["volume"], "fast")


def volume_of_type(name: str, most: int, *, failed: bool = False) -> Act:
    """Return the check that the volume is of a type, with its limit."""

    async def check(stage: Stage) -> None:
        row = await stage.volume("volume")
        assert row is not None
        assert (row.status, row.volume_type, bool(row.reason)) == ("in-use", name, failed)
        assert row.type_id == stage.things[f"type {name}"]
        assert stage.storage.exports[row.id].pace.limits == Limits(total_requests=most)

    return check


async def change_specs(stage: Stage) -> None:
    """Ask for another limit."""
    await qos.set_keys(stage.deps, stage.caller, stage.things["specs slow"], {"total_iops_sec": "20"})


async def specs_without_effect(stage: Stage) -> None:
    """The specs say what was asked for; the volume has it if the call was carried out before it failed."""
    row = await stage.volume("volume")
    assert row is not None
    assert (row.status, row.volume_type) == ("in-use", "slow")
    assert stage.storage.exports[row.id].pace.limits.total_requests in (10, 20)


SCENARIOS = (
    Scenario(
        "retype_volume", "attached", typed_volume, retype_volume,
        volume_of_type("fast", 1000), volume_of_type("slow", 10, failed=True), "undone",
    ),
    Scenario(
        "limit_volumes", "attached", typed_volume, change_specs,
        volume_of_type("slow", 20), specs_without_effect, "forward only",
    ),
)  # fmt: skip
