"""Who may do what, tried on every route and every action that there is."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from openevs.api.call import Level, Route
from openevs.api.policy import FIELDS, LEVELS, RULES, level_of
from openevs.api.routes import ROUTES, paths
from openevs.domain.ids import ProjectId, UserId, new_uuid
from openevs.domain.model import Caller
from openevs.testing.application import Client, Running, running

LOOKING = ("none", "token", "reader")
OURS = [route for route in ROUTES if route.family != "iam" and level_of(route.policy) not in ("none", "token")]


def requests(client: Client, route: Route) -> Iterator[tuple[str, Any, Level]]:
    """Yield path, body and level of everything a route can be asked for, about things that are not there."""
    for path, api in paths(route):
        for name in ("{project_id}", "{target_project_id}"):
            path = path.replace(name, client.project_id)
        while "{" in path:
            begin, _, rest = path.partition("{")
            path = begin + new_uuid() + rest.partition("}")[2]
        if route.actions:
            for name, action in route.actions.items():
                if api == "v3" or not action.since:
                    yield path, {name: {}}, level_of(action.policy)
        else:
            body: Any = None if route.method in ("GET", "DELETE") else {}
            yield path, body, level_of(route.policy)


def with_people(folder: Path, work: Any) -> None:
    async def main() -> None:
        async with running(folder) as run:
            people = {
                role: await run.person(f"the-{role}", run.made.demo_project or "", *roles)
                for role, roles in {"reader": ["reader"], "member": ["member"], "admin": ["admin"]}.items()
            }
            for client in people.values():
                client.version = "3.71"
            await work(run, people)

    asyncio.run(main())


def test_who_may_not_is_refused_and_who_may_is_not(tmp_path: Path) -> None:
    async def work(run: Running, people: dict[str, Client]) -> None:
        tried = 0
        for route in OURS:
            for role, client in people.items():
                for path, body, level in requests(client, route):
                    may = LEVELS[level](caller_with(role))
                    status = (await client.call(route.method, path, body)).status_code
                    assert (status != 403) == may, (role, route.method, path, body, level, status)
                    tried += 1
        assert tried > 500

    with_people(tmp_path, work)


def caller_with(role: str) -> Caller:
    return Caller(UserId(""), ProjectId(""), frozenset({role}), "")


def test_a_reader_may_change_nothing() -> None:
    changing = [route for route in OURS if route.method != "GET"]
    policies = [route.policy for route in changing if not route.actions]
    policies += [
        action.policy
        for route in changing
        for name, action in route.actions.items()
        if not name.startswith(("os-show_", "list_"))
    ]
    assert {policy for policy in policies if level_of(policy) in LOOKING} == set()


def test_looking_needs_no_more_than_reader_unless_it_is_an_operators_matter() -> None:
    for route in OURS:
        if route.method == "GET":
            assert level_of(route.policy) in ("reader", "admin"), route.path


def test_native_routes_name_a_rule() -> None:
    free = {"os-availability-zone", "extensions", "resource_filters"}
    """Calls that Cinder has no rule for."""
    for route in OURS:
        policies = [action.policy for action in route.actions.values()] or [route.policy]
        if route.family == "native" and not free & set(route.path.split("/")):
            assert set(policies) <= RULES.keys(), (route.method, route.path)


def test_every_rule_of_a_field_is_in_the_table() -> None:
    assert FIELDS.keys() <= RULES.keys()


def test_what_is_another_projects_does_not_exist(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as run:
            owner, stranger = await run.client(), await run.person("stranger", "other", "member")
            owner.version = stranger.version = "3.71"
            volume = await owner.volume()
            things = {"volume_id": volume["id"], "snapshot_id": (await owner.snapshot(volume["id"]))["id"]}
            reserved = {"attachment": {"volume_uuid": (await owner.volume())["id"]}}
            made = await owner.call("POST", "/v3/{p}/attachments", reserved)
            things["attachment_id"] = made.json()["attachment"]["id"]
            offered = {"transfer": {"volume_id": (await owner.volume())["id"]}}
            made = await owner.call("POST", "/v3/{p}/volume-transfers", offered)
            things["transfer_id"] = made.json()["transfer"]["id"]
            made = await owner.call("POST", "/v3/{p}/backups", {"backup": {"volume_id": volume["id"]}})
            things["backup_id"] = made.json()["backup"]["id"]
            await owner.until("backup", things["backup_id"], "available")
            tried = 0
            for route in OURS:
                for path, _ in paths(route):
                    names = {part[1:-1] for part in path.split("/") if part.startswith("{")} - {"project_id"}
                    if level_of(route.policy) == "admin" or not names or not names & things.keys():
                        continue
                    for name, thing in {**things, "project_id": stranger.project_id, "key": "k"}.items():
                        path = path.replace(f"{{{name}}}", thing)
                    reply = await stranger.call(route.method, path, None if route.method in ("GET", "DELETE") else {})
                    wanted = (404,) if route.method in ("GET", "DELETE") else (400, 404)
                    assert reply.status_code in wanted, (route.method, path, reply.text)
                    tried += 1
            assert tried > 50
            # All of it is still there.
            for kind, name in (
                ("volumes", "volume_id"),
                ("snapshots", "snapshot_id"),
                ("attachments", "attachment_id"),
            ):
                assert (await owner.call("GET", f"/v3/{{p}}/{kind}/{things[name]}")).status_code == 200

    asyncio.run(main())
