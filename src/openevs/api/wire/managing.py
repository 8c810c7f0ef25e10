"""What is on storage and can be managed, as the API writes it, and the bodies of the calls that manage it."""

from dataclasses import replace
from typing import Any, Final

from msgspec import Struct
from starlette.datastructures import QueryParams

from openevs.api.call import Call
from openevs.api.wire.lists import Listing, list_query, read_document
from openevs.domain.errors import InvalidInput
from openevs.service.managing import SOURCE_NAME, Manageable, stray_name


class VolumeManage(Struct):
    """The body of managing a volume, in its envelope `volume`."""

    ref: dict[str, Any] | str
    host: str | None = None
    cluster: str | None = None
    name: str | None = None
    description: str | None = None
    volume_type: str | None = None
    availability_zone: str | None = None
    metadata: dict[str, Any] | None = None
    bootable: bool | str | int | None = None


class SnapshotManage(Struct):
    """The body of managing a snapshot, in its envelope `snapshot`."""

    ref: dict[str, Any] | str | None
    volume_id: str
    name: str | None = None
    description: str | None = None
    metadata: dict[str, Any] | None = None


MANAGEABLE_LIST: Final = Listing(
    filters={"host": "host", "cluster": "cluster"}, sort_keys={"reference": "reference", "size": "size"}
)


def page_of(call: Call, found: list[Manageable]) -> list[Manageable]:
    """Return the page of a list that a request asks for: sorted by reference or size, from marker or offset on.
    Raises InvalidInput."""
    marker = call.query.get("marker")
    # References are no ids, which is what markers are elsewhere.
    others = QueryParams([(name, value) for name, value in call.query.multi_items() if name != "marker"])
    page = list_query(replace(call, query=others), MANAGEABLE_LIST).page
    for key, direction in reversed(page.sort):
        by_size = key == "size"
        found.sort(key=lambda one: (one.size_gib if by_size else 0, one.name), reverse=direction == "desc")
    if marker is not None:
        names = [one.name for one in found]
        reference = read_document("marker", marker)
        name = reference.get(SOURCE_NAME) if isinstance(reference, dict) else None
        if name not in names:
            raise InvalidInput("marker", "it is the reference of nothing in the list.")
        found = found[names.index(name) + 1 :]
    return found[page.offset : page.offset + page.limit]


def manageable_view(one: Manageable, *, detailed: bool) -> dict[str, Any]:
    """Return something that can be managed."""
    view: dict[str, Any] = {
        "reference": {SOURCE_NAME: one.name},
        "size": one.size_gib,
        "safe_to_manage": one.reason_not_safe is None,
    }
    if one.volume_id is not None:
        view["source_reference"] = {SOURCE_NAME: stray_name("volume", one.volume_id)}
    if detailed:
        view |= {"reason_not_safe": one.reason_not_safe, "cinder_id": one.managed_id, "extra_info": None}
    return view
