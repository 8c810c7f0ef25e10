"""Requests on one volume, all at once; and what must hold when they have been answered and all is quiet again."""

import asyncio
import random
from dataclasses import dataclass
from typing import Any, Final

import httpx

from openevs.domain.ids import GIB
from openevs.domain.lifecycle import TRANSITIONAL_SNAPSHOT_STATUSES, TRANSITIONAL_VOLUME_STATUSES
from openevs.store.operations import list_operations
from openevs.store.quotas import recount
from openevs.testing.application import Client, Running

REFUSALS: Final = frozenset((400, 404, 409))
"""What a request may be refused with when another was quicker: a status, a dependant, gone, or work under way."""
QUIET_SECONDS: Final = 30.0
CONNECTOR: Final = {"host": "storm", "ip": "127.0.0.1"}
VOLUME_RESTS: Final = frozenset(("available", "in-use", "attaching", "reserved"))


@dataclass(frozen=True)
class Asked:
    """One request and its answer."""

    what: str
    reply: httpx.Response


async def ask_all(client: Client, requests: list[tuple[str, str, Any]]) -> list[Asked]:
    """Send all requests at once, and return the answers in the same order."""
    replies = await asyncio.gather(*(client.call(method, path, body) for method, path, body in requests))
    return [
        Asked(f"{method} {path} {body}", reply) for (method, path, body), reply in zip(requests, replies, strict=True)
    ]


def requests_on(volume_id: str, snapshot_ids: list[str], rng: random.Random) -> list[tuple[str, str, Any]]:
    """Return one request of each kind, some twice, in random order."""
    volume, first, last = f"/v3/{{p}}/volumes/{volume_id}", snapshot_ids[0], snapshot_ids[-1]
    attachment = {"volume_uuid": volume_id, "connector": CONNECTOR}
    snapshot = {"snapshot": {"volume_id": volume_id, "force": True}}
    rollback = {"rollback": {"volume_id": volume_id}}
    every: list[tuple[str, str, Any]] = [
        ("POST", "/v3/{p}/snapshots", snapshot),
        ("POST", "/v3/{p}/snapshots", snapshot),
        ("DELETE", f"/v3/{{p}}/snapshots/{first}", None),
        ("DELETE", f"/v3/{{p}}/snapshots/{first}", None),
        ("DELETE", f"{volume}?cascade={rng.choice(('true', 'false'))}", None),
        ("POST", f"{volume}/action", {"os-extend": {"new_size": 2}}),
        ("POST", f"{volume}/action", {"os-extend": {"new_size": 3}}),
        ("POST", f"{volume}/action", {"os-reserve": {}}),
        ("POST", "/v3/{p}/attachments", {"attachment": attachment}),
        ("POST", "/v3/{p}/attachments", {"attachment": attachment}),
        ("POST", f"/v2/{{p}}/cloudsnapshots/{first}/rollback", rollback),
        ("POST", f"/v2/{{p}}/cloudsnapshots/{last}/rollback", rollback),
        ("POST", f"{volume}/action", {"revert": {"snapshot_id": last}}),
        ("POST", "/v3/{p}/volumes", {"volume": {"source_volid": volume_id, "size": 1}}),
        ("POST", "/v3/{p}/volumes", {"volume": {"snapshot_id": first, "size": 1}}),
        ("POST", "/v3/{p}/volumes", {"volume": {"snapshot_id": last, "size": 2}}),
        ("PUT", volume, {"volume": {"name": "other"}}),
        ("POST", f"{volume}/metadata", {"metadata": {"a": "b"}}),
        ("GET", "/v3/{p}/volumes/detail", None),
        ("GET", "/v3/{p}/snapshots/detail", None),
    ]
    rng.shuffle(every)
    return every


def wrong_answers(asked: list[Asked]) -> list[str]:
    """Return every answer that is neither a yes nor a refusal of a right kind."""
    return [
        f"{one.what} was answered {one.reply.status_code}: {one.reply.text}"
        for one in asked
        if one.reply.status_code >= 300 and one.reply.status_code not in REFUSALS
    ]


async def until_quiet(running: Running) -> None:
    """Wait until no operation is open."""
    async with asyncio.timeout(QUIET_SECONDS):
        while await running.app.db.read(list_operations, only_open=True, limit=1):  # noqa: ASYNC110 - rows ring no bell
            await asyncio.sleep(0.01)


async def check_all(running: Running, client: Client) -> list[str]:
    """Return what is wrong once all is quiet: statuses, sizes, what is on storage, quotas."""
    volumes = {one["id"]: one for one in (await client.get("/v3/{p}/volumes/detail"))["volumes"]}
    snapshots = {one["id"]: one for one in (await client.get("/v3/{p}/snapshots/detail"))["snapshots"]}
    stored = await running.app.engine.list_objects()
    wrong = [
        f"volume {one['id']} rests in {one['status']}: {one.get('openevs:reason')}"
        for one in volumes.values()
        if one["status"] not in VOLUME_RESTS or one["status"] in TRANSITIONAL_VOLUME_STATUSES
    ]
    wrong += [
        f"snapshot {one['id']} rests in {one['status']}"
        for one in snapshots.values()
        if one["status"] != "available" or one["status"] in TRANSITIONAL_SNAPSHOT_STATUSES
    ]
    wrong += _compare("volume", volumes, {str(key): facts.size_bytes for key, facts in stored.volumes.items()})
    wrong += _compare("snapshot", snapshots, {str(key): facts.size_bytes for key, facts in stored.snapshots.items()})
    miscounted = await running.app.db.write(recount)
    return wrong + [f"quota {key}: recorded and true {pair}" for key, pair in miscounted.items()]


def _compare(kind: str, listed: dict[str, Any], stored: dict[str, int]) -> list[str]:
    wrong = [f"{kind} {one} is on storage only" for one in stored.keys() - listed.keys()]
    wrong += [f"{kind} {one} is listed only" for one in listed.keys() - stored.keys()]
    return wrong + [
        f"{kind} {one} is listed with {listed[one]['size']} GiB, but has {stored[one] / GIB:g}"
        for one in stored.keys() & listed.keys()
        if listed[one]["size"] * GIB != stored[one]
    ]
