"""The metadata of native snapshots, v2 and v3 (spec 2.1.1)."""

from openevs.api.handlers.metadata import Kept, metadata_routes
from openevs.service import snapshots as service

ROUTES = metadata_routes(
    Kept("snapshot", service.get_snapshot, service.change_snapshot_metadata, service.delete_snapshot_metadata),
    tag="Snapshots",
)
