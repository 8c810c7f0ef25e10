"""Lists: query parameters in, pages and `…_links` out (spec 2.5)."""

import ast
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

from openevs.api.call import Call, Reply
from openevs.api.wire.bodies import TRUE, flag
from openevs.api.wire.times import parse_time
from openevs.domain.errors import InvalidInput
from openevs.domain.ids import is_uuid
from openevs.service.queries import ListQuery
from openevs.store.listing import Direction, Page

MAX_NUMBER = 2**63 - 1
_LONGEST_NUMBER = len(str(MAX_NUMBER))
MAX_EVS_LIMIT = 1000
"""Huawei's own resources refuse a greater limit; Cinder's take it for its own most."""
MAX_IDS = 1000
MAX_KEYS = 100
"""Keys of one filter that is an object."""
PAGING = ("limit", "offset", "marker", "sort", "sort_key", "sort_dir", "all_tenants", "with_count")
COMPARISONS = ("gt", "gte", "lt", "lte", "eq", "neq")


class Listing(NamedTuple):
    """What one list can be asked for. The parameters are tables: name in the URL → what it is to the service."""

    filters: Mapping[str, str]
    """Filters by equality."""
    like: Mapping[str, str] = {}
    """Names that also work as `name~` from microversion 3.31 on."""
    sort_keys: Mapping[str, str] = {}
    """Sort key in the URL → column."""
    sort_since: Mapping[str, int] = {}
    """Microversions from which v3 can sort by a key, for those that came late."""
    time_filters: tuple[str, ...] = ()
    """Times that can be compared from microversion 3.60 on."""
    metadata_since: int | None = None
    """Microversion from which the list can be filtered by metadata; 0: always, in v2 too; None: it cannot."""
    strict_since: int | None = 31
    """Microversion from which filters that are not there are refused; None: they never have an effect."""
    pages_since: int = 0
    """Microversion from which the list has filters and pages at all; before, what is asked of it has no effect."""
    documents: Mapping[str, int] = {}
    """Filters that are objects, and the microversions from which they are there."""
    parse: Mapping[str, Callable[[str, str], Any]] = {}
    """What makes a value of a filter's text, given name and text; without an entry the text is the value."""

    def parameters(self) -> tuple[str, ...]:
        """Return what the list's query may have, for the description of the API."""
        metadata = () if self.metadata_since is None else ("metadata",)
        like = (f"{name}~" for name in self.like)
        return (*PAGING, *self.filters, *like, *self.time_filters, *metadata, *self.documents)


def same(names: str) -> dict[str, str]:
    """Return a table in which each of these names, with blanks between them, stands for itself."""
    return {name: name for name in names.split()}


SNAPSHOT_LIST = Listing(
    filters=same("name status volume_id availability_zone id user_id project_id consumes_quota group_snapshot_id"),
    like={name: f"{name}_like" for name in ("name", "status", "volume_id", "description")},
    sort_keys={
        **same("id name status created_at updated_at volume_id description user_id project_id"),
        "display_name": "name",
        "size": "size_gib",
        "volume_size": "size_gib",
    },
    sort_since={"name": 30},
    time_filters=("created_at", "updated_at"),
    metadata_since=22,
    parse={"consumes_quota": flag},
)


def list_query(call: Call, listing: Listing) -> ListQuery:
    """Return what a native list asks for. Raises InvalidInput naming the parameter."""
    if not call.at_least(listing.pages_since):
        return ListQuery(Page(limit=call.deps.settings.api.max_list_items))
    query = call.query
    filters: dict[str, Any] = {}
    for name in dict.fromkeys(query.keys()):
        if name in PAGING:
            continue
        found = _filter(call, listing, name)
        if found is not None:
            filters |= found
        elif listing.strict_since is not None and call.at_least(listing.strict_since) and not call.caller.is_admin:
            raise InvalidInput(name, "there is no such filter.")
    page = Page(
        limit=_limit(call),
        offset=_number(call, "offset", 0),
        marker=_marker(call),
        sort=_sort(call, listing),
    )
    return ListQuery(
        page=page,
        filters=filters,
        all_projects=_all_projects(call),
        with_count=call.at_least(45) and flag("with_count", query.get("with_count", "false")),
    )


def _all_projects(call: Call) -> bool:
    """Say whether those of all projects are asked for. Where it makes a difference, what is neither yes nor no must
    not be taken for no; for members it makes none."""
    text = call.query.get("all_tenants", "")
    if call.strict and call.caller.is_admin and text:
        return flag("all_tenants", text)
    return text.strip().lower() in TRUE


def _filter(call: Call, listing: Listing, name: str) -> dict[str, Any] | None:
    value = call.query[name]
    if any("\x00" in text for text in call.query.getlist(name)):
        raise InvalidInput(name, "it contains a NUL character.")
    if name == "id" and name in listing.filters and len(repeated := call.query.getlist(name)) > 1:
        return {"ids": repeated[:MAX_IDS]}
    since = listing.documents.get(name, listing.metadata_since if name == "metadata" else None)
    if since is not None and (since == 0 or call.at_least(since)):
        return {name: read_texts(name, value)}
    if name.endswith("~") and name[:-1] in listing.like and call.at_least(31):
        return {listing.like[name[:-1]]: value}
    if name in listing.time_filters and call.at_least(60):
        return _times(name, value)
    if name in listing.filters:
        return {listing.filters[name]: listing.parse[name](name, value) if name in listing.parse else value}
    return None


def _times(name: str, value: str) -> dict[str, Any]:
    """`gt:2024-01-31T12:00:00,lte:…` as filters."""
    found: dict[str, Any] = {}
    for part in value.split(","):
        operator, colon, text = part.partition(":")
        if operator not in COMPARISONS or not colon:
            raise InvalidInput(name, f"{part[:64]!r} does not begin with one of {', '.join(COMPARISONS)}, and a colon.")
        found[f"{name}_{operator}"] = parse_time(name, text)
    return found


def read_document(name: str, value: str) -> object:
    """A dictionary in JSON or in Python's notation, both of which clients send."""
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        raise InvalidInput(name, f"{value[:64]!r} is not an object such as {{'key': 'value'}}.", "EVS.1025") from None


def read_texts(name: str, value: str) -> dict[str, str]:
    """Return a filter that is an object of texts, each of which can be looked for. Raises InvalidInput."""
    document = read_document(name, value)
    if not isinstance(document, dict) or not all(_is_text(each) for pair in document.items() for each in pair):
        raise InvalidInput(name, "the filter must be an object of strings, such as {'key': 'value'}.", "EVS.1025")
    if len(document) > MAX_KEYS:
        raise InvalidInput(name, f"it has {len(document)} keys, but may have at most {MAX_KEYS}.", "EVS.1025")
    return document


def _is_text(value: object) -> bool:
    """Say whether a value is a text that a database takes; JSON has escapes for others."""
    return isinstance(value, str) and "\x00" not in value and not any("\ud800" <= char <= "\udfff" for char in value)


def _limit(call: Call) -> int:
    most = call.deps.settings.api.max_list_items
    limit = _number(call, "limit", most)
    if call.family == "evs" and not 1 <= limit <= MAX_EVS_LIMIT:
        code = "EVS.1023" if limit == 0 else "EVS.2142"
        raise InvalidInput("limit", f"it is {limit}, but must be from 1 to {MAX_EVS_LIMIT}.", code)
    return min(limit, most)


def _number(call: Call, name: str, default: int) -> int:
    text = call.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > _LONGEST_NUMBER or int(text) > MAX_NUMBER:
        raise InvalidInput(name, f"{text[:32]!r} is not a number from 0 on.", "EVS.1023" if name == "limit" else None)
    return int(text)


def _marker(call: Call) -> str | None:
    text = call.query.get("marker")
    # A native marker that is no id is the id of nothing (404).
    if text is not None and call.family == "evs" and not is_uuid(text):
        raise InvalidInput("marker", f"{text[:64]!r} is not an id.", "EVS.1024")
    return text


def _sort(call: Call, listing: Listing) -> tuple[tuple[str, Direction], ...]:
    keys: list[tuple[str, str]] = []
    if "sort" in call.query:
        if "sort_key" in call.query or "sort_dir" in call.query:
            raise InvalidInput("sort", "it cannot be used together with sort_key and sort_dir.", "EVS.1039")
        for part in call.query["sort"].split(","):
            key, _, direction = part.strip().partition(":")
            keys.append((key, direction or "desc"))
    elif "sort_key" in call.query or "sort_dir" in call.query:
        keys.append((call.query.get("sort_key", "created_at"), call.query.get("sort_dir", "desc")))
    else:
        return (("created_at", "desc"),)
    since = listing.sort_since if call.strict else {}
    known = sorted(key for key in listing.sort_keys if call.at_least(since.get(key, 0)))
    wanted: list[tuple[str, Direction]] = []
    for key, direction in keys:
        if key not in known:
            raise InvalidInput("sort_key", f"{key[:64]!r} is none of {', '.join(known)}.", "EVS.1039")
        if direction not in ("asc", "desc"):
            raise InvalidInput("sort_dir", f"{direction[:32]!r} is neither asc nor desc.", "EVS.1040")
        column = listing.sort_keys[key]
        # A column once more changes nothing of the order.
        if column not in (sorted_by for sorted_by, _ in wanted):
            wanted.append((column, "asc" if direction == "asc" else "desc"))
    return tuple(wanted)


def page_reply(
    call: Call,
    query: ListQuery,
    name: str,
    views: Sequence[Mapping[str, Any]],
    count: int | None,
    path: str | None = None,
    links_name: str | None = None,
) -> Reply:
    """Answer with one page: the views under `name`, links to the next page if there may be one, the count if there is.
    For `path` see `page_links`; the links are called after `name` unless they have another name."""
    body: dict[str, Any] = {name: views}
    links = page_links(call, query, [view["id"] for view in views], count, path)
    if links:
        body[links_name or f"{name}_links"] = links
    if count is not None:
        body["count"] = count
    return Reply(body)


def page_links(
    call: Call, query: ListQuery, ids: Sequence[str], count: int | None, path: str | None = None
) -> list[dict[str, str]] | None:
    """Return `[{"rel": "next", …}]` if there may be more: the page is full or, when counted, does not reach the end.
    `path` stands for the request's own where the next page is another resource's (cloudsnapshots)."""
    if not ids:
        return None
    if count is not None and query.page.marker is None:
        more = query.page.offset + len(ids) < count
    else:
        more = len(ids) >= query.page.limit
    if not more:
        return None
    kept = [(name, value) for name, value in call.query.multi_items() if name not in ("marker", "offset")]
    parameters = urlencode([*kept, ("marker", ids[-1])])
    return [{"href": f"{path or call.url}?{parameters}", "rel": "next"}]
