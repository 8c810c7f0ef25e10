"""Freezing the volumes of a group: at one instant, or one after the other.

What is asked of one instant and cannot be had so is refused. What is not asked of one instant is so all the same if the
engine can and no volume is in the way (one that is being served apart from the others); else each volume has an instant
of its own, as with Cinder. Which of the two it was is a fact that is stored before the other is tried, so a repeat
never mixes them.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from openevs.domain.ids import GIB, SnapshotId, VolumeId
from openevs.domain.model import Operation
from openevs.engine.errors import Mismatch, Unsupported
from openevs.engine.port import Engine, GroupSnapshots, SnapshotFacts, SnapshotSpec
from openevs.operations.kind import Facts, Step


async def freeze_together(engine: Engine, operation: Operation, facts: Facts) -> Facts:
    """Freeze all volumes at one instant, if that can be done or must be. Not at all if there is no place for what is to
    be made of them."""
    if "refused" in operation.input:
        raise Unsupported(operation.input["refused"])
    specs = _specs(operation)
    if not specs:
        return {"frozen": {}}
    must = bool(operation.input["consistent"])
    if not isinstance(engine, GroupSnapshots):
        if must:
            raise Unsupported("this engine cannot freeze several volumes at one instant")
        return {}
    try:
        return {"frozen": _facts(await engine.ensure_group_snapshot(specs))}
    except Mismatch:
        if must:
            raise
        return {}


async def freeze_apart(engine: Engine, operation: Operation, facts: Facts) -> Facts:
    """Freeze one volume after the other, if they were not frozen together."""
    if "frozen" in facts:
        return {}
    return {"frozen": _facts([await engine.ensure_snapshot(spec) for spec in _specs(operation)])}


async def release(engine: Engine, operation: Operation, facts: Facts) -> Facts:
    """Let go of everything that may have been frozen."""
    for snapshot_id, _ in operation.input["freeze"]:
        await engine.ensure_no_snapshot(SnapshotId(snapshot_id))
    return {}


FREEZE = (Step("freeze_together", freeze_together), Step("freeze_apart", freeze_apart))


def frozen_as(facts: Facts, snapshot_id: str) -> dict[str, Any]:
    """Return what the freezing of one snapshot has told, as columns of its row."""
    told = facts["frozen"][snapshot_id]
    return {**told, "taken_at": datetime.fromisoformat(told["taken_at"])}


def _specs(operation: Operation) -> list[SnapshotSpec]:
    labels = {"project_id": operation.project_id, "name": operation.input["name"]}
    return [
        SnapshotSpec(SnapshotId(snapshot_id), VolumeId(volume_id), labels)
        for snapshot_id, volume_id in operation.input["freeze"]
    ]


def _facts(frozen: Iterable[SnapshotFacts]) -> dict[str, Any]:
    return {
        each.snapshot_id: {
            "size_gib": each.size_bytes // GIB,
            "taken_at": each.taken_at.isoformat(),
            "cut_ms": each.cut_ms,
            "stall_ms": each.stall_ms,
        }
        for each in frozen
    }
