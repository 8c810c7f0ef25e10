"""What the service has: its availability zone, its extensions, the filters of its lists (spec 4.1, 4.11)."""

from functools import partial
from typing import Any, Final

from openevs.api.call import Call, Reply, Route
from openevs.api.wire.attachments import ATTACHMENT_LIST
from openevs.api.wire.backups import BACKUP_LIST
from openevs.api.wire.groups import GROUP_LIST, GROUP_SNAPSHOT_LIST
from openevs.api.wire.lists import SNAPSHOT_LIST, Listing
from openevs.api.wire.messages import MESSAGE_LIST
from openevs.api.wire.transfers import TRANSFER_LIST
from openevs.api.wire.types import TYPE_LIST
from openevs.api.wire.volumes import VOLUME_LIST
from openevs.domain.errors import NotFound

EXTENSIONS: Final = {
    "OS-SCH-HNT": "SchedulerHints",
    "backups": "Backups",
    "capabilities": "Capabilities",
    "cgsnapshots": "Cgsnapshots",
    "consistencygroups": "Consistencygroups",
    "encryption": "VolumeTypeEncryption",
    "os-admin-actions": "AdminActions",
    "os-availability-zone": "AvailabilityZones",
    "os-extended-services": "ExtendedServices",
    "os-extended-snapshot-attributes": "ExtendedSnapshotAttributes",
    "os-hosts": "Hosts",
    "os-quota-class-sets": "QuotaClasses",
    "os-quota-sets": "Quotas",
    "os-services": "Services",
    "os-snapshot-actions": "SnapshotActions",
    "os-snapshot-manage": "SnapshotManage",
    "os-snapshot-unmanage": "SnapshotUnmanage",
    "os-types-extra-specs": "TypesExtraSpecs",
    "os-types-manage": "TypesManage",
    "os-used-limits": "UsedLimits",
    "os-vol-host-attr": "VolumeHostAttribute",
    "os-vol-image-meta": "VolumeImageMetadata",
    "os-vol-mig-status-attr": "VolumeMigStatusAttribute",
    "os-vol-tenant-attr": "VolumeTenantAttribute",
    "os-volume-actions": "VolumeActions",
    "os-volume-encryption-metadata": "VolumeEncryptionMetadata",
    "os-volume-manage": "VolumeManage",
    "os-volume-transfer": "VolumeTransfer",
    "os-volume-type-access": "VolumeTypeAccess",
    "os-volume-unmanage": "VolumeUnmanage",
    "qos-specs": "Qos_specs_manage",
    "scheduler-stats": "Scheduler_stats",
}
"""Every extension that Cinder lists: clients look for them here before they make the calls."""
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


FILTERS: Final = {
    "volume": VOLUME_LIST,
    "snapshot": SNAPSHOT_LIST,
    "attachment": ATTACHMENT_LIST,
    "group": GROUP_LIST,
    "group_snapshot": GROUP_SNAPSHOT_LIST,
    "message": MESSAGE_LIST,
    "transfer": TRANSFER_LIST,
    "backup": BACKUP_LIST,
    "volume_type": TYPE_LIST,
    "pool": Listing(filters={"name": "name", "volume_type": "volume_type"}),
}
"""What each list can be filtered by: resource → list."""


async def list_filters(call: Call) -> Reply:
    """List the filters that each list has."""
    wanted = call.query.get("resource")
    shown = [
        {"resource": name, "filters": [*sorted(_names(listing)), *(f"{like}~" for like in sorted(listing.like))]}
        for name, listing in FILTERS.items()
        if wanted in (None, name)
    ]
    return Reply({"resource_filters": shown})


def _names(listing: Listing) -> set[str]:
    metadata = () if listing.metadata_since is None else ("metadata",)
    return {*listing.filters, *listing.time_filters, *listing.documents, *metadata}


_show = partial(Route, "GET", policy="reader", tag="Service")

ROUTES = [
    _show("{project_id}/os-availability-zone", list_zones, 200, "List the availability zones"),
    _show("{project_id}/extensions", list_extensions, 200, "List the extensions"),
    _show("{project_id}/extensions/{alias}", get_extension, 200, "Show an extension"),
    _show("{project_id}/resource_filters", list_filters, 200, "List the filters of lists",
          apis=("v3",), since=33, query=("resource",)),
]  # fmt: skip
