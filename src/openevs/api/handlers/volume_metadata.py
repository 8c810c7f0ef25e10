"""The metadata of native volumes, v2 and v3 (spec 4.1)."""

from openevs.api.handlers.metadata import metadata_routes
from openevs.service.metadata import OF_VOLUMES

ROUTES = metadata_routes("volume", OF_VOLUMES, tag="Volumes")
