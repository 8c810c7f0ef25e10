"""Metadata as a sub-resource of snapshots and of volumes: the same six calls for both (spec 2.1.1, 2.8, 4.1).

`metadata_routes` makes them from the three use cases of a kind of resource. Keys beside `metadata` or `meta` in a
body are tolerated, as in Cinder.
"""

from collections.abc import Awaitable, Mapping
from functools import partial
from typing import Any, NamedTuple, Protocol

import msgspec

from openevs.api.call import Call, Reply, Route
from openevs.api.wire.bodies import json_object, json_type
from openevs.domain.errors import InvalidInput, NotFound
from openevs.domain.model import Caller
from openevs.service.deps import Deps


class MetadataBody(msgspec.Struct):
    """The body of a change of several keys."""

    metadata: dict[str, str]


class MetaBody(msgspec.Struct):
    """The body, or the answer, of a call about one key."""

    meta: dict[str, str]


class _HasMetadata(Protocol):
    @property
    def metadata(self) -> dict[str, str]: ...


class _Get(Protocol):
    def __call__(self, deps: Deps, caller: Caller, resource_id: str, /) -> Awaitable[_HasMetadata]: ...


class _Change(Protocol):
    def __call__(
        self, deps: Deps, caller: Caller, resource_id: str, metadata: Mapping[str, object], /, *, replace: bool
    ) -> Awaitable[dict[str, str]]: ...


class _Delete(Protocol):
    def __call__(self, deps: Deps, caller: Caller, resource_id: str, key: str, /) -> Awaitable[None]: ...


class Kept(NamedTuple):
    """One kind of resource that has metadata, and its use cases."""

    kind: str
    """`snapshot`: the resource's id is `{snapshot_id}` in the path, and its collection is `snapshots`."""
    get: _Get
    """Returns the resource. Raises NotFound."""
    change: _Change
    """Merges or replaces, and returns all of it. Raises InvalidInput, NotFound."""
    delete: _Delete
    """Removes one key. Raises NotFound."""


def metadata_routes(kept: Kept, tag: str) -> list[Route]:
    """Return the routes of a resource's metadata."""

    def path_id(call: Call) -> str:
        return call.path[f"{kept.kind}_id"]

    async def get_metadata(call: Call) -> Reply:
        found = await kept.get(call.deps, call.caller, path_id(call))
        return Reply({"metadata": found.metadata})

    async def post_metadata(call: Call) -> Reply:
        given = _object(call, "metadata")
        return Reply({"metadata": await kept.change(call.deps, call.caller, path_id(call), given, replace=False)})

    async def put_metadata(call: Call) -> Reply:
        given = _object(call, "metadata")
        return Reply({"metadata": await kept.change(call.deps, call.caller, path_id(call), given, replace=True)})

    async def get_meta(call: Call) -> Reply:
        key = call.path["key"]
        found = await kept.get(call.deps, call.caller, path_id(call))
        if key not in found.metadata:
            raise NotFound("metadata key", key)
        return Reply({"meta": {key: found.metadata[key]}})

    async def put_meta(call: Call) -> Reply:
        given = _one_key(call)
        await kept.change(call.deps, call.caller, path_id(call), given, replace=False)
        return Reply({"meta": given})

    async def delete_meta(call: Call) -> Reply:
        await kept.delete(call.deps, call.caller, path_id(call), call.path["key"])
        return Reply()

    every = f"{{project_id}}/{kept.kind}s/{{{kept.kind}_id}}/metadata"
    one = every + "/{key}"
    of = f"of a {kept.kind}"
    delete = f"volume:delete_{kept.kind}_metadata"
    show = partial(Route, "GET", policy=f"volume:get_{kept.kind}_metadata", tag=tag)
    write = partial(Route, policy=f"volume:update_{kept.kind}_metadata", tag=tag)
    many: dict[str, Any] = {"body": MetadataBody, "reply": MetadataBody}
    return [
        show(every, get_metadata, 200, f"Show the metadata {of}", reply=MetadataBody),
        write("POST", every, post_metadata, 200, f"Add to the metadata {of}", **many),
        write("PUT", every, put_metadata, 200, f"Replace the metadata {of}", **many),
        show(one, get_meta, 200, f"Show one key of the metadata {of}", reply=MetaBody),
        write("PUT", one, put_meta, 200, f"Set one key of the metadata {of}", body=MetaBody, reply=MetaBody),
        write("DELETE", one, delete_meta, 200, f"Remove one key of the metadata {of}", policy=delete),
    ]


def _object(call: Call, envelope: str) -> dict[str, Any]:
    document = json_object(call)
    if envelope not in document:
        raise InvalidInput(envelope, "it is required in the body.", "EVS.1070")
    inner = document[envelope]
    if not isinstance(inner, dict):
        raise InvalidInput(envelope, f"it must be an object of strings, not {json_type(inner)}.", "EVS.1070")
    return inner


def _one_key(call: Call) -> dict[str, Any]:
    """Return the body's `meta`, which must have the key of the URL and no other (Cinder's two refusals)."""
    given, key = _object(call, "meta"), call.path["key"]
    if key not in given:
        raise InvalidInput("meta", f"Request body and URI mismatch: it must have the key {key[:64]!r} of the URL.")
    if len(given) > 1:
        raise InvalidInput("meta", "Request body contains too many items: it must have one key, the one of the URL.")
    return given
