"""The clients whose requests make the load: one over plain HTTP, one that is python-cinderclient."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import httpx
from cinderclient import client as cinder
from cinderclient.exceptions import ClientException
from keystoneauth1.exceptions import ClientException as KeystoneException
from keystoneauth1.identity import v3
from keystoneauth1.session import Session

VERSION: Final = "3.44"
CONNECTOR: Final = {"host": "killtest", "ip": "127.0.0.1", "initiator": "iqn.2024-01.test:killtest"}
TIMEOUT_SECONDS: Final = 40.0


@dataclass(frozen=True)
class Answer:
    """What a request was answered with."""

    status: int | None
    """None: there was no answer, and what the request did is not known."""
    body: Any = None

    @property
    def accepted(self) -> bool:
        """Whether the service has said yes."""
        return self.status is not None and self.status < 300

    @property
    def unknown(self) -> bool:
        """Whether the request may have been carried out or not."""
        return self.status is None or self.status >= 500


@dataclass(frozen=True)
class Login:
    """How to log in."""

    url: str
    user: str
    password: str
    project: str


class Client(Protocol):
    """What a worker asks for. Nothing raises; see `Answer`."""

    async def create_volume(
        self,
        name: str,
        size: int,
        snapshot_id: str | None = None,
        source_id: str | None = None,
        group_id: str | None = None,
    ) -> Answer: ...
    async def delete_volume(self, volume_id: str, *, cascade: bool) -> Answer: ...
    async def extend(self, volume_id: str, size: int) -> Answer: ...
    async def create_snapshot(self, volume_id: str, name: str, *, force: bool) -> Answer: ...
    async def delete_snapshot(self, snapshot_id: str) -> Answer: ...
    async def put_back(self, volume_id: str, snapshot_id: str) -> Answer: ...
    async def attach(self, volume_id: str, transport: str = "unix") -> Answer: ...
    async def detach(self, volume_id: str, attachment_id: str) -> Answer: ...
    async def transfer(self, volume_id: str, *, accept: bool) -> Answer: ...
    async def retype(self, volume_id: str, new_type: str) -> Answer: ...
    async def unmanage(self, volume_id: str) -> Answer: ...
    async def manage(self, host: str, source_name: str, name: str) -> Answer: ...
    async def unmanage_snapshot(self, snapshot_id: str) -> Answer: ...
    async def manage_snapshot(self, volume_id: str, source_name: str, name: str) -> Answer: ...
    async def back_up(self, volume_id: str, name: str, *, incremental: bool) -> Answer: ...
    async def restore(self, backup_id: str, name: str) -> Answer: ...
    async def delete_backup(self, backup_id: str) -> Answer: ...
    async def create_group(self, name: str, group_type: str, types: Sequence[str]) -> Answer: ...
    async def copy_group(self, name: str, *, group_snapshot_id: str | None, source_group_id: str | None) -> Answer: ...
    async def update_group(self, group_id: str, add: Sequence[str], remove: Sequence[str]) -> Answer: ...
    async def delete_group(self, group_id: str, *, with_volumes: bool) -> Answer: ...
    async def snapshot_group(self, group_id: str, name: str) -> Answer: ...
    async def delete_group_snapshot(self, group_snapshot_id: str) -> Answer: ...


Sent = Callable[[], None]
"""Called as each request is about to be sent."""


class HttpClient:
    """Plain HTTP: the attachments API, and EVS's `rollback`."""

    def __init__(self, login: Login, sent: Sent = lambda: None) -> None:
        self._login, self._sent = login, sent
        self._http = httpx.AsyncClient(base_url=login.url, timeout=TIMEOUT_SECONDS)
        self.project_id = ""

    async def log_in(self) -> None:
        """Get a token; it outlives the service's process."""
        login = {"user": {"name": self._login.user, "domain": {"id": "default"}, "password": self._login.password}}
        scope = {"project": {"name": self._login.project, "domain": {"id": "default"}}}
        body = {"auth": {"identity": {"methods": ["password"], "password": login}, "scope": scope}}
        reply = await self._http.post("/identity/v3/auth/tokens", json=body)
        reply.raise_for_status()
        self.project_id = reply.json()["token"]["project"]["id"]
        self._http.headers["X-Auth-Token"] = reply.headers["X-Subject-Token"]
        self._http.headers["OpenStack-API-Version"] = f"volume {VERSION}, openevs 1"

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def call(self, method: str, path: str, body: Any = None, api: str = "v3") -> Answer:
        """Send one request below the project."""
        self._sent()
        try:
            reply = await self._http.request(method, f"/{api}/{self.project_id}/{path}", json=body)
        except httpx.HTTPError:
            return Answer(None)
        try:
            return Answer(reply.status_code, reply.json() if reply.content else None)
        except ValueError:
            return Answer(reply.status_code, reply.text)

    async def get(self, path: str) -> Any:
        """Return the body of a GET that must succeed. Raises RuntimeError."""
        answer = await self.call("GET", path)
        if answer.status != 200:
            raise RuntimeError(f"GET {path} was answered {answer.status}: {answer.body}")
        return answer.body

    async def create_volume(
        self,
        name: str,
        size: int,
        snapshot_id: str | None = None,
        source_id: str | None = None,
        group_id: str | None = None,
    ) -> Answer:
        source = {"snapshot_id": snapshot_id, "source_volid": source_id, "group_id": group_id}
        body = {"name": name, "size": size, **{key: value for key, value in source.items() if value}}
        return _inner(await self.call("POST", "volumes", {"volume": body}), "volume")

    async def delete_volume(self, volume_id: str, *, cascade: bool) -> Answer:
        return await self.call("DELETE", f"volumes/{volume_id}" + ("?cascade=true" if cascade else ""))

    async def extend(self, volume_id: str, size: int) -> Answer:
        return await self.call("POST", f"volumes/{volume_id}/action", {"os-extend": {"new_size": size}})

    async def create_snapshot(self, volume_id: str, name: str, *, force: bool) -> Answer:
        body = {"volume_id": volume_id, "name": name, "force": force}
        return _inner(await self.call("POST", "snapshots", {"snapshot": body}), "snapshot")

    async def delete_snapshot(self, snapshot_id: str) -> Answer:
        return await self.call("DELETE", f"snapshots/{snapshot_id}")

    async def put_back(self, volume_id: str, snapshot_id: str) -> Answer:
        body = {"rollback": {"volume_id": volume_id}}
        return await self.call("POST", f"cloudsnapshots/{snapshot_id}/rollback", body, api="v2")

    async def attach(self, volume_id: str, transport: str = "unix") -> Answer:
        body = {"volume_uuid": volume_id, "instance_uuid": "11111111-1111-4111-8111-111111111111"}
        wanted = {**body, "connector": {**CONNECTOR, "transport": transport}}
        made = _inner(await self.call("POST", "attachments", {"attachment": wanted}), "attachment")
        if not made.accepted:
            return made
        done = await self.call("POST", f"attachments/{made.body['id']}/action", {"os-complete": {}})
        if not done.accepted:
            return Answer(done.status, done.body)
        return Answer(200, (made.body["id"], uri_of(made.body["connection_info"])))

    async def detach(self, volume_id: str, attachment_id: str) -> Answer:
        if not attachment_id:  # attached by the older actions, which name none
            found = await self.call("GET", f"attachments?volume_id={volume_id}")
            if not found.accepted or not found.body["attachments"]:
                return Answer(None, found.body)
            attachment_id = found.body["attachments"][0]["id"]
        return await self.call("DELETE", f"attachments/{attachment_id}")

    async def transfer(self, volume_id: str, *, accept: bool) -> Answer:
        body = {"transfer": {"volume_id": volume_id}}
        made = _inner(await self.call("POST", "volume-transfers", body), "transfer")
        if not made.accepted:
            return made
        one = f"volume-transfers/{made.body['id']}"
        if accept:
            return await self.call("POST", f"{one}/accept", {"accept": {"auth_key": made.body["auth_key"]}})
        return await self.call("DELETE", one)

    async def retype(self, volume_id: str, new_type: str) -> Answer:
        body = {"os-retype": {"new_type": new_type, "migration_policy": "never"}}
        return await self.call("POST", f"volumes/{volume_id}/action", body)

    async def unmanage(self, volume_id: str) -> Answer:
        return await self.call("POST", f"volumes/{volume_id}/action", {"os-unmanage": {}})

    async def manage(self, host: str, source_name: str, name: str) -> Answer:
        body = {"volume": {"host": host, "ref": {"source-name": source_name}, "name": name}}
        return _inner(await self.call("POST", "manageable_volumes", body), "volume")

    async def unmanage_snapshot(self, snapshot_id: str) -> Answer:
        return await self.call("POST", f"snapshots/{snapshot_id}/action", {"os-unmanage": {}})

    async def manage_snapshot(self, volume_id: str, source_name: str, name: str) -> Answer:
        body = {"snapshot": {"volume_id": volume_id, "ref": {"source-name": source_name}, "name": name}}
        return _inner(await self.call("POST", "manageable_snapshots", body), "snapshot")

    async def back_up(self, volume_id: str, name: str, *, incremental: bool) -> Answer:
        body = {"volume_id": volume_id, "name": name, "force": True, "incremental": incremental}
        return _inner(await self.call("POST", "backups", {"backup": body}), "backup")

    async def restore(self, backup_id: str, name: str) -> Answer:
        """Restore into a new volume; the answer's body has its id."""
        made = _inner(await self.call("POST", f"backups/{backup_id}/restore", {"restore": {"name": name}}), "restore")
        return Answer(made.status, {"id": made.body["volume_id"]}) if made.accepted else made

    async def delete_backup(self, backup_id: str) -> Answer:
        return await self.call("DELETE", f"backups/{backup_id}")

    async def create_group(self, name: str, group_type: str, types: Sequence[str]) -> Answer:
        body = {"name": name, "group_type": group_type, "volume_types": list(types)}
        return _inner(await self.call("POST", "groups", {"group": body}), "group")

    async def copy_group(self, name: str, *, group_snapshot_id: str | None, source_group_id: str | None) -> Answer:
        sources = {"group_snapshot_id": group_snapshot_id, "source_group_id": source_group_id}
        body = {"name": name, **{key: value for key, value in sources.items() if value}}
        return _inner(await self.call("POST", "groups/action", {"create-from-src": body}), "group")

    async def update_group(self, group_id: str, add: Sequence[str], remove: Sequence[str]) -> Answer:
        body = {"add_volumes": ",".join(add), "remove_volumes": ",".join(remove)}
        return await self.call("PUT", f"groups/{group_id}", {"group": body})

    async def delete_group(self, group_id: str, *, with_volumes: bool) -> Answer:
        return await self.call("POST", f"groups/{group_id}/action", {"delete": {"delete-volumes": with_volumes}})

    async def snapshot_group(self, group_id: str, name: str) -> Answer:
        body = {"group_snapshot": {"group_id": group_id, "name": name}}
        return _inner(await self.call("POST", "group_snapshots", body), "group_snapshot")

    async def delete_group_snapshot(self, group_snapshot_id: str) -> Answer:
        return await self.call("DELETE", f"group_snapshots/{group_snapshot_id}")


class CinderClient:
    """python-cinderclient, as a script would use it: actions to attach, `revert` to put back."""

    def __init__(self, login: Login, sent: Sent = lambda: None) -> None:
        auth = v3.Password(
            auth_url=f"{login.url}/identity/v3",
            username=login.user,
            password=login.password,
            project_name=login.project,
            user_domain_id="default",
            project_domain_id="default",
        )
        self._sent = sent
        self._api = cinder.Client(
            VERSION, session=Session(auth=auth, timeout=TIMEOUT_SECONDS), retries=0, connect_retries=0
        )

    async def _do(self, call: Callable[[], Any]) -> Answer:
        self._sent()
        try:
            return Answer(202, await asyncio.to_thread(call))
        except ClientException as error:
            return Answer(int(error.code), str(error))
        except KeystoneException as error:
            return Answer(getattr(error, "http_status", None) or None, str(error))
        except OSError as error:  # what its HTTP library lets through when a connection breaks half-way
            return Answer(None, str(error))

    async def create_volume(
        self,
        name: str,
        size: int,
        snapshot_id: str | None = None,
        source_id: str | None = None,
        group_id: str | None = None,
    ) -> Answer:
        made = await self._do(
            lambda: self._api.volumes.create(
                size, name=name, snapshot_id=snapshot_id, source_volid=source_id, group_id=group_id
            )
        )
        return _record(made)

    async def delete_volume(self, volume_id: str, *, cascade: bool) -> Answer:
        return await self._do(lambda: self._api.volumes.delete(volume_id, cascade=cascade))

    async def extend(self, volume_id: str, size: int) -> Answer:
        return await self._do(lambda: self._api.volumes.extend(volume_id, size))

    async def create_snapshot(self, volume_id: str, name: str, *, force: bool) -> Answer:
        return _record(await self._do(lambda: self._api.volume_snapshots.create(volume_id, force=force, name=name)))

    async def delete_snapshot(self, snapshot_id: str) -> Answer:
        return await self._do(lambda: self._api.volume_snapshots.delete(snapshot_id))

    async def put_back(self, volume_id: str, snapshot_id: str) -> Answer:
        return await self._do(
            lambda: self._api.volumes.revert_to_snapshot(_Id(volume_id), _Id(snapshot_id))  # only to the newest
        )

    async def attach(self, volume_id: str, transport: str = "unix") -> Answer:
        reserved = await self._do(lambda: self._api.volumes.reserve(volume_id))
        if not reserved.accepted:
            return reserved
        wanted = {**CONNECTOR, "transport": transport}
        connected = await self._do(lambda: self._api.volumes.initialize_connection(volume_id, wanted))
        if not connected.accepted:
            return Answer(None, connected.body)  # reserved, at least
        attached = await self._do(lambda: self._api.volumes.attach(volume_id, None, "/dev/vdb", host_name="killtest"))
        if not attached.accepted:
            return Answer(None, attached.body)
        return Answer(202, ("", uri_of(connected.body)))

    async def detach(self, volume_id: str, attachment_id: str) -> Answer:
        ended = await self._do(lambda: self._api.volumes.terminate_connection(volume_id, CONNECTOR))
        if not ended.accepted:
            return ended
        detached = await self._do(lambda: self._api.volumes.detach(volume_id))
        return detached if detached.accepted else Answer(None, detached.body)

    async def transfer(self, volume_id: str, *, accept: bool) -> Answer:
        made = await self._do(lambda: self._api.transfers.create(volume_id))
        if not made.accepted:
            return made
        if accept:
            return await self._do(lambda: self._api.transfers.accept(made.body.id, made.body.auth_key))
        return await self._do(lambda: self._api.transfers.delete(made.body.id))

    async def retype(self, volume_id: str, new_type: str) -> Answer:
        return await self._do(lambda: self._api.volumes.retype(volume_id, new_type, "never"))

    async def unmanage(self, volume_id: str) -> Answer:
        return await self._do(lambda: self._api.volumes.unmanage(volume_id))

    async def manage(self, host: str, source_name: str, name: str) -> Answer:
        return _record(await self._do(lambda: self._api.volumes.manage(host, {"source-name": source_name}, name=name)))

    async def unmanage_snapshot(self, snapshot_id: str) -> Answer:
        return await self._do(lambda: self._api.volume_snapshots.unmanage(snapshot_id))

    async def manage_snapshot(self, volume_id: str, source_name: str, name: str) -> Answer:
        ref = {"source-name": source_name}
        return _record(await self._do(lambda: self._api.volume_snapshots.manage(volume_id, ref, name=name)))

    async def back_up(self, volume_id: str, name: str, *, incremental: bool) -> Answer:
        made = await self._do(
            lambda: self._api.backups.create(volume_id, name=name, force=True, incremental=incremental)
        )
        return Answer(made.status, {"id": made.body.id}) if made.accepted else made

    async def restore(self, backup_id: str, name: str) -> Answer:
        made = await self._do(lambda: self._api.restores.restore(backup_id, name=name))
        return Answer(made.status, {"id": made.body.volume_id}) if made.accepted else made

    async def delete_backup(self, backup_id: str) -> Answer:
        return await self._do(lambda: self._api.backups.delete(backup_id))

    async def create_group(self, name: str, group_type: str, types: Sequence[str]) -> Answer:
        made = await self._do(lambda: self._api.groups.create(group_type, ",".join(types), name=name))
        return Answer(made.status, {"id": made.body.id}) if made.accepted else made

    async def copy_group(self, name: str, *, group_snapshot_id: str | None, source_group_id: str | None) -> Answer:
        made = await self._do(lambda: self._api.groups.create_from_src(group_snapshot_id, source_group_id, name=name))
        return Answer(made.status, {"id": made.body["id"]}) if made.accepted else made

    async def update_group(self, group_id: str, add: Sequence[str], remove: Sequence[str]) -> Answer:
        changes = {"add_volumes": ",".join(add), "remove_volumes": ",".join(remove)}
        return await self._do(lambda: self._api.groups.update(group_id, **changes))

    async def delete_group(self, group_id: str, *, with_volumes: bool) -> Answer:
        return await self._do(lambda: self._api.groups.delete(group_id, delete_volumes=with_volumes))

    async def snapshot_group(self, group_id: str, name: str) -> Answer:
        made = await self._do(lambda: self._api.group_snapshots.create(group_id, name=name))
        return Answer(made.status, {"id": made.body.id}) if made.accepted else made

    async def delete_group_snapshot(self, group_snapshot_id: str) -> Answer:
        return await self._do(lambda: self._api.group_snapshots.delete(group_snapshot_id))


@dataclass(frozen=True)
class _Id:
    id: str


def uri_of(connection_info: Any) -> str:
    """Return the NBD URI in what a connection is described with; behind `#` the key, if one is wanted there."""
    data = connection_info.get("data", connection_info)
    return f"{data['uri']}#{data['tls_psk']}" if data["tls_psk"] else str(data["uri"])


def _inner(answer: Answer, key: str) -> Answer:
    return Answer(answer.status, answer.body[key]) if answer.accepted else answer


def _record(answer: Answer) -> Answer:
    if answer.accepted:
        # What it returns has the fields of the body's object as attributes.
        return Answer(answer.status, {"id": answer.body.id, "status": answer.body.status})
    return answer
