"""What a scenario of an operation is, and what several of them begin with."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from openevs.service import snapshots, volumes
from openevs.service.snapshots import NewSnapshot
from openevs.service.volumes import NewVolume
from tests.operations.stage import Stage

Act = Callable[[Stage], Awaitable[None]]


@dataclass(frozen=True)
class Scenario:
    """One way in which a kind of operation is used."""

    kind: str
    name: str
    prepare: Act
    start: Act
    succeeded: Act
    failed: Act
    """What must hold after the operation has failed for good."""
    after_failure: Literal["undone", "retried by force", "forward only"]
    kept: str | None = None
    """Name of a volume that clients may write to when the operation has succeeded."""

    def __str__(self) -> str:
        return f"{self.kind}-{self.name}"


async def nothing(stage: Stage) -> None:
    """Set up nothing."""


async def add_volume(stage: Stage, name: str, text: str) -> None:
    """Make a volume with some bytes."""
    made = await volumes.create_volume(stage.deps, stage.caller, NewVolume(1, name))
    stage.things[name] = made.id
    await stage.settled()
    await stage.write(name, text)


async def add_snapshot(stage: Stage, name: str, of: str) -> None:
    """Make a snapshot."""
    made = await snapshots.create_snapshot(stage.deps, stage.caller, NewSnapshot(stage.things[of], name))
    stage.things[name] = made.id
    await stage.settled()


async def one_volume(stage: Stage) -> None:
    """A volume."""
    await add_volume(stage, "volume", "present")


async def volume_with_past(stage: Stage) -> None:
    """A volume with a snapshot, written to since."""
    await add_volume(stage, "volume", "past")
    await add_snapshot(stage, "snapshot", "volume")
    await stage.write("volume", "present")
