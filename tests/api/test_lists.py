"""What all lists have in common: whatever is asked of one, it answers or refuses."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from openevs.api.routes import ROUTES
from openevs.api.wire.attachments import ATTACHMENT_LIST
from openevs.api.wire.backups import BACKUP_LIST
from openevs.api.wire.consistency import CG_SNAPSHOT_LIST, CONSISTENCY_GROUP_LIST
from openevs.api.wire.groups import GROUP_LIST, GROUP_SNAPSHOT_LIST
from openevs.api.wire.lists import SNAPSHOT_LIST, Listing
from openevs.api.wire.messages import MESSAGE_LIST
from openevs.api.wire.transfers import TRANSFER_LIST
from openevs.api.wire.volumes import VOLUME_LIST
from openevs.service import queries
from openevs.service.queries import Filter
from openevs.testing.application import Client, Running
from tests.api.asking import GONE, at_work

LISTS: Final[tuple[tuple[Listing, Mapping[str, Filter]], ...]] = (
    (VOLUME_LIST, queries.VOLUME_FILTERS),
    (SNAPSHOT_LIST, queries.SNAPSHOT_FILTERS),
    (BACKUP_LIST, queries.BACKUP_FILTERS),
    (ATTACHMENT_LIST, queries.ATTACHMENT_FILTERS),
    (GROUP_LIST, queries.GROUP_FILTERS),
    (CONSISTENCY_GROUP_LIST, queries.GROUP_FILTERS),
    (GROUP_SNAPSHOT_LIST, queries.GROUP_SNAPSHOT_FILTERS),
    (CG_SNAPSHOT_LIST, queries.GROUP_SNAPSHOT_FILTERS),
    (TRANSFER_LIST, queries.TRANSFER_FILTERS),
    (MESSAGE_LIST, queries.MESSAGE_FILTERS),
)
QUERIES: Final = (
    "metadata={}",
    'metadata={"a":"b"}',
    f"id={GONE}&id={GONE}",
    f"marker={GONE}",
    "marker=x",
    "name~=x",
    "created_at=gt:2024-01-31T12:00:00",
    "extra_specs={}",
    "consumes_quota=true",
    "generic=1",
    "sort=id,created_at:asc",
    "limit=0&offset=1&with_count=1",
)


@pytest.mark.parametrize(("listing", "known"), LISTS)
def test_every_filter_of_a_list_is_one_of_its_resource(listing: Listing, known: Mapping[str, Filter]) -> None:
    wanted = {*listing.filters.values(), *listing.like.values()} | ({"ids"} if "id" in listing.filters else set())
    wanted |= {f"{name}_{operator}" for name in listing.time_filters for operator in ("gt", "neq")}
    wanted |= {"metadata"} if listing.metadata_since is not None else set()
    assert wanted <= known.keys()


def test_no_list_fails_whatever_is_asked_of_it(tmp_path: Path) -> None:
    paths = [
        route.path.removeprefix("{project_id}")
        for route in ROUTES
        if route.method == "GET" and "v3" in route.apis and route.path.startswith("{project_id}/")
    ]
    lists = [path for path in paths if "{" not in path]

    async def work(run: Running, client: Client) -> None:
        admin = await run.client("admin", project="admin")
        for version in ("3.0", "3.71"):
            for someone in (client, admin):
                someone.version = version
                for path in lists:
                    for query in QUERIES:
                        reply = await someone.call("GET", f"/v3/{{p}}{path}?{query}")
                        assert reply.status_code in (200, 400, 403, 404), (path, query, reply.text)

    at_work(tmp_path, work)


def test_filters_that_are_not_there(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        for path, version, status in (
            ("volumes", "3.30", 200),
            ("volumes", "3.31", 400),
            ("groups", "3.31", 400),
            ("groups?metadata={}", "3.31", 400),
            ("types", "3.51", 200),
            ("types", "3.52", 400),
            ("group_types", "3.71", 200),
            ("volume-transfers", "3.71", 200),
            ("consistencygroups", "3.71", 200),
            ("volumes/summary", "3.71", 200),
        ):
            client.version = version
            query = path if "?" in path else f"{path}?nothing=1"
            assert (await client.call("GET", f"/v3/{{p}}/{query}")).status_code == status, (path, version)
        client.version = "3.71"
        volume = await client.volume()
        made = await client.snapshot(volume["id"])
        for value, found in (("true", [made["id"]]), ("false", [])):
            rows = (await client.get(f"/v3/{{p}}/snapshots?consumes_quota={value}"))["snapshots"]
            assert [row["id"] for row in rows] == found
        assert (await client.call("GET", "/v3/{p}/snapshots?consumes_quota=x")).status_code == 400
        assert (await client.get(f"/v3/{{p}}/snapshots?group_snapshot_id={GONE}"))["snapshots"] == []

    at_work(tmp_path, work)


def test_a_refused_sort_key_is_not_among_those_that_the_refusal_names(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        for version, first in (("3.29", "id"), ("3.30", "name")):
            client.version = version
            reply = await client.call("GET", "/v3/{p}/snapshots?sort=nonsense")
            assert reply.status_code == 400
            named = reply.json()["badRequest"]["message"].partition(" none of ")[2].rstrip(".").split(", ")
            assert {"id", first} <= set(named)
            for key in named:
                assert (await client.call("GET", f"/v3/{{p}}/snapshots?sort={key}")).status_code == 200, key

    at_work(tmp_path, work)
