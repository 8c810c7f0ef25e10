"""Snapshots as the API writes them: which field each family shows where (spec 2.4)."""

from typing import Any

from msgspec import UNSET, Struct, UnsetType

from openevs.api.call import Call
from openevs.api.wire.times import wire_time
from openevs.domain.model import Snapshot


class SnapshotCreate(Struct):
    """The body of a create, in its envelope `snapshot`."""

    volume_id: str | None
    name: str | None = None
    display_name: str | UnsetType | None = UNSET
    description: str | None = None
    metadata: dict[str, Any] | None = None
    force: bool | str | UnsetType = UNSET


class SnapshotUpdate(Struct):
    """The body of an update, in its envelope `snapshot`."""

    name: str | UnsetType | None = UNSET
    description: str | UnsetType | None = UNSET
    display_name: str | UnsetType | None = UNSET
    display_description: str | UnsetType | None = UNSET


class SnapshotRollback(Struct):
    """The body of a rollback, in its envelope `rollback`."""

    volume_id: str
    name: str | None = None
    """Of the volume; it has no effect."""


def snapshot_view(snapshot: Snapshot) -> dict[str, Any]:
    """Return the nine fields that every answer has."""
    return {
        "id": snapshot.id,
        "status": snapshot.status,
        "name": snapshot.name,
        "description": snapshot.description,
        "created_at": wire_time(snapshot.created_at),
        "updated_at": wire_time(snapshot.updated_at),
        "metadata": snapshot.metadata,
        "volume_id": snapshot.volume_id,
        "size": snapshot.size_gib,
    }


def snapshot_detail(snapshot: Snapshot) -> dict[str, Any]:
    """Return what show and detail add in every family, and what only OpenEVS can tell: when exactly the bytes were
    frozen, how long that took, how long a client's request was held up by it, and why it failed."""
    view = _extended(snapshot)
    view["openevs:taken_at"] = wire_time(snapshot.taken_at)
    view["openevs:cut_ms"] = snapshot.cut_ms
    view["openevs:stall_ms"] = snapshot.stall_ms
    view["openevs:reason"] = snapshot.reason
    return view


def _extended(snapshot: Snapshot) -> dict[str, Any]:
    view = snapshot_view(snapshot)
    view["os-extended-snapshot-attributes:project_id"] = snapshot.project_id
    view["os-extended-snapshot-attributes:progress"] = snapshot.progress
    return view


def cloud_list_item(snapshot: Snapshot) -> dict[str, Any]:
    """Return what the list of cloudsnapshots shows."""
    return {**snapshot_detail(snapshot), "service_type": "EVS"}


def native_detail(call: Call, snapshot: Snapshot) -> dict[str, Any]:
    """Return what native show and detail show, by API and microversion.

    `user_id` stands on every v3 detail answer of EVS, in Cinder's from 3.41 on, and a strict client of that minds."""
    view = snapshot_detail(snapshot) if call.shows_own else _extended(snapshot)
    _add_later_fields(call, snapshot, view)
    return view


def native_made(call: Call, snapshot: Snapshot) -> dict[str, Any]:
    """Return what the native answers to a create and to an update show."""
    view = snapshot_view(snapshot)
    _add_later_fields(call, snapshot, view)
    return view


def _add_later_fields(call: Call, snapshot: Snapshot, view: dict[str, Any]) -> None:
    if call.api == "v3":
        minor = call.version[1]
        if minor >= 41:
            view["user_id"] = snapshot.user_id
        if minor >= 14:
            view["group_snapshot_id"] = snapshot.group_snapshot_id
        if minor >= 65:
            view["consumes_quota"] = True
