"""Group types and their specs, through the API."""

from pathlib import Path
from typing import Any

from openevs.domain.group import RESERVED_TYPE
from openevs.testing.application import Client, Running
from tests.api.asking import at_work, fault, kind, operator


def test_group_types(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        client.version = "3.11"
        admin = await operator(run)
        specs = {"consistent_group_snapshot_enabled": "<is> False"}
        made = await kind(run, name="a", description="d", group_specs=specs)
        assert made == {"id": made["id"], "name": "a", "description": "d", "is_public": True, "group_specs": specs}
        hidden = await kind(run, name="b", is_public=False)
        twice = await admin.call("POST", "/v3/{p}/group_types", {"group_type": {"name": "a"}})
        assert fault(twice)[:2] == (409, "conflictingRequest")
        one, other = f"/v3/{{p}}/group_types/{made['id']}", f"/v3/{{p}}/group_types/{hidden['id']}"
        assert "group_specs" not in (await client.get(one))["group_type"]
        assert (await client.call("GET", other)).status_code == 404
        listed = (await client.get("/v3/{p}/group_types?sort=name"))["group_types"]
        assert [row["name"] for row in listed] == [RESERVED_TYPE, "a"]
        for query, names in (
            ("", ["a", RESERVED_TYPE]),
            ("&is_public=None", ["a", "b", RESERVED_TYPE]),
            ("&is_public=False", ["b"]),
            ("&is_public=True", ["a", RESERVED_TYPE]),
        ):
            rows = (await admin.get(f"/v3/{{p}}/group_types?sort=name:asc{query}"))["group_types"]
            assert [row["name"] for row in rows] == names
        changed = await admin.call("PUT", one, {"group_type": {"name": "c", "description": "e"}})
        assert (changed.status_code, changed.json()["group_type"]["name"]) == (200, "c")
        for body in ({}, {"name": " "}, {"other": "x"}):
            assert (await admin.call("PUT", one, {"group_type": body})).status_code == 400
        assert (await admin.call("PUT", one, {"group_type": {"name": "b"}})).status_code == 409
        refused: tuple[tuple[str, str, Any], ...] = (
            ("POST", "/v3/{p}/group_types", {"group_type": {"name": "x"}}),
            ("PUT", one, {"group_type": {"name": "x"}}),
            ("DELETE", one, None),
            ("GET", one + "/group_specs", None),
        )
        for method, path, asked in refused:
            assert fault(await client.call(method, path, asked))[:2] == (403, "forbidden")
        assert (await client.call("GET", "/v3/{p}/group_types/default")).status_code == 404
        assert (await admin.call("DELETE", one)).status_code == 202
        assert (await admin.call("DELETE", one)).status_code == 404
        client.version = "3.10"
        assert (await client.call("GET", "/v3/{p}/group_types")).status_code == 404

    at_work(tmp_path, work)


def test_group_specs(tmp_path: Path) -> None:
    async def work(run: Running, client: Client) -> None:
        admin = await operator(run)
        made = await kind(run, group_specs={"k": "v"})
        specs = f"/v3/{{p}}/group_types/{made['id']}/group_specs"
        added = await admin.call("POST", specs, {"group_specs": {"k2": "v2", "k3": None}})
        assert (added.status_code, added.json()) == (202, {"group_specs": {"k2": "v2", "k3": None}})
        changed = await admin.call("PUT", specs + "/k", {"k": "w"})
        assert (changed.status_code, changed.json()) == (200, {"k": "w"})
        assert (await admin.call("PUT", specs + "/k", {"other": "w"})).status_code == 400
        assert (await admin.call("POST", specs, {"group_specs": {"a b": "w"}})).status_code == 400
        assert await admin.get(specs + "/k2") == {"k2": "v2"}
        assert (await admin.call("DELETE", specs + "/k2")).status_code == 202
        assert (await admin.call("DELETE", specs + "/k2")).status_code == 404
        assert await admin.get(specs) == {"group_specs": {"k": "w", "k3": None}}

    at_work(tmp_path, work)
