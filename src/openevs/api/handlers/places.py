"""What the service has: its availability zone, its extensions, the filters of its lists (spec 4.1, 4.11)."""

from functools import partial
from typing import Any, Final

from openevs.api.call import Call, Reply, Route
from openevs.api.wire.lists import SNAPSHOT_LIST
from openevs.api.wire.volumes import VOLUME_LIST
from openevs.domain.errors import NotFound

EXTENSIONS: Final = {
    "os-vol-tenant-attr": "VolumeTenantAttribute",
    "os-vol-host-attr": "VolumeHostAttribute",
    "os-vol-mig-status-attr": "VolumeMigStatusAttribute",
    "os-quota-sets": "Quotas",
    "os-quota-class-sets": "QuotaClasses",
    "os-types-extra-specs": "TypesExtraSpecs",
    "os-volume-actions": "VolumeActions",
    "os-snapshot-actions": "SnapshotActions",
    "os-admin-actions": "AdminActions",
    "os-used-limits": "UsedLimits",
    "os-availability-zone": "AvailabilityZones",
    "os-extended-snapshot-attributes": "ExtendedSnapshotAttributes",
}
"""Those of the extensions that EVS lists (spec 4.11) whose calls or fields are really here."""
UPDATED: Final = "2013-04-18T00:00:00+00:00"


async def list_zones(call: Call) -> Reply:
    """List the availability zones: the one there is."""
    zone = {"zoneName": call.deps.settings.api.availability_zone, "zoneState": {"available": True}}
    return Reply({"availabilityZoneInfo": [zone]})


async def list_extensions(call: Call) -> Reply:
    """List the extensions."""
    return Reply({"extensions": [_extension(alias) for alias in EXTENSIONS]})


async def get_extension(call: Call) -> Reply:
    """Show an extension."""
    alias = call.path["alias"]
    if alias not in EXTENSIONS:
        raise NotFound("extension", alias)
    return Reply({"extension": _extension(alias)})


def _extension(alias: str) -> dict[str, Any]:
    name = EXTENSIONS[alias]
    return {"alias": alias, "name": name, "description": f"{name} support.", "updated": UPDATED, "links": []}


async def list_filters(call: Call) -> Reply:
    """List the filters that each list has."""
    lists = {"volume": VOLUME_LIST, "snapshot": SNAPSHOT_LIST}
    wanted = call.query.get("resource")
    shown = [
        {"resource": name, "filters": [*sorted(listing.filters), *(f"{like}~" for like in sorted(listing.like))]}
        for name, listing in lists.items()
        if wanted in (None, name)
    ]
    return Reply({"resource_filters": shown})


_show = partial(Route, "GET", policy="reader", tag="Service")

ROUTES = [
    _show("{project_id}/os-availability-zone", list_zones, 200, "List the availability zones"),
    _show("{project_id}/extensions", list_extensions, 200, "List the extensions"),
    _show("{project_id}/extensions/{alias}", get_extension, 200, "Show an extension"),
    _show(
        "{project_id}/resource_filters",
        list_filters,
        200,
        "List the filters of lists",
        apis=("v3",),
        since=31,
        query=("resource",),
    ),
]
