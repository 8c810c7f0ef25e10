"""The route table: everything the API answers to, in one place.

Each module of handlers has a list ROUTES; this gathers them and expands each over the API versions that it is for. A
route below `{project_id}` is also there without it, under v3, for clients of microversion 3.67 and later.
"""

from collections.abc import Iterator

from openevs.api import versions
from openevs.api.call import Route
from openevs.api.handlers import (
    attachments,
    backups,
    cgsnapshots,
    cloudsnapshots,
    cloudvolumes,
    consistencygroups,
    group_snapshots,
    group_types,
    groups,
    identity_catalog,
    identity_keys,
    identity_projects,
    identity_roles,
    identity_tokens,
    identity_users,
    jobs,
    managing,
    messages,
    parts,
    places,
    qos,
    quotas,
    snapshot_actions,
    snapshot_metadata,
    snapshots,
    transfers,
    type_parts,
    types,
    volume_actions,
    volume_metadata,
    volumes,
)
from openevs.api.tree import RouteTree

PROJECT = "{project_id}/"

ROUTES: list[Route] = [
    *versions.ROUTES,
    *snapshots.ROUTES,
    *places.ROUTES,
    *quotas.ROUTES,
    *types.ROUTES,
    *type_parts.ROUTES,
    *qos.ROUTES,
    *snapshot_actions.ROUTES,
    *cloudsnapshots.ROUTES,
    *snapshot_metadata.ROUTES,
    *volumes.ROUTES,
    *cloudvolumes.ROUTES,
    *jobs.ROUTES,
    *volume_metadata.ROUTES,
    *volume_actions.ROUTES,
    *attachments.ROUTES,
    *backups.ROUTES,
    *transfers.ROUTES,
    *managing.ROUTES,
    *messages.ROUTES,
    *parts.ROUTES,
    *groups.ROUTES,
    *group_snapshots.ROUTES,
    *group_types.ROUTES,
    *consistencygroups.ROUTES,
    *cgsnapshots.ROUTES,
    *identity_tokens.ROUTES,
    *identity_projects.ROUTES,
    *identity_users.ROUTES,
    *identity_roles.ROUTES,
    *identity_catalog.ROUTES,
    *identity_keys.ROUTES,
]


def paths(route: Route) -> Iterator[tuple[str, str]]:
    """Yield each absolute path of a route, with the API version it is for."""
    for api in route.apis:
        if route.path.startswith("/"):
            yield route.path, api
            continue
        yield f"/{api}/{route.path}", api
        if api == "v3" and route.family == "native" and route.path.startswith(PROJECT):
            yield f"/v3/{route.path.removeprefix(PROJECT)}", api


def build_tree(routes: list[Route] = ROUTES) -> RouteTree:
    """Return the tree of all routes."""
    tree = RouteTree()
    for route in routes:
        for path, api in paths(route):
            tree.add(path, route, api)
    return tree
