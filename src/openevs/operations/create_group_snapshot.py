"""Create a group snapshot: freeze every volume of a group, at one instant (`freezing.py` says when it is not one).

The request has made all rows (`creating`), counted them and queued this. If it cannot be done, whatever was frozen is
removed, and the group snapshot and its snapshots stay as `error` with the reason, until they are deleted.
"""

from datetime import datetime

from openevs.domain.lifecycle import GroupSnapshotMoves, SnapshotMoves
from openevs.domain.model import Operation
from openevs.domain.quota import growth_usage
from openevs.operations.ends import end_group_snapshot, end_snapshot
from openevs.operations.freezing import FREEZE, frozen_as, release
from openevs.operations.kind import Facts, Kind, Step
from openevs.store.database import Tx
from openevs.store.quotas import give_quota
from openevs.store.snapshots import find_snapshot


def succeed(tx: Tx, operation: Operation, facts: Facts, now: datetime) -> None:
    """All snapshots are there."""
    for snapshot_id, _ in operation.input["freeze"]:
        snapshot, told = find_snapshot(tx, snapshot_id), frozen_as(facts, snapshot_id)
        if told["size_gib"] != snapshot.size_gib:
            # The volume has grown between the request and the cut: usage follows the row, limit or no limit.
            shrinking = growth_usage(snapshot.size_gib - told["size_gib"], snapshot.volume_type)
            give_quota(tx, snapshot.project_id, shrinking)
        end_snapshot(tx, snapshot_id, SnapshotMoves.created, now, {"progress": "100%", **told})
    end_group_snapshot(tx, operation.resource_id, GroupSnapshotMoves.created, now)


def fail(tx: Tx, operation: Operation, reason: str, now: datetime) -> None:
    """No snapshot is there, and why."""
    for snapshot_id, _ in operation.input["freeze"]:
        end_snapshot(tx, snapshot_id, SnapshotMoves.create_failed, now, reason=reason)
    end_group_snapshot(tx, operation.resource_id, GroupSnapshotMoves.create_failed, now, reason=reason)


CREATE_GROUP_SNAPSHOT = Kind(
    name="create_group_snapshot", steps=FREEZE, succeed=succeed, fail=fail, undo=(Step("release", release),)
)
