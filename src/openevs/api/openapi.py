"""The OpenAPI description, made from the route table: `/openapi.json`. A test holds real answers against it."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from openevs import __version__
from openevs.api.call import Call, Family, Reply, Route
from openevs.api.faults import FAULT_NAME, OTHER_FAULT
from openevs.api.openapi_links import add_links
from openevs.api.routes import paths
from openevs.api.versions import HEADER, HIGHEST, LOWEST, as_text

REFS: Final = "#/components/schemas/{name}"
REFUSALS: Final = (400, 401, 403, 404, 405, 406, 408, 409, 413, 415, 500, 503)
ENVELOPES: Final = {"SnapshotRollback": "rollback"}
"""Key under which a struct stands in its body, where it is not the first word of the struct's name. A struct whose
name ends in `Body` is the whole body."""

_FLAG = {"type": "string", "enum": ["true", "false", "True", "False", "1", "0"]}
_NUMBER = {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}
QUERY: Final[Mapping[str, dict[str, Any]]] = {
    "limit": _NUMBER,
    "offset": _NUMBER,
    "marker": {"type": "string", "format": "uuid"},
    "sort_dir": {"type": "string", "enum": ["asc", "desc"]},
    "usage": _FLAG,
    "with_count": _FLAG,
    "cascade": _FLAG,
    "force": _FLAG,
    "service_type": {"type": "string", "enum": ["EVS", "DSS", "DESS"]},
}
"""Schemas of query parameters; others are texts."""
EVS_LIMIT: Final = {"type": "integer", "minimum": 1, "maximum": 1000}
ACTION: Final = {
    "type": "object",
    "minProperties": 1,
    "maxProperties": 1,
    "description": "One action by name, with its parameters.",
}
PLAIN_PATHS: Final = ("/healthz", "/readyz", "/metrics")

_FAULT = {
    "type": "object",
    "required": ["message", "code"],
    "properties": {"message": {"type": "string"}, "code": {"type": "integer"}, "retryAfter": {"type": "string"}},
}
_GATEWAY = {
    "type": "object",
    "required": ["error_msg", "error_code", "request_id"],
    "properties": {name: {"type": "string"} for name in ("error_msg", "error_code", "request_id")},
}
ERRORS: Final[dict[str, dict[str, Any]]] = {
    "native": {
        "type": "object",
        "description": "Cinder's form: the kind of error by name.",
        "minProperties": 1,
        "maxProperties": 1,
        "properties": dict.fromkeys(sorted({*FAULT_NAME.values(), OTHER_FAULT}), _FAULT),
        "additionalProperties": False,
    },
    "evs": {
        "type": "object",
        "description": "The form of Huawei's own resources.",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["message", "code"],
                "properties": {
                    "message": {"type": "string"},
                    "code": {"type": "string", "pattern": "^[A-Za-z]+\\.\\d+$"},
                },
            }
        },
    },
    "flat": _FAULT,
    "iam": {
        "type": "object",
        "description": "Keystone's form.",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["message", "code", "title"],
                "properties": {
                    "message": {"type": "string"},
                    "code": {"type": "integer"},
                    "title": {"type": "string"},
                },
            }
        },
    },
    "gateway": _GATEWAY,
}


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """Return the description of an API with these routes."""
    routes = list(routes)
    structs = {kind for route in routes for kind in (route.body, route.reply) if kind is not None}
    ordered = sorted(structs, key=str)
    schemas, components = msgspec.json.schema_components(ordered, ref_template=REFS)
    known = dict(zip(ordered, schemas, strict=True))
    described: dict[str, dict[str, Any]] = {}
    taken: set[str] = set()
    for route in routes:
        for path, api in paths(route):
            operation = _operation(route, path, api, known)
            operation["operationId"] = _unique(f"{api or 'root'}_{route.handler.__name__}", taken)
            described.setdefault(path, {})[route.method.lower()] = operation
    add_links(described)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "OpenEVS",
            "version": __version__,
            "description": "The Elastic Volume Service API: Cinder's resources and Huawei's own.",
        },
        "paths": described,
        "components": {
            "schemas": {**components, **{f"error_{name}": schema for name, schema in ERRORS.items()}},
            "securitySchemes": {"token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}},
        },
    }


def _unique(name: str, taken: set[str]) -> str:
    number, found = 2, name
    while found in taken:
        found, number = f"{name}_{number}", number + 1
    taken.add(found)
    return found


def _operation(route: Route, path: str, api: str, known: Mapping[Any, dict[str, Any]]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": route.summary,
        "tags": [route.tag or "Other"],
        "parameters": _parameters(route, path, api),
        "responses": _responses(route, path, known),
        "security": [] if route.policy == "none" else [{"token": []}],
    }
    if route.since and api == "v3":
        operation["description"] = f"From microversion 3.{route.since} on."
    body = _body(route, known)
    if body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return operation


def _parameters(route: Route, path: str, api: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in re.findall(r"{(\w+)}", path)
    ]
    for name in route.query:
        schema = EVS_LIMIT if name == "limit" and route.family == "evs" else QUERY.get(name, {"type": "string"})
        found.append({"name": name, "in": "query", "schema": schema})
    if api == "v3" and route.family == "native":
        found.append(
            {
                "name": HEADER,
                "in": "header",
                "description": f"Microversion from {as_text(LOWEST)} to {as_text(HIGHEST)}, as `volume 3.40`.",
                "schema": {"type": "string", "pattern": r"^volume (3\.([0-9]|[1-6][0-9]|7[01])|latest)$"},
            }
        )
    return found


def _body(route: Route, known: Mapping[Any, dict[str, Any]]) -> dict[str, Any] | None:
    if route.path.endswith("/action"):
        return ACTION
    if route.body is None:
        return None
    name = route.body.__name__
    schema = known[route.body]
    if name.endswith("Body"):
        return schema
    envelope = ENVELOPES.get(name) or re.findall("[A-Z][a-z]*", name)[0].lower()
    return {"type": "object", "required": [envelope], "properties": {envelope: schema}}


def _responses(route: Route, path: str, known: Mapping[Any, dict[str, Any]]) -> dict[str, Any]:
    success: dict[str, Any] = {"description": route.summary}
    if path in PLAIN_PATHS:
        success["content"] = {"text/plain": {"schema": {"type": "string"}}}
    elif route.reply is not None:
        success["content"] = {"application/json": {"schema": known[route.reply]}}
    found = {str(route.status): success}
    for status in REFUSALS:
        found[str(status)] = {
            "description": FAULT_NAME.get(status, OTHER_FAULT),
            "content": {"application/json": {"schema": _error(route.family, status)}},
        }
    if path in PLAIN_PATHS:
        found["503"] = {"description": "Not ready", "content": {"text/plain": {"schema": {"type": "string"}}}}
    return found


def _error(family: Family, status: int) -> dict[str, Any]:
    gateway = status == 401 and family != "iam"
    return {"$ref": REFS.format(name="error_gateway" if gateway else f"error_{family}")}


def openapi_route(routes: list[Route]) -> Route:
    """Return the route that serves the description of `routes`, itself included."""
    rendered: list[bytes] = []

    async def get_openapi(call: Call) -> Reply:
        if not rendered:
            rendered.append(msgspec.json.encode(document([*routes, made])))
        return Reply(rendered[0])

    made = Route("GET", "/openapi.json", get_openapi, 200, "This description", ("",), "none", tag="Operation")
    return made
