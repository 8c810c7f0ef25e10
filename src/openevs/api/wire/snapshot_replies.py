"""Answers about snapshots, as types: what `/openapi.json` says of them, and tests hold real answers against.

The answers themselves are made as plain objects (`wire/snapshots.py`), which is quicker for long lists.
"""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType, field

Time = Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}$", description="UTC, without a zone.")]


class SnapshotSummary(Struct):
    """A snapshot in the summary list."""

    id: str
    status: str
    name: str | None
    description: str | None
    created_at: Time
    updated_at: Time | None
    metadata: dict[str, str]
    volume_id: str
    size: int


class SnapshotNew(SnapshotSummary):
    """A snapshot in the answers to create and update."""

    user_id: Annotated[str | UnsetType, Meta(description="v3, from 3.41 on.")] = UNSET
    group_snapshot_id: Annotated[str | UnsetType | None, Meta(description="v3, from 3.14 on.")] = UNSET
    consumes_quota: Annotated[bool | UnsetType, Meta(description="v3, from 3.65 on.")] = UNSET


class SnapshotDetail(SnapshotSummary):
    """A snapshot in show and in the detailed list."""

    project_id: str = field(name="os-extended-snapshot-attributes:project_id")
    progress: Annotated[str, Meta(pattern=r"^\d{1,3}%$")] = field(name="os-extended-snapshot-attributes:progress")
    taken_at: Annotated[Time | UnsetType | None, Meta(description="The instant whose bytes it holds.")] = field(
        default=UNSET, name="openevs:taken_at"
    )
    cut_ms: Annotated[float | UnsetType | None, Meta(description="How long taking it took.")] = field(
        default=UNSET, name="openevs:cut_ms"
    )
    stall_ms: Annotated[
        float | UnsetType | None, Meta(description="How long a client's request was held up by it.")
    ] = field(default=UNSET, name="openevs:stall_ms")
    reason: Annotated[str | UnsetType | None, Meta(description="Why it failed.")] = field(
        default=UNSET, name="openevs:reason"
    )
    user_id: Annotated[str | UnsetType, Meta(description="v3 only.")] = UNSET
    group_snapshot_id: Annotated[str | UnsetType | None, Meta(description="v3, from 3.14 on.")] = UNSET
    consumes_quota: Annotated[bool | UnsetType, Meta(description="v3, from 3.65 on.")] = UNSET
    service_type: Annotated[str | UnsetType, Meta(description="In the list of cloudsnapshots only.")] = UNSET


class Link(Struct):
    """A link to the next page."""

    href: str
    rel: str


class SnapshotMade(Struct):
    """A snapshot that was made or changed."""

    snapshot: SnapshotNew


class SnapshotShown(Struct):
    """One snapshot."""

    snapshot: SnapshotDetail


class SnapshotSummaries(Struct):
    """One page of snapshots."""

    snapshots: list[SnapshotSummary]
    snapshots_links: list[Link] | UnsetType = UNSET
    count: Annotated[int | UnsetType, Meta(description="With `with_count`, from 3.45 on.")] = UNSET


class SnapshotDetails(Struct):
    """One page of snapshots with all their fields."""

    snapshots: list[SnapshotDetail]
    snapshots_links: list[Link] | UnsetType = UNSET
    count: Annotated[int | UnsetType, Meta(description="With `with_count`, from 3.45 on.")] = UNSET


class CloudSnapshots(Struct):
    """One page of snapshots, and how many there are in all."""

    count: int
    snapshots: list[SnapshotDetail]
    snapshots_links: list[Link] | UnsetType = UNSET


class RolledBack(Struct):
    """Which volume is being rolled back."""

    volume_id: str


class RollbackBegun(Struct):
    """A rollback that was accepted."""

    rollback: RolledBack
