"""A client of the API over one HTTP connection: the standard library only, as any script would have it."""

import http.client
import json
import shlex
import time
from http.client import HTTPMessage
from pathlib import Path
from typing import Any, Final, NamedTuple, Self
from urllib.parse import urlsplit

NEWEST_NEEDED: Final = "3.44"
"""Microversion that is asked for: the first in which an attachment can be completed."""
_POLL_SECONDS: Final = 0.001


class ApiError(Exception):
    """The service answered with something that was not expected; the message says what and to which request."""


class Attached(NamedTuple):
    """An attachment and where its volume is served."""

    attachment_id: str
    uri: str


class Api:
    """The API as one user on one project. Methods raise ApiError, and OSError when there is no service."""

    def __init__(self, base_url: str, token: str, project_id: str) -> None:
        self.base_url, self.token, self.project_id = base_url, token, project_id
        parts = urlsplit(base_url)
        self._http = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=120)

    @classmethod
    def log_in(cls, base_url: str, openrc: Path) -> Self:
        """Log in with the credentials of an `openrc` file. Raises ApiError."""
        known = dict(word.split("=", 1) for word in shlex.split(openrc.read_text()) if "=" in word)
        domain = {"name": known["OS_USER_DOMAIN_NAME"]}
        user = {"name": known["OS_USERNAME"], "password": known["OS_PASSWORD"], "domain": domain}
        scope = {"project": {"name": known["OS_PROJECT_NAME"], "domain": {"name": known["OS_PROJECT_DOMAIN_NAME"]}}}
        api = cls(base_url, "", "")
        body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}}
        status, answer, headers = api.send("POST", "/identity/v3/auth/tokens", body)
        if status != http.HTTPStatus.CREATED:
            raise ApiError(f"The login was answered with {status}: {json.dumps(answer)[:300]}")
        api.token, api.project_id = headers["X-Subject-Token"], answer["token"]["project"]["id"]
        return api

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def send(self, method: str, path: str, body: object = None) -> tuple[int, Any, HTTPMessage]:
        """Send a request and return status, body and headers. `{p}` in the path stands for the project."""
        sent = {"X-Auth-Token": self.token, "OpenStack-API-Version": f"volume {NEWEST_NEEDED}, openevs 1"}
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            sent["Content-Type"] = "application/json"
        try:
            self._http.request(method, path.replace("{p}", self.project_id), data, sent)
            reply = self._http.getresponse()
            text = reply.read()
        except (OSError, http.client.HTTPException):
            self._http.close()
            raise
        return reply.status, json.loads(text) if text else None, reply.headers

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Return the body of a request that must succeed."""
        status, answer, _ = self.send(method, path, body)
        if status >= http.HTTPStatus.BAD_REQUEST:
            raise ApiError(f"{method} {path} was answered with {status}: {json.dumps(answer)[:300]}")
        return answer

    def get(self, path: str) -> Any:
        """Return the body of a GET."""
        return self.call("GET", path)

    def until(self, kind: str, resource_id: str, status: str, seconds: float = 120.0) -> dict[str, Any]:
        """Wait until a `volume` or `snapshot` has a status (`gone`: until it is not there) and return it."""
        deadline = time.monotonic() + seconds
        while True:
            code, answer, _ = self.send("GET", f"/v3/{{p}}/{kind}s/{resource_id}")
            if code == http.HTTPStatus.NOT_FOUND and status == "gone":
                return {}
            if code >= http.HTTPStatus.BAD_REQUEST:
                raise ApiError(f"GET {kind} {resource_id} was answered with {code}: {json.dumps(answer)[:300]}")
            found: dict[str, Any] = answer[kind]
            if found["status"] == status:
                return found
            if found["status"].startswith("error") or time.monotonic() > deadline:
                raise ApiError(f"{kind} {resource_id} is {found['status']}, not {status}")
            time.sleep(_POLL_SECONDS)

    def make_volume(self, size_gib: int, **fields: object) -> str:
        """Return the id of a new volume that has become available."""
        made = self.call("POST", "/v3/{p}/volumes", {"volume": {"size": size_gib, **fields}})["volume"]
        self.until("volume", made["id"], "available")
        return str(made["id"])

    def attach(self, volume_id: str) -> Attached:
        """Attach a volume to this machine, so that it is `in-use`, and return where it is served."""
        connector = {"host": "localhost", "initiator": "iqn.none", "ip": "127.0.0.1", "platform": "x86_64"}
        body = {"attachment": {"volume_uuid": volume_id, "instance_uuid": volume_id, "connector": connector}}
        made = self.call("POST", "/v3/{p}/attachments", body)["attachment"]
        self.call("POST", f"/v3/{{p}}/attachments/{made['id']}/action", {"os-complete": {}})
        self.until("volume", volume_id, "in-use")
        info = made["connection_info"]
        return Attached(made["id"], str(info.get("data", info)["uri"]))

    def detach(self, volume_id: str, attached: Attached) -> None:
        """End an attachment and wait until the volume is `available`."""
        self.call("DELETE", f"/v3/{{p}}/attachments/{attached.attachment_id}")
        self.until("volume", volume_id, "available")

    def take_snapshot(self, volume_id: str, name: str | None = None) -> "Taken":
        """Snapshot a volume, attached or not, and time it."""
        body = {"snapshot": {"volume_id": volume_id, "name": name, "force": True}}
        asked = time.monotonic_ns()
        made = self.call("POST", "/v3/{p}/snapshots", body)["snapshot"]
        answered = time.monotonic_ns()
        found = self.until("snapshot", made["id"], "available")
        return Taken(found, asked, answered, time.monotonic_ns())

    def roll_back(self, volume_id: str, snapshot_id: str) -> None:
        """Put a detached volume back to a snapshot, and wait until it is."""
        path = f"/v2/{{p}}/cloudsnapshots/{snapshot_id}/rollback"
        self.call("POST", path, {"rollback": {"volume_id": volume_id}})
        self.until("volume", volume_id, "available")

    def remove(self, kind: str, resource_id: str) -> None:
        """Delete a volume or snapshot and wait until it is gone."""
        self.call("DELETE", f"/v3/{{p}}/{kind}s/{resource_id}")
        self.until(kind, resource_id, "gone")

    def clear(self) -> None:
        """End every attachment, so that no storage daemon is left."""
        for attachment in self.get("/v3/{p}/attachments")["attachments"]:
            self.call("DELETE", f"/v3/{{p}}/attachments/{attachment['id']}")


class Taken(NamedTuple):
    """A snapshot that has been taken, and when; nanoseconds of the monotonic clock."""

    snapshot: dict[str, Any]
    asked_ns: int
    answered_ns: int
    available_ns: int
