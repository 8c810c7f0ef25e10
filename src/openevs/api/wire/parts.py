"""The service itself as the API writes it: services, hosts, pools, capabilities."""

from typing import Annotated, Any, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from openevs.api.call import Call
from openevs.api.wire.snapshot_replies import Time
from openevs.api.wire.times import wire_time
from openevs.domain.backends import PROTOCOL, VENDOR, VOLUME, Part, backend_host, pool_name
from openevs.service.deps import Deps
from openevs.service.parts import Use


class HostBody(Struct, forbid_unknown_fields=True):
    """The body of a switch of a host."""

    status: str


class PartBody(Struct, forbid_unknown_fields=True):
    """The body of enable and disable."""

    binary: str | None = None
    service: str | None = None
    host: str | None = None
    cluster: str | None = None


class PartDisableBody(PartBody, forbid_unknown_fields=True):
    """The body of disable-log-reason."""

    disabled_reason: str | None = None


class BackendBody(Struct, forbid_unknown_fields=True):
    """The body of freeze and thaw."""

    host: str | None = None
    cluster: str | None = None


class FailoverBody(BackendBody, forbid_unknown_fields=True):
    """The body of failover and failover_host."""

    backend_id: str | None = None


class LogQueryBody(Struct, forbid_unknown_fields=True):
    """The body of get-log."""

    binary: str | None = None
    server: str | None = None
    prefix: str | None = None


class LogChangeBody(LogQueryBody, forbid_unknown_fields=True):
    """The body of set-log."""

    level: str | None = None


class PartView(Struct):
    """A part of the service."""

    binary: str
    host: str
    zone: str
    status: Literal["enabled", "disabled"]
    state: Literal["up", "down"]
    updated_at: Time
    disabled_reason: str | None
    cluster: Annotated[UnsetType | None, Meta(description="From 3.7 on.")] = UNSET
    replication_status: str | UnsetType = UNSET
    active_backend_id: UnsetType | None = UNSET
    frozen: bool | UnsetType = UNSET
    backend_state: Annotated[str | UnsetType, Meta(description="From 3.49 on.")] = UNSET


class PartList(Struct):
    """The parts of the service."""

    services: list[PartView]


class PoolView(Struct):
    """A pool."""

    name: str
    capabilities: dict[str, Any] | UnsetType = UNSET


class PoolList(Struct):
    """The pools."""

    pools: list[PoolView]


def part_view(call: Call, part: Part) -> dict[str, Any]:
    """Return a part, in Cinder's word a service."""
    storage = call.deps.storage()
    up = part.binary != VOLUME or (storage is not None and storage.up)
    view: dict[str, Any] = {
        "binary": part.binary,
        "host": part.host,
        "zone": call.deps.settings.api.availability_zone,
        "status": "disabled" if part.disabled else "enabled",
        "state": "up" if up else "down",
        "updated_at": wire_time(storage.seen_at if storage is not None else call.deps.clock()),
        "disabled_reason": part.disabled_reason,
    }
    if call.at_least(7):
        view["cluster"] = None
    if part.binary == VOLUME:
        view |= {"replication_status": "disabled", "active_backend_id": None, "frozen": part.frozen}
        if call.at_least(49):
            view["backend_state"] = "up" if up else "down"
    return view


def host_view(call: Call, part: Part) -> dict[str, Any]:
    """Return a part in the words of the older hosts API."""
    view = part_view(call, part)
    return {
        "host_name": part.host,
        "service": part.binary,
        "zone": view["zone"],
        "service-status": "available" if view["state"] == "up" else "unavailable",
        "service-state": view["status"],
        "last-update": view["updated_at"],
    }


def use_view(host: str, uses: list[Use]) -> list[dict[str, Any]]:
    """Return what projects have on a host, the total first; numbers are texts there."""
    total = Use(
        "(total)",
        sum(use.volumes for use in uses),
        sum(use.volume_gib for use in uses),
        sum(use.snapshots for use in uses),
        sum(use.snapshot_gib for use in uses),
    )
    return [
        {
            "resource": {
                "host": host,
                "project": use.project_id,
                "volume_count": str(use.volumes),
                "total_volume_gb": str(use.volume_gib),
                "snapshot_count": str(use.snapshots),
                "total_snapshot_gb": str(use.snapshot_gib),
            }
        }
        for use in (total, *uses)
    ]


def capabilities_of(deps: Deps, backend: str) -> dict[str, Any]:
    """Return what a backend says of itself, in the scheduler's words."""
    storage = deps.storage()
    return {
        "volume_backend_name": backend,
        "vendor_name": VENDOR,
        "driver_version": deps.engine_version().rpartition(" ")[2] or "0",  # without the program's name
        "storage_protocol": PROTOCOL,
        "pool_name": backend,
        "total_capacity_gb": "unknown" if storage is None else round(storage.total_gib, 2),
        "free_capacity_gb": "unknown" if storage is None else round(storage.free_gib, 2),
        "provisioned_capacity_gb": 0 if storage is None else round(storage.provisioned_gib, 2),
        "allocated_capacity_gb": 0 if storage is None else round(storage.provisioned_gib, 2),
        "reserved_percentage": 0,
        "max_over_subscription_ratio": "auto",
        "thin_provisioning_support": True,
        "thick_provisioning_support": False,
        "multiattach": True,
        "QoS_support": "throttles" in deps.powers,
        "online_extend_support": True,
        "consistent_group_snapshot_enabled": "group_snapshots" in deps.powers,
        "replication_enabled": False,
        "replication_targets": [],
        "backend_state": "up" if storage is None or storage.up else "down",
        "location_info": f"{backend_host(backend)}",
        "timestamp": None if storage is None else wire_time(storage.seen_at),
        "updated": None if storage is None else wire_time(storage.seen_at),
    }


def pool_view(deps: Deps, backend: str, *, detailed: bool) -> dict[str, Any]:
    """Return a pool as the scheduler's statistics show it."""
    view: dict[str, Any] = {"name": pool_name(backend)}
    if detailed:
        view["capabilities"] = capabilities_of(deps, backend)
    return view


PROPERTIES: Final = {
    "thin_provisioning": ("Thin Provisioning", "Volumes take the room of what was written to them."),
    "qos": ("Quality of Service", "Clients of a volume are kept to the limits of its type, if the engine can."),
    "compression": ("Compression", "Volumes are not compressed."),
    "replication_enabled": ("Replication", "Volumes are not replicated."),
}
"""What a backend tells of itself to people, by name: title and description."""


def capabilities_view(deps: Deps, backend: str, host: str) -> dict[str, Any]:
    """Return a backend's capabilities."""
    known = capabilities_of(deps, backend)
    return {
        "namespace": f"OS::Storage::Capabilities::{host}",
        "vendor_name": known["vendor_name"],
        "volume_backend_name": backend,
        "pool_name": backend,
        "driver_version": known["driver_version"],
        "storage_protocol": known["storage_protocol"],
        "display_name": "Copy-on-write layers",
        "description": "One pool of qcow2 layers, served over NBD.",
        "visibility": "public",
        "replication_targets": [],
        "properties": {
            name: {"title": title, "description": description, "type": "boolean"}
            for name, (title, description) in PROPERTIES.items()
        },
    }
