"""What no client means to send: numbers without end, texts that are none, objects in objects. Each is refused, or has
no effect; nothing of it is an unexpected error."""

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote

import pytest

from openevs.api.handlers.places import FILTERS
from openevs.api.handlers.qos import QOS_LIST
from openevs.api.routes import ROUTES
from openevs.api.wire.cloudvolumes import CLOUD_VOLUME_LIST
from openevs.api.wire.groups import GROUP_TYPE_LIST
from openevs.api.wire.lists import COMPARISONS, MAX_KEYS, Listing
from openevs.api.wire.managing import MANAGEABLE_LIST
from openevs.service import queries
from openevs.testing.application import Client, Running
from tests.api.asking import with_admin

LISTS: Final = sorted(
    {
        f"/{'v3' if 'v3' in route.apis else route.apis[0]}/{route.path}".replace("{project_id}", "{p}")
        for route in ROUTES
        if route.method == "GET" and "limit" in route.query and route.path.count("{") == 1
    }
)
ODD: Final[Mapping[str, tuple[str, ...]]] = {
    "limit": ("9" * 5000, "-1", "", "²", "1e3"),
    "offset": ("9" * 5000, "9" * 19, str(2**63 - 1), "-1"),
    "marker": ("\0", "x", "[[]]", "{[]: 1}", '{"source-name": []}'),
    "sort": (",".join(["id", "name:asc", "created_at:desc"] * 200), ":", ",", "name:up"),
    "metadata": (
        "{1: 'a'}", "{[]: 1}", "{{}: 1}", '{"a": "\\ud800"}', '{"\\ud800": "a"}', '{"\\u0000": "a"}', '{"a": null}',
        "[" * 4000, "(" * 4000, '{"a\\"b": "c"}', '{"": ""}', json.dumps({f"k{n}": "v" for n in range(MAX_KEYS + 1)}),
    ),
    "glance_metadata": ("{1: 'a'}", "{[]: 1}", "[" * 4000),
    "extra_specs": ("{1: 'a'}", "{[]: 1}", '{"multiattach": "\\ud800"}', '{"a\\"b": "c"}'),
    "created_at": ("gt:0001-01-01T00:00:00+10:00", "lt:9999-12-31T23:59:59-10:00", "gt:", "x"),
    "name~": ("%" * 2500, "\\"),
    "name": ("\0", "\ufffe"),
    "ids": ("{[]: 1}", "[[]]", "['a']"),
    "size": ("9" * 13, "-1", "1.5", ""),
    "is_public": ("maybe", ""),
    "with_count": ("maybe",),
}  # fmt: skip
"""Parameter of a list → values that nobody means."""


def test_lists_take_any_query(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, admin: Client) -> None:
        for path, (parameter, texts) in itertools.product(LISTS, ODD.items()):
            for text, who in itertools.product(texts, (client, admin)):
                reply = await who.call("GET", f"{path}?{quote(parameter)}={quote(text)}")
                assert reply.status_code < 500, (path, parameter, text[:80])
                assert reply.status_code == 200 or len(reply.text) < 2000

    with_admin(tmp_path, work)


def test_ids_that_are_repeated_or_no_text(tmp_path: Path) -> None:
    async def work(run: Running, client: Client, admin: Client) -> None:
        for path in LISTS:
            for query in ("id=a&id=b", "id=a&id=%00", "id=%ed%a0%80&id=%ff"):
                for who in (client, admin):
                    assert (await who.call("GET", f"{path}?{query}")).status_code < 500, (path, query)

    with_admin(tmp_path, work)


KNOWN: Final[Mapping[str, tuple[Listing, Mapping[str, queries.Filter]]]] = {
    "volume": (FILTERS["volume"], queries.VOLUME_FILTERS),
    "cloud volume": (CLOUD_VOLUME_LIST, queries.VOLUME_FILTERS),
    "snapshot": (FILTERS["snapshot"], queries.SNAPSHOT_FILTERS),
    "attachment": (FILTERS["attachment"], queries.ATTACHMENT_FILTERS),
    "group": (FILTERS["group"], queries.GROUP_FILTERS),
    "group_snapshot": (FILTERS["group_snapshot"], queries.GROUP_SNAPSHOT_FILTERS),
    "message": (FILTERS["message"], queries.MESSAGE_FILTERS),
    "transfer": (FILTERS["transfer"], queries.TRANSFER_FILTERS),
    "backup": (FILTERS["backup"], queries.BACKUP_FILTERS),
}


@pytest.mark.parametrize("name", KNOWN)
def test_what_a_list_can_be_asked_the_service_knows(name: str) -> None:
    listing, known = KNOWN[name]
    asked = {*listing.filters.values(), *listing.like.values(), *listing.documents}
    asked |= {f"{time}_{comparison}" for time in listing.time_filters for comparison in COMPARISONS}
    asked |= {"ids"} if "id" in listing.filters else set()
    asked |= {"metadata"} if listing.metadata_since is not None else set()
    assert asked <= known.keys()


def test_lists_that_have_no_metadata_are_not_asked_for_it() -> None:
    for listing in (GROUP_TYPE_LIST, MANAGEABLE_LIST, QOS_LIST, FILTERS["volume_type"]):
        assert listing.metadata_since is None
