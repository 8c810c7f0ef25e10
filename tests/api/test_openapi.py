"""The description of the API, held against real answers: generated requests, right and wrong, to a real server.

OPENEVS_OPENAPI_EXAMPLES is the number of requests of each kind per operation, OPENEVS_OPENAPI_WALKED that of requests
along the links; small ones for every run, large ones to look for trouble. The requests are the same in every run.
"""

import asyncio
import json
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import requests
import schemathesis
from hypothesis.stateful import run_state_machine_as_test
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from openevs import server
from openevs.api.openapi import document
from openevs.api.routes import ROUTES, paths
from openevs.testing.application import running

EXAMPLES = int(os.environ.get("OPENEVS_OPENAPI_EXAMPLES", "2"))
CHECKS: list[Any] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
WALKED = int(os.environ.get("OPENEVS_OPENAPI_WALKED", "80"))
"""Requests along the links of the description, in walks of at most so many steps."""
WALK_STEPS = 8
FIRST_WALK = int(os.environ.get("OPENEVS_OPENAPI_FIRST_WALK", "0"))
"""Seed of the first; each further one has the next."""
UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
GUESSED = frozenset({"name", "description", "metadata", "snapshot_id", "source_volid"})
TOLERANT = ("/cloud", "/os-vendor-", "/identity/", "/v2")
"""Where what is wrong in a body may be ignored: only Cinder's v3 refuses everything that it does not know."""


@dataclass
class Served:
    """A server in a thread of its own, and things on it."""

    url: str
    headers: dict[str, str]
    admin: dict[str, str]
    ids: dict[str, str]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("openapi")
    ready, ended = threading.Event(), threading.Event()
    found: list[Served] = []

    async def main() -> None:
        async with running(folder, overrides={("server", "port"): "0"}) as run:
            client = await run.client()
            volume = await client.volume()
            snapshot = await client.snapshot(volume["id"], name="s", metadata={"key": "value"})
            listener = server.listen(run.app.settings.server)
            stop = asyncio.Event()
            serving = asyncio.create_task(server.serve(run.app.asgi, listener, stop))
            ids = {
                "project_id": client.project_id,
                "target_project_id": client.project_id,
                "volume_id": volume["id"],
                "snapshot_id": snapshot["id"],
                "key": "key",
                "type_id": "default",
            }
            admin = await run.client("admin", project=run.made.demo_project)
            tokens = {"X-Auth-Token": client.token}, {"X-Auth-Token": admin.token}
            found.append(Served(server.url_of(listener), *tokens, ids))
            ready.set()
            await asyncio.to_thread(ended.wait)
            stop.set()
            await serving

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    try:
        assert ready.wait(60)
        yield found[0]
    finally:
        ended.set()
        thread.join(30)


def test_every_route_is_described(served: Served) -> None:
    described = requests.get(f"{served.url}/openapi.json", timeout=10).json()
    assert described["openapi"] == "3.1.0"
    for route in ROUTES:
        for path, _ in paths(route):
            operation = described["paths"][path][route.method.lower()]
            assert str(route.status) in operation["responses"]
    everything = [o["operationId"] for operations in described["paths"].values() for o in operations.values()]
    assert len(set(everything)) == len(everything)
    assert described["paths"]["/v3/{project_id}/snapshots"]["post"]["security"] == [{"token": []}]


def test_a_body_stands_in_its_envelope() -> None:
    described = json.loads(json.dumps(document(ROUTES)))
    post = described["paths"]["/v3/{project_id}/snapshots"]["post"]
    body = post["requestBody"]["content"]["application/json"]["schema"]
    assert body["required"] == ["snapshot"]
    fields = described["components"]["schemas"][body["properties"]["snapshot"]["$ref"].rpartition("/")[2]]
    assert fields["required"] == ["volume_id"]
    assert {"name", "description", "metadata", "force"} <= fields["properties"].keys()
    rollback = described["paths"]["/v2/{project_id}/cloudsnapshots/{snapshot_id}/rollback"]["post"]
    assert rollback["requestBody"]["content"]["application/json"]["schema"]["required"] == ["rollback"]


def test_answers_are_as_described(served: Served) -> None:
    described = requests.get(f"{served.url}/openapi.json", timeout=10).json()
    for operations in described["paths"].values():
        for one in operations.values():
            del one["security"]  # or tokens would be made up too, and few requests get past 401
    schema = schemathesis.openapi.from_dict(described)
    session = requests.Session()
    failures: list[str] = []
    for result in schema.get_all_operations():
        operation = result.ok()  # type: ignore[union-attr]  # a schema that is not valid ends the test here
        if not worth_asking(operation):
            continue
        modes = [schemathesis.GenerationMode.POSITIVE]
        if list(operation.body) or list(operation.query):
            # A path alone has nothing that could be wrong, and looking for it takes seconds.
            modes.append(schemathesis.GenerationMode.NEGATIVE)
        for mode in modes:
            try:
                ask(served, session, operation, mode)
            except (AssertionError, FailureGroup, BaseExceptionGroup) as error:
                failures.append(f"{operation.method.upper()} {operation.path} ({mode.value}): {error}")
    assert not failures, f"{len(failures)} failures\n" + "\n\n".join(failures)[:20_000]


def test_links_are_followed(served: Served) -> None:
    """Walks from what one request has made to the next, along the links of the description: nothing breaks."""
    described = requests.get(f"{served.url}/openapi.json", timeout=10).json()
    for operations in described["paths"].values():
        for one in operations.values():
            del one["security"]
    # Not identity's: it would delete the user that it walks as. Nor the second names of the same paths.
    kept = {path: one for path, one in described["paths"].items() if re.match(r"/(v2|v3)/{project_id}/", path)}
    schema = schemathesis.openapi.from_dict({**described, "paths": kept})
    session = requests.Session()
    asked: Counter[int] = Counter()
    failures: list[str] = []

    class Walk(schema.as_state_machine()):  # type: ignore[misc]  # made at run time
        def before_call(self, case: Any) -> None:
            make_likely(served, case)

        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            return {"base_url": served.url, "headers": served.admin, "session": session, "timeout": 30}

        def validate_response(self, response: Any, case: Any, *_: Any, **__: Any) -> None:
            asked[response.status_code] += 1
            try:
                case.validate_response(response, checks=CHECKS[:-1])
            except (AssertionError, FailureGroup) as error:
                failures.append(f"{case.method} {case.path}: {error}")

    settings = hypothesis.settings(
        max_examples=1,
        stateful_step_count=WALK_STEPS,
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate],
    )
    walks = 0
    while asked.total() < WALKED and walks < WALKED:
        renew(served, session)
        # Each by itself: what can be generated depends on what was answered before, which Hypothesis, comparing
        # one walk with the next, takes for a mistake.
        run_state_machine_as_test(hypothesis.seed(FIRST_WALK + walks)(Walk), settings=settings)
        walks += 1
    print(f"{asked.total()} requests in {walks} walks: {dict(sorted(asked.items()))}")  # noqa: T201 - what was asked
    assert not failures, f"{len(failures)} failures\n" + "\n\n".join(failures)[:20_000]
    assert asked.total() >= WALKED
    assert any(status < 300 for status in asked)


def renew(served: Served, session: requests.Session) -> None:
    """See to it that there is a volume that can be used, and a snapshot of it: earlier walks give them away."""
    volumes = f"{served.url}/v3/{served.ids['project_id']}/volumes"
    shown = session.get(f"{volumes}/{served.ids['volume_id']}", headers=served.admin, timeout=10).json()
    if shown.get("volume", {}).get("status") in ("available", "in-use"):
        return
    for kind in ("volume", "snapshot"):
        things = volumes.replace("volumes", f"{kind}s")
        fields = {"size": 1} if kind == "volume" else {"volume_id": served.ids["volume_id"]}
        made = session.post(things, json={kind: fields}, headers=served.admin, timeout=10).json()[kind]
        served.ids[f"{kind}_id"] = made["id"]
        until_available(session, f"{things}/{made['id']}", kind, served.admin)


def until_available(session: requests.Session, url: str, kind: str, headers: dict[str, str]) -> None:
    """Wait until a thing that was just made can be used."""
    until = time.monotonic() + 10
    while (shown := session.get(url, headers=headers, timeout=10).json()[kind])["status"] != "available":
        assert time.monotonic() < until, shown
        time.sleep(0.005)


def make_likely(served: Served, case: Any) -> None:
    """Let more of what a walk asks be accepted, or it never gets anywhere: ids that are none become those of things
    that are there, unless they would be deleted, and a new volume has only fields that cannot be guessed wrong."""
    for name, value in case.path_parameters.items():
        if name == "project_id" or (case.method != "DELETE" and name in served.ids and not UUID.fullmatch(str(value))):
            case.path_parameters[name] = served.ids[name]
    for name, inner in case.body.items() if isinstance(case.body, dict) else ():
        if name == "volume" and case.method == "POST" and isinstance(inner, dict):
            case.body[name] = {key: inner[key] for key in inner if key in GUESSED} | {"size": 1}
        elif isinstance(inner, dict) and "volume_id" in inner and not UUID.fullmatch(str(inner["volume_id"])):
            inner["volume_id"] = served.ids["volume_id"]


def worth_asking(operation: Any) -> bool:
    """Leave out what ends the test's own session, and the second names of the same calls unless time is no matter."""
    if operation.path in ("/metrics",) or "password" in operation.path:
        return False
    second_name = operation.path.startswith("/v3/") and "{project_id}" not in operation.path
    return EXAMPLES > 20 or not second_name


def ask(served: Served, session: requests.Session, operation: Any, mode: Any) -> None:
    """Send generated requests to one operation and check the answers."""
    given = {} if operation.method == "delete" else served.ids
    known = {name: value for name, value in given.items() if f"{{{name}}}" in operation.path}
    known["project_id"] = served.ids["project_id"]
    # Query parameters that nobody knows are ignored everywhere, so a GET has little that must be refused.
    tolerant = operation.method == "get" or any(part in operation.path for part in TOLERANT)
    checks = CHECKS[:-1] if tolerant else CHECKS

    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    @hypothesis.settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate],
    )
    def one(case: Any) -> None:
        for name in case.path_parameters or {}:
            if name in known:
                case.path_parameters[name] = known[name]
        if mode is schemathesis.GenerationMode.POSITIVE and isinstance(case.body, dict):
            for inner in case.body.values():
                if isinstance(inner, dict) and "volume_id" in inner:
                    inner["volume_id"] = served.ids["volume_id"]
        reply = case.call(base_url=served.url, session=session, headers=served.headers, timeout=20)
        case.validate_response(reply, checks=checks)

    try:
        one()
    except hypothesis.errors.Unsatisfiable:
        return  # there is nothing about this operation that could be wrong
