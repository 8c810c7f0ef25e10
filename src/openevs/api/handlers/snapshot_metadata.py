"""The metadata of native snapshots, v2 and v3 (spec 2.1.1)."""

from openevs.api.handlers.metadata import metadata_routes
from openevs.service.metadata import OF_SNAPSHOTS

ROUTES = metadata_routes("snapshot", OF_SNAPSHOTS, tag="Snapshots")
