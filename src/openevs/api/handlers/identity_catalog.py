"""What identity only shows: its versions, the domain, and the catalog's regions, services and endpoints."""

from collections.abc import Sequence
from typing import Any, Final

from openevs.api.call import Call, Reply
from openevs.api.handlers.identity_calls import iam_route
from openevs.api.wire.identity import (
    collection,
    domain_view,
    endpoint_view,
    flag_filter,
    region_view,
    service_view,
)
from openevs.domain.errors import NotFound
from openevs.identity.catalog import PROJECT, Service, catalog
from openevs.identity.port import DOMAIN_ID, DOMAIN_NAME

VERSION: Final = "v3.14"
"""The Keystone version whose calls these are; clients look at the first number only."""


async def list_versions(call: Call) -> Reply:
    """List the versions of the identity API."""
    return Reply({"versions": {"values": [_version(call)]}})


async def get_version(call: Call) -> Reply:
    """Describe version 3 of the identity API."""
    return Reply({"version": _version(call)})


async def list_domains(call: Call) -> Reply:
    """List the domains that fit: the one there is, or none."""
    named = call.query.get("name", DOMAIN_NAME).casefold() == DOMAIN_NAME.casefold()
    fits = named and flag_filter(call, "enabled") is not False
    return Reply(collection(call, "domains", [domain_view(call)] if fits else []))


async def get_domain(call: Call) -> Reply:
    """Show a domain."""
    if call.path["domain_id"] != DOMAIN_ID:
        raise NotFound("domain", call.path["domain_id"])
    return Reply({"domain": domain_view(call)})


async def list_regions(call: Call) -> Reply:
    """List the regions: the one there is."""
    return Reply(collection(call, "regions", [region_view(call, call.deps.settings.api.region)]))


async def get_region(call: Call) -> Reply:
    """Show a region."""
    if call.path["region_id"] != call.deps.settings.api.region:
        raise NotFound("region", call.path["region_id"])
    return Reply({"region": region_view(call, call.deps.settings.api.region)})


async def list_services(call: Call) -> Reply:
    """List the services."""
    views = [service_view(call, service) for service in _services(call)]
    return Reply(collection(call, "services", _fitting(call, views, ("type", "name"))))


async def get_service(call: Call) -> Reply:
    """Show a service."""
    for service in _services(call):
        if service.id == call.path["service_id"]:
            return Reply({"service": service_view(call, service)})
    raise NotFound("service", call.path["service_id"])


async def list_endpoints(call: Call) -> Reply:
    """List the endpoints; their URLs show where a project's id goes."""
    views = [endpoint_view(call, endpoint) for service in _services(call) for endpoint in service.endpoints]
    fitting = _fitting(call, views, ("interface", "service_id", "region", "region_id"))
    return Reply(collection(call, "endpoints", fitting))


async def get_endpoint(call: Call) -> Reply:
    """Show an endpoint."""
    for service in _services(call):
        for endpoint in service.endpoints:
            if endpoint.id == call.path["endpoint_id"]:
                return Reply({"endpoint": endpoint_view(call, endpoint)})
    raise NotFound("endpoint", call.path["endpoint_id"])


def _version(call: Call) -> dict[str, Any]:
    return {
        "id": VERSION,
        "status": "stable",
        "updated": "2020-04-07T00:00:00Z",
        "links": [{"rel": "self", "href": f"{call.base_url}/identity/v3/"}],
        "media-types": [{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}],
    }


def _services(call: Call) -> list[Service]:
    return catalog(call.base_url, call.deps.settings.api.region, PROJECT)


def _fitting(call: Call, views: Sequence[dict[str, Any]], filters: Sequence[str]) -> list[dict[str, Any]]:
    wanted = [(name, call.query[name]) for name in filters if name in call.query]
    return [view for view in views if all(view[name] == value for name, value in wanted)]


ROUTES = [
    iam_route("GET", "/identity", list_versions, 300, "List identity's versions", apis=("",), policy="none"),
    iam_route("GET", "/identity/v3", get_version, 200, "Describe identity v3", apis=("",), policy="none"),
    iam_route("GET", "domains", list_domains, 200, "List domains"),
    iam_route("GET", "domains/{domain_id}", get_domain, 200, "Show a domain"),
    iam_route("GET", "regions", list_regions, 200, "List regions"),
    iam_route("GET", "regions/{region_id}", get_region, 200, "Show a region"),
    iam_route("GET", "services", list_services, 200, "List services"),
    iam_route("GET", "services/{service_id}", get_service, 200, "Show a service"),
    iam_route("GET", "endpoints", list_endpoints, 200, "List endpoints"),
    iam_route("GET", "endpoints/{endpoint_id}", get_endpoint, 200, "Show an endpoint"),
]
