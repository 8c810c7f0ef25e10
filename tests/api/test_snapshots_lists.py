"""Lists of native snapshots: filters, order, pages, links, counts (spec 2.5)."""

from pathlib import Path

from openevs.testing.application import Client, Running
from tests.api.asking import GONE, at_work

HOST = "http://openevs.test"


async def made(client: Client) -> list[str]:
    """Make five snapshots s0…s4 of one volume and one, `other`, of a larger one; return ids, newest first."""
    volume, larger = await client.volume(), await client.volume(size=2)
    ids = [(await client.snapshot(volume["id"], name=f"s{i}", metadata={"n": str(i)}))["id"] for i in range(5)]
    ids.append((await client.snapshot(larger["id"], name="other", description="50% off"))["id"])
    return ids[::-1]


async def listed(client: Client, query: str, path: str = "/v3/{p}/snapshots") -> list[str]:
    return [item["id"] for item in (await client.get(f"{path}?{query}"))["snapshots"]]


def test_filters_and_order(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        ids = await made(client)
        volume_id = (await client.get(f"/v3/{{p}}/snapshots/{ids[0]}"))["snapshot"]["volume_id"]
        client.version = "3.71"
        for query, expected in (
            ("", ids),
            ("name=s3", [ids[2]]),
            ("name=S3", []),
            ("status=available&name=s0", [ids[5]]),
            ("status=error", []),
            (f"volume_id={volume_id}", ids[:1]),
            ("availability_zone=nova", ids),
            ("availability_zone=mars", []),
            ("name~=s", ids[1:]),
            ("description~=%25", ids[:1]),
            (f"volume_id~={volume_id[:13]}", ids[:1]),
            ("metadata={'n': '2'}", [ids[3]]),
            ('metadata={"n": "2"}', [ids[3]]),
            ("metadata={'n': '2', 'm': '1'}", []),
            ("created_at=gt:2000-01-01T00:00:00", ids),
            ("created_at=lt:2000-01-01T00:00:00", []),
            ("sort=size:desc,name:asc", [ids[0], *ids[:0:-1]]),
            ("sort_key=name&sort_dir=asc", [ids[0], *ids[:0:-1]]),
            ("sort_dir=asc", ids[::-1]),
            ("sort_key=id&sort_dir=asc", sorted(ids)),
            ("limit=0", []),
            ("limit=100000", ids),
            ("offset=4", ids[4:]),
            (f"marker={ids[3]}&offset=1", ids[5:]),
        ):
            found = await listed(client, query)
            assert found == expected, query
            assert await listed(client, query, "/v3/{p}/snapshots/detail") == expected

    at_work(tmp_path, work)


def test_what_cannot_be_asked_for_is_named(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        for version, query, status, named in (
            ("3.0", "limit=-1", 400, "limit"),
            ("3.0", "limit=x", 400, "limit"),
            ("3.0", "limit=", 400, "limit"),
            ("3.0", "offset=x", 400, "offset"),
            ("3.0", "offset=99999999999999999999", 400, "offset"),
            ("3.0", "marker=x", 404, "x"),
            ("3.0", f"marker={GONE}", 404, GONE),
            ("3.0", "sort_key=colour", 400, "sort_key"),
            ("3.0", "sort_key=name", 400, "sort_key"),
            ("3.0", "sort=size:up", 400, "sort_dir"),
            ("3.0", "sort=size&sort_key=id", 400, "sort"),
            ("3.0", "name=%00", 400, "name"),
            ("3.30", "colour=red", 200, ""),
            ("3.31", "colour=red", 400, "colour"),
            ("3.22", "metadata=x", 400, "metadata"),
            ("3.22", "metadata=['n']", 400, "metadata"),
            ("3.45", "with_count=perhaps", 400, "with_count"),
            ("3.60", "created_at=gt:yesterday", 400, "created_at"),
            ("3.30", "sort_key=name", 200, ""),
        ):
            client.version = version
            reply = await client.call("GET", f"/v3/{{p}}/snapshots?{query}")
            assert reply.status_code == status, (query, reply.text)
            if status != 200:
                ((name, detail),) = reply.json().items()
                assert name == {400: "badRequest", 404: "itemNotFound"}[status]
                assert named in detail["message"]

    at_work(tmp_path, work)


def test_pages_by_marker_follow_the_links_to_the_end(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        ids = await made(client)
        for api in ("v2", "v3"):
            url = f"/{api}/{client.project_id}/snapshots/detail?limit=4&status=available"
            page = await client.get(url)
            assert [item["id"] for item in page["snapshots"]] == ids[:4]
            assert page["snapshots_links"] == [{"href": f"{HOST}{url}&marker={ids[3]}", "rel": "next"}]
            page = await client.get(page["snapshots_links"][0]["href"].removeprefix(HOST))
            assert [item["id"] for item in page["snapshots"]] == ids[4:]
            assert page.keys() == {"snapshots"}
        # Exactly full, and the last: without a count nobody knows, so there is a link, as in Cinder.
        assert "snapshots_links" in await client.get("/v3/{p}/snapshots?limit=6")
        client.version = "3.45"
        page = await client.get("/v3/{p}/snapshots?limit=6&with_count=true")
        assert page.keys() == {"snapshots", "count"}
        assert page["count"] == 6
        page = await client.get("/v3/{p}/snapshots?limit=2&with_count=True&name=s1")
        assert page["count"] == 1
        page = await client.get("/v3/{p}/snapshots?limit=2&offset=2&with_count=1")
        assert page["count"] == 6
        assert page["snapshots_links"][0]["href"].endswith(f"marker={ids[3]}")
        client.version = "3.44"
        assert "count" not in await client.get("/v3/{p}/snapshots?with_count=true")

    at_work(tmp_path, work)


def test_a_page_is_never_longer_than_the_setting(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        ids = await made(client)
        for query in ("", "limit=1000", "limit=2"):
            page = await client.get(f"/v3/{{p}}/snapshots?{query}")
            assert [item["id"] for item in page["snapshots"]] == ids[:2]
            assert page["snapshots_links"][0]["href"].endswith(f"marker={ids[1]}")

    at_work(tmp_path, work, api__max_list_items="2")


def test_a_summary_has_nine_fields(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        await made(client)
        (summary,) = (await client.get("/v3/{p}/snapshots?limit=1"))["snapshots"]
        assert len(summary) == 9
        (detail,) = (await client.get("/v3/{p}/snapshots/detail?limit=1"))["snapshots"]
        assert detail.items() > summary.items()
        assert detail["os-extended-snapshot-attributes:project_id"] == client.project_id

    at_work(tmp_path, work)


def test_all_tenants_is_for_administrators(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        ids = await made(client)
        assert await listed(client, "all_tenants=1") == ids
        admin = await run.client("admin", project="admin")
        assert await listed(admin, "") == []
        assert await listed(admin, "all_tenants=1") == ids
        assert await listed(admin, f"all_tenants=1&project_id={client.project_id}") == ids
        # An administrator reaches every snapshot by its id.
        assert (await admin.get(f"/v3/{{p}}/snapshots/{ids[0]}"))["snapshot"]["id"] == ids[0]

    at_work(tmp_path, work)
