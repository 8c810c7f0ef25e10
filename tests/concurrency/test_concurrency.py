"""Many requests at once: each is answered yes or with a right refusal, and what remains is legal."""

import asyncio
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from openevs.engine.port import Exports
from openevs.testing.application import Client, Running, running
from tests.concurrency.conftest import MakeEngine
from tests.concurrency.storms import ask_all, check_all, requests_on, until_quiet, wrong_answers

STORMS = 12
VERSION = "3.44"


async def _stop_serving(one: Running) -> None:
    """End what serves volumes: a test leaves no daemon behind."""
    if isinstance(one.app.engine, Exports):
        for volume_id in await one.app.engine.list_exports():
            await one.app.engine.ensure_no_export(volume_id)


async def _storm(one: Running, client: Client, rng: random.Random) -> list[str]:
    volume = await client.volume()
    snapshots = [(await client.snapshot(volume["id"]))["id"] for _ in range(2)]
    if rng.random() < 0.4:
        body = {"attachment": {"volume_uuid": volume["id"], "connector": {"host": "storm"}}}
        attached = await client.call("POST", "/v3/{p}/attachments", body)
        assert attached.status_code == 200, attached.text
    asked = await ask_all(client, requests_on(volume["id"], snapshots, rng))
    await until_quiet(one)
    return wrong_answers(asked) + await check_all(one, client)


def test_a_storm_on_one_volume_ends_in_a_legal_state(make_engine: MakeEngine, tmp_path: Path) -> None:
    async def storms() -> list[str]:
        rng = random.Random(20240607)
        async with running(tmp_path, make_engine()) as one:
            client = await one.client()
            client.version = VERSION
            wrong = [f"storm {number}: {text}" for number in range(STORMS) for text in await _storm(one, client, rng)]
            await _stop_serving(one)
            return wrong

    assert asyncio.run(storms()) == []


@pytest.mark.parametrize("attached", [False, True])
def test_a_hundred_parallel_snapshots_become_available(make_engine: MakeEngine, tmp_path: Path, attached: bool) -> None:
    async def hundred() -> tuple[Counter[int], Counter[str], list[str]]:
        async with running(tmp_path, make_engine()) as one:
            client = await one.client()
            client.version = VERSION
            volume_id = (await client.volume())["id"]
            if attached:
                body = {"attachment": {"volume_uuid": volume_id, "connector": {"host": "storm"}}}
                assert (await client.call("POST", "/v3/{p}/attachments", body)).status_code == 200
            body = {"snapshot": {"volume_id": volume_id, "force": True}}
            asked = await ask_all(client, [("POST", "/v3/{p}/snapshots", body)] * 100)
            await until_quiet(one)
            found = (await client.get("/v3/{p}/snapshots/detail"))["snapshots"]
            wrong = await check_all(one, client)
            await _stop_serving(one)
        answers = Counter(answer.reply.status_code for answer in asked)
        return answers, Counter(snapshot["status"] for snapshot in found), wrong

    assert asyncio.run(hundred()) == (Counter({202: 100}), Counter({"available": 100}), [])


@pytest.mark.parametrize("what", ["snapshot", "volume"])
def test_one_client_token_makes_one_thing(tmp_path: Path, what: str) -> None:
    async def twins() -> tuple[set[int], set[str], int]:
        async with running(tmp_path) as one:
            client = await one.client()
            volume_id = (await client.volume())["id"]
            bodies: dict[str, dict[str, Any]] = {
                "snapshot": {"snapshot": {"volume_id": volume_id}},
                "volume": {"volume": {"size": 1, "source_volid": volume_id}},
            }
            path = f"/v3/{{p}}/{what}s"
            calls = [client.call("POST", path, bodies[what], X_Client_Token="one-token") for _ in range(10)]
            replies = await asyncio.gather(*calls)
            await until_quiet(one)
            listed = (await client.get(path))[f"{what}s"]
            made = {one["id"] for one in listed} - {volume_id}
        return {reply.status_code for reply in replies}, {reply.json()[what]["id"] for reply in replies}, len(made)

    statuses, ids, made = asyncio.run(twins())
    assert (statuses, len(ids), made) == ({202}, 1, 1)


def test_one_client_token_with_two_bodies_is_a_conflict(tmp_path: Path) -> None:
    async def rivals() -> tuple[Counter[int], int]:
        async with running(tmp_path) as one:
            client = await one.client()
            calls = [
                client.call("POST", "/v3/{p}/volumes", {"volume": {"size": size}}, X_Client_Token="one-token")
                for size in (1, 2)
            ]
            replies = await asyncio.gather(*calls)
            await until_quiet(one)
            return Counter(reply.status_code for reply in replies), len(
                (await client.get("/v3/{p}/volumes"))["volumes"]
            )

    assert asyncio.run(rivals()) == (Counter({202: 1, 409: 1}), 1)
