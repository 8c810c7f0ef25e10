"""The metadata of native volumes, v2 and v3 (spec 4.1)."""

from openevs.api.handlers.metadata import Kept, metadata_routes
from openevs.service import volumes as service

ROUTES = metadata_routes(
    Kept("volume", service.get_volume, service.change_volume_metadata, service.delete_volume_metadata),
    tag="Volumes",
)
