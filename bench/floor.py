"""The floor under a snapshot: what QEMU and the disk cost without any service around them.

One daemon with one volume, written to like the service's. A round is what the design cannot do without: the commit that
accepts, the manifest on stable storage, an overlay made and cut by one bare QMP command, the commit that ends it.
"""

import itertools
import json
import os
import socket
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import Any, NamedTuple, Self

from openevs.durable import replace_file
from openevs.engine.layers.qcow2 import write_empty

_ROW_BYTES = 600
_MANIFEST_BYTES = 800
_CLUSTER_BITS = 17


class Floor(NamedTuple):
    """Seconds that each part of one round took."""

    accept: float
    manifest: float
    cut: float
    finish: float

    @property
    def total(self) -> float:
        """The whole."""
        return sum(self)


class FloorVolume:
    """A storage daemon of the bench's own, and a database beside it."""

    def __init__(self, folder: Path, size_gib: int) -> None:
        folder.mkdir()
        self._folder, self._number = folder, 0
        self._db = sqlite3.connect(folder / "floor.db", isolation_level=None)
        for statement in (
            "PRAGMA journal_mode=WAL",
            "PRAGMA synchronous=FULL",
            "CREATE TABLE work (id INTEGER PRIMARY KEY, state TEXT, content TEXT)",
            "CREATE INDEX work_by_state ON work (state)",
        ):
            self._db.execute(statement)
        self._size_bytes = size_gib << 30
        write_empty(self._layer(0), self._size_bytes, _CLUSTER_BITS, None)
        self.uri = f"nbd+unix:///floor?socket={folder}/nbd"
        export = {"type": "nbd", "id": "e", "node-name": "node-0", "name": "floor", "writable": True}
        self._daemon = subprocess.Popen(
            [
                "qemu-storage-daemon",
                "--chardev", f"socket,path={folder}/qmp,server=on,wait=on,id=c", "--monitor", "chardev=c",
                "--blockdev", json.dumps(_node("node-0", self._layer(0))),
                "--nbd-server", json.dumps({"addr": {"type": "unix", "path": f"{folder}/nbd"}}),
                "--export", json.dumps(export),
            ],
            start_new_session=True,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        self._qmp = _connect(folder / "qmp")
        self._answer()  # the greeting
        self._command("qmp_capabilities")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._qmp.close()
        self._daemon.kill()
        self._daemon.wait()
        self._db.close()

    def round(self, *, prepared: bool) -> Floor:
        """Do what a snapshot cannot do without, and time it; with `prepared` the overlay is made before."""
        self._number += 1
        layer, below, node = self._layer(self._number), f"node-{self._number - 1}", f"node-{self._number}"
        if prepared:
            write_empty(layer, self._size_bytes, _CLUSTER_BITS, self._layer(self._number - 1).name)
            self._command("blockdev-add", **_node(node, layer), backing=None)
        times = [time.perf_counter()]
        self._db.execute("BEGIN IMMEDIATE")
        values = ("creating", "x" * _ROW_BYTES)
        row = self._db.execute("INSERT INTO work (state, content) VALUES (?, ?)", values).lastrowid
        self._db.execute("COMMIT")
        times.append(time.perf_counter())
        replace_file(self._folder / "manifest.json", b"x" * _MANIFEST_BYTES)
        times.append(time.perf_counter())
        if prepared:
            self._command("blockdev-snapshot", node=below, overlay=node)
        else:
            names = {"node-name": below, "snapshot-file": str(layer), "snapshot-node-name": node}
            self._command("blockdev-snapshot-sync", **names, format="qcow2")
        times.append(time.perf_counter())
        self._db.execute("BEGIN IMMEDIATE")
        self._db.execute("UPDATE work SET state = 'available' WHERE id = ?", (row,))
        self._db.execute("COMMIT")
        times.append(time.perf_counter())
        return Floor(*(after - before for before, after in itertools.pairwise(times)))

    def _layer(self, number: int) -> Path:
        return self._folder / f"layer-{number}.qcow2"

    def _command(self, name: str, **arguments: object) -> Any:
        self._qmp.sendall(json.dumps({"execute": name, "arguments": arguments}).encode() + b"\n")
        while True:
            answer = self._answer()
            assert "error" not in answer, answer
            if "return" in answer:
                return answer["return"]

    def _answer(self) -> dict[str, Any]:
        return dict(json.loads(self._lines.readline()))

    @property
    def _lines(self) -> Any:
        if not hasattr(self, "_reader"):
            self._reader = self._qmp.makefile("rb")
        return self._reader


def _node(name: str, path: Path) -> dict[str, Any]:
    file = {"driver": "file", "filename": str(path), "discard": "unmap", "cache": {"direct": _direct(path)}}
    return {"driver": "qcow2", "node-name": name, "discard": "unmap", "file": file}


def _direct(path: Path) -> bool:
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECT))
    except OSError:
        return False
    return True


def _connect(path: Path) -> socket.socket:
    for _ in range(2000):
        found = socket.socket(socket.AF_UNIX)
        try:
            found.connect(str(path))
        except OSError:
            found.close()
            time.sleep(0.005)
        else:
            return found
    raise TimeoutError(f"no storage daemon at {path}")
