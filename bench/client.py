"""A client that costs next to nothing, so that what is measured is the service: one socket, prepared requests."""

import json
import socket
import time
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

from openevs.demo.api import Api

POLL_SECONDS = 0.0005
"""Pause between two looks; with the look itself, a status is seen within about a millisecond."""


class Answer(NamedTuple):
    """Status and body of a reply."""

    status: int
    body: bytes


class QuickClient:
    """One keep-alive connection, used by one user on one project."""

    def __init__(self, api: Api) -> None:
        parts = urlsplit(api.base_url)
        self._socket = socket.create_connection((parts.hostname or "", parts.port or 80), timeout=120)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._project = api.project_id
        self._headers = f"Host: {parts.netloc}\r\nX-Auth-Token: {api.token}\r\nContent-Type: application/json\r\n"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def prepared(self, method: str, path: str, body: object = None) -> bytes:
        """Return the bytes of a request; `{p}` in the path stands for the project."""
        data = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path.replace('{p}', self._project)} HTTP/1.1\r\n{self._headers}Content-Length: {len(data)}"
        return head.encode() + b"\r\n\r\n" + data

    def exchange(self, request: bytes) -> Answer:
        """Send a prepared request and return the answer."""
        self._socket.sendall(request)
        data = self._socket.recv(1 << 16)
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._more()
        head = data[:end].lower()
        at = head.find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        parts, size = [data[end + 4 :]], len(data) - end - 4
        while size < length:
            parts.append(self._more())
            size += len(parts[-1])
        return Answer(int(data[9:12]), b"".join(parts))

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Return the decoded body of a request that must succeed."""
        answer = self.exchange(self.prepared(method, path, body))
        assert answer.status < 400, (method, path, answer)
        return json.loads(answer.body) if answer.body else None

    def wait(self, path: str, status: str) -> None:
        """Look until the status is there."""
        look, wanted = self.prepared("GET", path), f'"status":"{status}"'.encode()
        while True:
            answer = self.exchange(look)
            assert answer.status == 200, answer
            if wanted in answer.body:
                return
            assert b'"status":"error' not in answer.body, answer
            time.sleep(POLL_SECONDS)

    def snapshot(self, volume_id: str) -> tuple[str, int, int]:
        """Snapshot a volume and return the id, and when it was asked for and seen `available` (monotonic ns)."""
        request = self.prepared("POST", "/v3/{p}/snapshots", {"snapshot": {"volume_id": volume_id, "force": True}})
        asked = time.monotonic_ns()
        answer = self.exchange(request)
        assert answer.status == 202, answer
        snapshot_id = json.loads(answer.body)["snapshot"]["id"]
        self.wait(f"/v3/{{p}}/snapshots/{snapshot_id}", "available")
        return snapshot_id, asked, time.monotonic_ns()

    def _more(self) -> bytes:
        data = self._socket.recv(1 << 20)
        assert data, "the service closed the connection"
        return data
