"""Groups: volumes that are frozen together; what kinds of groups there are; and group snapshots, one instant of all."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple

from openevs.domain.ids import ProjectId, UserId, group_type_id

CONSISTENT: Final = "consistent_group_snapshot_enabled"
"""The group spec by which a type promises that a group snapshot is one instant."""
YES: Final = "<is> True"
RESERVED_TYPE: Final = "default_cgsnapshot_type"
"""Name of the type of consistency groups, which is what groups were called before there were types of them."""
RESERVED_TYPE_ID: Final = group_type_id(RESERVED_TYPE)


class GroupType(NamedTuple):
    """A kind of group, as an operator has defined it."""

    id: str
    name: str
    description: str | None
    is_public: bool
    group_specs: dict[str, str | None]
    created_at: datetime
    updated_at: datetime | None


class Group(NamedTuple):
    """A group of volumes. Which volumes are in it stands with them (`Volume.group_id`)."""

    id: str
    project_id: ProjectId
    user_id: UserId
    name: str | None
    description: str | None
    status: str
    group_type_id: str
    volume_types: list[str]
    """Ids of the volume types of which it may have volumes."""
    availability_zone: str
    group_snapshot_id: str | None
    """What it was made from, if from a group snapshot."""
    source_group_id: str | None
    created_at: datetime
    updated_at: datetime | None
    reason: str | None
    """Why the status is an error, as a sentence for a person."""


class GroupSnapshot(NamedTuple):
    """A snapshot of every volume that a group had (`Snapshot.group_snapshot_id`)."""

    id: str
    project_id: ProjectId
    user_id: UserId
    group_id: str
    group_type_id: str
    name: str | None
    description: str | None
    status: str
    created_at: datetime
    updated_at: datetime | None
    reason: str | None


def is_consistent(specs: Mapping[str, str | None]) -> bool:
    """Say whether groups of a type with these specs must be frozen at one instant, or not at all."""
    return specs.get(CONSISTENT) == YES


def groups_usage() -> dict[str, int]:
    """Return what one group uses of the quotas."""
    return {"groups": 1}
