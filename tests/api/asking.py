"""What the tests of the API have in common: an application to ask, and its answers taken apart."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from openevs.compose import utc_now
from openevs.domain.lifecycle import SNAPSHOT_STATUSES, VOLUME_STATUSES, Move
from openevs.engine.port import Engine, Exports
from openevs.store.quotas import wrong_usage
from openevs.store.snapshots import move_snapshot
from openevs.store.volumes import move_volume
from openevs.testing.application import Client, Running, running
from openevs.testing.exporting import ExportingMemoryEngine, ExportingMemoryStorage
from openevs.testing.faulty import Faults, faulty

NOW: Final = datetime(2030, 1, 1, tzinfo=UTC)
GONE: Final = "00000000-0000-4000-8000-000000000000"
"""The id of nothing."""


def at_work(
    folder: Path,
    work: Callable[[Running, Client], Awaitable[None]],
    version: str | None = None,
    engine: Engine | None = None,
    clock: Callable[[], datetime] = utc_now,
    **settings: str,
) -> None:
    """Run `work` as the demo user on an application of its own; `settings` are given as `section__name`."""

    async def main() -> None:
        overrides = {(name.split("__")[0], name.split("__")[1]): value for name, value in settings.items()}
        async with running(folder, engine, overrides, clock) as run:
            client = await run.client()
            client.version = version
            try:
                await work(run, client)
            finally:
                await _end_exports(run.app.engine)

    asyncio.run(main())


async def _end_exports(engine: Engine) -> None:
    """Close what is still served: it belongs to storage, and would outlive the event loop."""
    if isinstance(engine, Exports):
        for volume_id in await engine.list_exports():
            await engine.ensure_no_export(volume_id)


def with_admin(
    folder: Path,
    work: Callable[[Running, Client, Client], Awaitable[None]],
    version: str | None = "3.71",
    engine: Engine | None = None,
    **settings: str,
) -> None:
    """Run `work` as the demo user and as an administrator of one project, whose usage must be right at the end."""

    async def both(run: Running, client: Client) -> None:
        admin = await run.client("admin")
        admin.version = version
        await work(run, client, admin)
        assert await run.app.db.read(wrong_usage) == {}

    at_work(folder, both, version, engine, utc_now, **settings)


def with_faults(
    folder: Path,
    work: Callable[[Running, Client, Faults], Awaitable[None]],
    clock: Callable[[], datetime] = utc_now,
) -> None:
    """Run `work` as the demo user, over an engine that fails when it is told to."""
    faults = Faults()
    engine = faulty(ExportingMemoryEngine(ExportingMemoryStorage(folder)), faults)
    at_work(folder, lambda run, client: work(run, client, faults), "3.71", engine, clock)


async def ok(client: Client, method: str, path: str, body: Any = None, status: int = 202) -> Any:
    """Return the body of an answer that must be this success."""
    reply = await client.call(method, path, body)
    assert reply.status_code == status, reply.text
    return reply.json() if reply.content else None


def fault(reply: Any) -> tuple[int, str, str]:
    """Return status, fault name and message of a native refusal, whose body must have nothing else."""
    ((name, detail),) = reply.json().items()
    assert detail["code"] == reply.status_code
    assert detail.keys() == ({"message", "code", "retryAfter"} if name == "overLimit" else {"message", "code"})
    return reply.status_code, name, detail["message"]


async def refused(client: Client, method: str, path: str, body: Any = None) -> tuple[int, str]:
    """Return status and message of an answer that must be a refusal."""
    status, _, message = fault(await client.call(method, path, body))
    return status, message


async def kind(run: Running, **fields: Any) -> dict[str, Any]:
    """Return a new group type, named `kind` unless it is given another name."""
    admin = await operator(run)
    reply = await admin.call("POST", "/v3/{p}/group_types", {"group_type": {"name": "kind", **fields}})
    assert reply.status_code == 202, reply.text
    made: dict[str, Any] = reply.json()["group_type"]
    return made


async def operator(run: Running) -> Client:
    """Return an administrator."""
    admin = await run.client("admin", project="admin")
    admin.version = "3.71"
    return admin


async def type_id(client: Client) -> str:
    """Return the id of the default volume type."""
    return str((await client.get("/v3/{p}/types/default"))["volume_type"]["id"])


async def group(client: Client, kind_id: str, **fields: Any) -> dict[str, Any]:
    """Return a new group."""
    body = {"group": {"group_type": kind_id, "volume_types": [await type_id(client)], **fields}}
    reply = await client.call("POST", "/v3/{p}/groups", body)
    assert reply.status_code == 202, reply.text
    made: dict[str, Any] = reply.json()["group"]
    return await client.until("group", made["id"], "available")


async def act(client: Client, volume_id: str, action: str, content: Any = None, api: str = "v3") -> Any:
    """Return the answer to an action on a volume."""
    return await client.call("POST", f"/{api}/{{p}}/volumes/{volume_id}/action", {action: content})


async def status_of(client: Client, volume_id: str) -> str:
    """Return a volume's status."""
    return str((await client.get(f"/v3/{{p}}/volumes/{volume_id}"))["volume"]["status"])


async def attach(client: Client, volume_id: str, connector: Mapping[str, str], **fields: Any) -> dict[str, Any]:
    """Return an attachment that is complete."""
    body = {"volume_uuid": volume_id, "connector": connector, **fields}
    made: dict[str, Any] = (await ok(client, "POST", "/v3/{p}/attachments", {"attachment": body}, 200))["attachment"]
    await ok(client, "POST", f"/v3/{{p}}/attachments/{made['id']}/action", {"os-complete": {}}, 204)
    return made


async def volume_ids(client: Client, query: str) -> list[str]:
    """Return the ids in a list of volumes; the query begins with `?`, after `/detail` if that is wanted."""
    return [row["id"] for row in (await client.get(f"/v3/{{p}}/volumes{query}"))["volumes"]]


async def set_volume(run: Running, volume_id: str, status: str) -> None:
    """Put a volume into a status, from any."""
    await run.app.db.write(move_volume, volume_id, Move("set", VOLUME_STATUSES, status), NOW)


async def set_snapshot(run: Running, snapshot_id: str, status: str) -> None:
    """Put a snapshot into a status, from any."""
    await run.app.db.write(move_snapshot, snapshot_id, Move("set", SNAPSHOT_STATUSES, status), NOW)
