"""Lists of native volumes: what can be asked for, and what is answered."""

from pathlib import Path
from typing import Any

import sqlalchemy as sa

from openevs.testing.application import Client, Running
from tests.api.asking import at_work, fault, set_volume, volume_ids


def test_lists(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        a = await client.volume(size=1, name="alpha", metadata={"k": "1", "l": "2"})
        b = await client.volume(size=3, name="beta", metadata={"k": "1"})
        c = await client.volume(size=1, name="gamma")
        action = f"/v3/{{p}}/volumes/{b['id']}/action"
        assert (await client.call("POST", action, {"os-set_bootable": {"bootable": "True"}})).status_code == 200
        await set_volume(run, c["id"], "error")
        client.version = "3.60"
        expected: dict[str, list[dict[str, Any]]] = {
            "": [c, b, a],
            "?name=beta": [b],
            "?status=error": [c],
            "?bootable=true": [b],
            "?bootable=False": [c, a],
            "?size=1": [c, a],
            "?availability_zone=nova": [c, b, a],
            "?availability_zone=moon": [],
            "?metadata={'k':'1'}": [b, a],
            '?metadata={"k":"1","l":"2"}': [a],
            "?name~=a&sort=name": [c, b, a],
            "?sort=size:asc,name:desc": [c, a, b],
            "?sort_key=name&sort_dir=asc": [a, b, c],
            "?sort_key=bootable&sort_dir=desc": [b, c, a],
            f"?marker={c['id']}&limit=1": [b],
            "?offset=1&limit=1": [b],
            f"?created_at=gt:{a['created_at']}": [c, b],
        }
        for query, rows in expected.items():
            wanted = [row["id"] for row in rows]
            found = await volume_ids(client, query)
            # Two rows that are alike in every key that was asked for are ordered by id.
            assert (sorted(found) == sorted(wanted)) if "bootable&" in query else (found == wanted), query
            assert await volume_ids(client, "/detail" + query) == found

        without = fault(await client.call("GET", f"/v3/{{p}}/volumes?created_at={a['created_at']}"))
        assert (without[0], "created_at" in without[2]) == (400, True), "a time has an operator before it"
        page = await client.get("/v3/{p}/volumes/detail?limit=2&with_count=true&sort=name:asc")
        assert page["count"] == 3
        ((link),) = page["volumes_links"]
        assert link["rel"] == "next"
        rest = await client.get(link["href"].removeprefix("http://openevs.test"))
        assert [row["id"] for row in rest["volumes"]] == [c["id"]]
        assert "volumes_links" not in rest

        for query, field in {
            "?colour=red": "colour",
            "?limit=x": "limit",
            "?limit=-1": "limit",
            "?sort_key=colour": "sort_key",
            "?sort_dir=up": "sort_dir",
            "?bootable=perhaps": "bootable",
            "?size=big": "size",
            "?metadata=nonsense": "metadata",
        }.items():
            status, name, message = fault(await client.call("GET", f"/v3/{{p}}/volumes{query}"))
            assert (status, name) == (400, "badRequest")
            assert f"Invalid input for {field}:" in message
        client.version = "3.30"
        assert len(await volume_ids(client, "?colour=red")) == 3

    at_work(tmp_path, work)


def test_summary(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        await client.volume(size=1, metadata={"k": "2"})
        await client.volume(size=4, metadata={"k": "1"})
        for version, metadata in (("3.12", {}), ("3.36", {"metadata": {"k": ["1", "2"]}})):
            client.version = version
            expected = {"volume-summary": {"total_count": 2, "total_size": 5, **metadata}}
            assert await client.get("/v3/{p}/volumes/summary") == expected
        client.version = "3.11"
        assert (await client.call("GET", "/v3/{p}/volumes/summary")).status_code == 404

    at_work(tmp_path, work)


def test_a_page_of_details_costs_one_query_for_all_attachments(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        for number in range(6):
            volume = await client.volume()
            consumer = {"os-attach": {"mountpoint": "/dev/vdb", "host_name": f"h{number}"}}
            await client.call("POST", f"/v3/{{p}}/volumes/{volume['id']}/action", consumer)
        statements: list[str] = []
        engine = run.app.db._engine
        sa.event.listen(engine, "before_cursor_execute", lambda *a: statements.append(a[2]))
        rows = (await client.get("/v3/{p}/volumes/detail"))["volumes"]
        assert [row["attachments"][0]["host_name"] for row in rows] == [f"h{n}" for n in reversed(range(6))]
        assert len([text for text in statements if "FROM attachment" in text]) == 1

    at_work(tmp_path, work)
