"""Lists out of 100,000 snapshots: a page against a bare SELECT of its rows, and a deep page against the first."""

import sqlite3
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import msgspec

from bench.client import QuickClient
from bench.figures import Row
from bench.rig import GIB, Rig, running
from bench.scaling import Action, in_turns
from openevs.demo.service import Service

SNAPSHOTS = 100_000
PAGE = 1000
_DEEP = 0.9


def measure(rig: Rig) -> list[Row]:
    """Return the rows about lists."""
    folder = rig.folder / "lists"
    project = _prepare(folder)
    count = SNAPSHOTS // 10 if rig.quick else SNAPSHOTS
    _fill(folder / "openevs.db", project, count)
    with running(folder) as service:
        deep = int(count * _DEEP)
        marker = _id_at(folder / "openevs.db", deep)
        path = f"/v3/{{p}}/snapshots/detail?limit={PAGE}"
        first, by_marker, by_offset, bare = in_turns(
            [
                _page(service.client, path),
                _page(service.client, f"{path}&marker={marker}"),
                _page(service.client, f"{path}&offset={deep}"),
                _bare(folder / "openevs.db", project),
            ],
            rig.rounds(30),
        )
    note = f"page at offset {deep} (every row before it has to be counted off): {by_offset.spread()}"
    return [
        Row(f"{PAGE} of {count} snapshots in detail", first, "one bare SELECT of the rows, as JSON", bare, 3.0),
        Row(f"the page after number {deep}, by marker", by_marker, "the first page", first, 1.3, notes=(note,)),
    ]


def _prepare(folder: Path) -> str:
    """Let a service make its database, with one volume in it; return the project's id."""
    service = Service(folder, {"LOG_LEVEL": "warning"})
    service.start()
    try:
        api = service.log_in()
        api.make_volume(1)
        return api.project_id
    finally:
        service.stop()


def _fill(path: Path, project: str, count: int) -> None:
    database = sqlite3.connect(path)
    volume, user = database.execute("SELECT id, user_id FROM volume").fetchone()
    begin = datetime(2020, 1, 1, tzinfo=UTC)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)

    def row(number: int) -> dict[str, object]:
        created = (begin + timedelta(minutes=number) - epoch) // timedelta(microseconds=1)
        return {
            "id": str(UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128, version=4)),
            "project_id": project, "user_id": user, "volume_id": volume, "name": f"snapshot {number}",
            "description": "one of many", "size_gib": 1, "status": "available", "progress": "100%",
            "metadata": '{"number": "%d"}' % number, "owner": "user", "volume_type": "layers",  # noqa: UP031
            "created_at": created, "updated_at": created, "taken_at": created, "cut_ms": 1.5, "stall_ms": 0.5,
        }  # fmt: skip

    columns = list(row(0))
    insert = f"INSERT INTO snapshot ({', '.join(columns)}) VALUES ({', '.join(':' + name for name in columns)})"  # noqa: S608
    with database:
        database.executemany(insert, (row(number) for number in range(count)))
    database.execute("ANALYZE")
    database.close()


def _id_at(path: Path, position: int) -> str:
    database = sqlite3.connect(path)
    query = "SELECT id FROM snapshot ORDER BY created_at DESC, id DESC LIMIT 1 OFFSET ?"
    found = str(database.execute(query, (position - 1,)).fetchone()[0])
    database.close()
    return found


def _page(client: QuickClient, path: str) -> Action:
    request = client.prepared("GET", path)

    def act(number: int) -> float:
        began = time.perf_counter()
        answer = client.exchange(request)
        seconds = time.perf_counter() - began
        assert answer.status == 200, answer
        assert answer.body.count(b'"volume_id"') == PAGE
        return seconds

    return act


def _bare(path: Path, project: str) -> Action:
    database = sqlite3.connect(path)
    query = (
        "SELECT id, project_id, user_id, volume_id, name, description, size_gib, status, progress, metadata, owner, "
        "created_at, updated_at, taken_at, cut_ms, stall_ms, reason FROM snapshot WHERE project_id = ? "
        "ORDER BY created_at DESC, id DESC LIMIT ?"
    )

    def act(number: int) -> float:
        began = time.perf_counter()
        cursor = database.execute(query, (project, PAGE))
        names = [column[0] for column in cursor.description]
        encoded = msgspec.json.encode({"snapshots": [dict(zip(names, row, strict=True)) for row in cursor]})
        seconds = time.perf_counter() - began
        assert len(encoded) < GIB
        return seconds

    return act
