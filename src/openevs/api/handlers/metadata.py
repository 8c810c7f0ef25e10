"""Metadata as a sub-resource of snapshots and of volumes: the same six calls for both (spec 2.1.1, 2.8, 4.1).

`metadata_routes` makes them for a kind of resource. As in Cinder, two things are so for volumes only: keys beside
`metadata` or `meta` in a body are refused, and a client can keep others' changes from being lost. It was told by an
ETag which metadata it has seen, and a change that names it in `If-Match` is made only if that is what is still there.
"""

import hashlib
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import msgspec

from openevs.api.call import Call, Reply, Route
from openevs.api.faults import HttpRefusal
from openevs.api.wire.bodies import json_object, json_type, refuse_unknown
from openevs.domain.errors import InvalidInput, NotFound
from openevs.service import metadata as service

ETAG_SINCE: Final = 15
"""Microversion from which the metadata of volumes have an ETag."""


class MetadataBody(msgspec.Struct):
    """The body of a change of several keys."""

    metadata: dict[str, str]


class MetaBody(msgspec.Struct):
    """The body, or the answer, of a call about one key."""

    meta: dict[str, str]


def metadata_routes(kind: str, kept: service.Kept, tag: str) -> list[Route]:
    """Return the routes of a resource's metadata. `kind` is `snapshot`: the resource's id is `{snapshot_id}` in the
    path, and its collection is `snapshots`."""

    def path_id(call: Call) -> str:
        return call.path[f"{kind}_id"]

    async def change(call: Call, given: Mapping[str, object], *, replace: bool) -> dict[str, str]:
        return await service.change_metadata(
            call.deps, call.caller, kept, path_id(call), given, replace=replace, expect=partial(_expect, call, kind)
        )

    async def get_metadata(call: Call) -> Reply:
        found = await service.get_metadata(call.deps, call.caller, kept, path_id(call))
        return Reply({"metadata": found}, headers={"ETag": f'"{_etag(found)}"'} if _has_etag(call, kind) else {})

    async def post_metadata(call: Call) -> Reply:
        given = _object(call, "metadata", alone=kind == "volume")
        return Reply({"metadata": await change(call, given, replace=False)})

    async def put_metadata(call: Call) -> Reply:
        given = _object(call, "metadata", alone=kind == "volume")
        return Reply({"metadata": await change(call, given, replace=True)})

    async def get_meta(call: Call) -> Reply:
        key = call.path["key"]
        found = await service.get_metadata(call.deps, call.caller, kept, path_id(call))
        if key not in found:
            raise NotFound("metadata key", key)
        return Reply({"meta": {key: found[key]}})

    async def put_meta(call: Call) -> Reply:
        given = _one_key(call, alone=kind == "volume")
        await change(call, given, replace=False)
        return Reply({"meta": given})

    async def delete_meta(call: Call) -> Reply:
        await service.delete_metadata(call.deps, call.caller, kept, path_id(call), call.path["key"])
        return Reply()

    every = f"{{project_id}}/{kind}s/{{{kind}_id}}/metadata"
    one = every + "/{key}"
    of = f"of a {kind}"
    delete = f"volume:delete_{kind}_metadata"
    show = partial(Route, "GET", policy=f"volume:get_{kind}_metadata", tag=tag)
    write = partial(Route, policy=f"volume:update_{kind}_metadata", tag=tag)
    many: dict[str, Any] = {"body": MetadataBody, "reply": MetadataBody}
    return [
        show(every, get_metadata, 200, f"Show the metadata {of}", reply=MetadataBody),
        write("POST", every, post_metadata, 200, f"Add to the metadata {of}", **many),
        write("PUT", every, put_metadata, 200, f"Replace the metadata {of}", **many),
        show(one, get_meta, 200, f"Show one key of the metadata {of}", reply=MetaBody),
        write("PUT", one, put_meta, 200, f"Set one key of the metadata {of}", body=MetaBody, reply=MetaBody),
        write("DELETE", one, delete_meta, 200, f"Remove one key of the metadata {of}", policy=delete),
    ]


def _object(call: Call, envelope: str, *, alone: bool) -> dict[str, Any]:
    """Return the object in the envelope; `alone`: nothing may stand beside it."""
    document = json_object(call)
    if envelope not in document:
        raise InvalidInput(envelope, "it is required in the body.", "EVS.1070")
    if alone and call.strict:
        refuse_unknown("body", document.keys() - {envelope})
    inner = document[envelope]
    if not isinstance(inner, dict):
        raise InvalidInput(envelope, f"it must be an object of strings, not {json_type(inner)}.", "EVS.1070")
    return inner


def _one_key(call: Call, *, alone: bool) -> dict[str, Any]:
    """Return the body's `meta`, which must have the key of the URL and no other (Cinder's two refusals)."""
    given, key = _object(call, "meta", alone=alone), call.path["key"]
    if key not in given:
        raise InvalidInput("meta", f"Request body and URI mismatch: it must have the key {key[:64]!r} of the URL.")
    if len(given) > 1:
        raise InvalidInput("meta", "Request body contains too many items: it must have one key, the one of the URL.")
    return given


def _etag(metadata: Mapping[str, str]) -> str:
    """Return what stands for these keys and values, in whatever order they are."""
    return hashlib.sha256(msgspec.json.encode(metadata, order="sorted")).hexdigest()[:32]


def _expect(call: Call, kind: str, found: Mapping[str, str]) -> None:
    """Refuse a change that names in `If-Match` what it has seen, if that is not what is found now."""
    text = call.headers.text(b"if-match")
    if text is None or text.strip() == "*" or call.method != "PUT" or not _has_etag(call, kind):
        return
    if _etag(found) not in {tag.strip().strip('"') for tag in text.split(",")}:
        raise HttpRefusal(412, f"The metadata of this {kind} is not, or no longer, what If-Match names.")


def _has_etag(call: Call, kind: str) -> bool:
    return kind == "volume" and call.at_least(ETAG_SINCE)
