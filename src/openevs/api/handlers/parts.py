"""The service itself, for operators: services, hosts, pools, capabilities, clusters, workers."""

from functools import partial
from typing import Any, Final

from msgspec import Struct

from openevs.api.call import Call, Reply, Route
from openevs.api.faults import HttpRefusal
from openevs.api.wire.bodies import convert, flag, json_object
from openevs.api.wire.parts import (
    BackendBody,
    FailoverBody,
    HostBody,
    LogChangeBody,
    LogQueryBody,
    PartBody,
    PartDisableBody,
    PartList,
    PoolList,
    capabilities_view,
    host_view,
    part_view,
    pool_view,
    use_view,
)
from openevs.api.wire.volumes import whole_number
from openevs.domain.backends import API, BACKUP, HOST, SCHEDULER, VOLUME, backend_host, pool_name
from openevs.domain.errors import InvalidInput, NotFound, NotSupported
from openevs.domain.rules import check_text
from openevs.service import parts as service

_POOL_FILTERS_SINCE: Final = 28
_POOL_TYPES_SINCE: Final = 35
_LOG_BINARIES: Final = frozenset({"", "*", API, SCHEDULER, VOLUME, BACKUP})


async def list_services(call: Call) -> Reply:
    """List the parts of the service."""
    found = await service.list_parts(call.deps, call.query.get("host"), call.query.get("binary"))
    return Reply({"services": [part_view(call, part) for part in found]})


async def put_enable(call: Call) -> Reply:
    """Let a part work again."""
    body = convert(json_object(call), PartBody)
    return await _switch(call, body, disabled=False)


async def put_disable(call: Call) -> Reply:
    """Let a part take nothing new."""
    return await _switch(call, convert(json_object(call), PartBody), disabled=True)


async def put_disable_log_reason(call: Call) -> Reply:
    """Let a part take nothing new, and say why."""
    body = convert(json_object(call), PartDisableBody)
    reason = check_text("disabled_reason", body.disabled_reason)
    if not reason:
        raise InvalidInput("disabled_reason", "it is required, and may not be empty.")
    return await _switch(call, body, disabled=True, reason=reason)


async def _switch(call: Call, body: PartBody, *, disabled: bool, reason: str | None = None) -> Reply:
    binary = body.binary or body.service
    if not binary or not body.host:
        raise InvalidInput("body", "it must have host, and binary or service.")
    await service.change_part(call.deps, body.host, binary, disabled=disabled, disabled_reason=reason)
    shown: dict[str, Any] = {
        "host": body.host,
        "service": body.service or "",
        "binary": body.binary or "",
        "status": "disabled" if disabled else "enabled",
        "disabled": disabled,
    }
    if reason is not None:
        shown["disabled_reason"] = reason
    return Reply(shown)


async def put_freeze(call: Call) -> Reply:
    """Let a backend change nothing."""
    await service.freeze_host(call.deps, convert(json_object(call), BackendBody).host, frozen=True)
    return Reply()


async def put_thaw(call: Call) -> Reply:
    """Let a frozen backend change things again."""
    await service.freeze_host(call.deps, convert(json_object(call), BackendBody).host, frozen=False)
    return Reply()


async def put_failover(call: Call) -> Reply:
    """Nothing is replicated, so there is nothing to fail over to."""
    convert(json_object(call), FailoverBody)
    raise NotSupported("failover is not supported: this service replicates nothing.")


async def put_get_log(call: Call) -> Reply:
    """Show what is logged: one process logs for all parts."""
    body = convert(json_object(call), LogQueryBody)
    _check_binary(body.binary)
    prefix = body.prefix or "openevs"
    level = call.deps.settings.log.level.upper()
    shown = [
        {"host": part.host, "binary": part.binary, "levels": {prefix: level}}
        for part in await service.list_parts(call.deps, body.server or None)
        if body.binary in (None, "", "*", part.binary)
    ]
    return Reply({"log_levels": shown})


async def put_set_log(call: Call) -> Reply:
    """What is logged is a setting."""
    _check_binary(convert(json_object(call), LogChangeBody).binary)
    raise NotSupported("set-log is not supported: the level is the setting log.level, read at the start.")


def _check_binary(binary: str | None) -> None:
    if (binary or "") not in _LOG_BINARIES:
        raise InvalidInput("binary", f"{binary!r} is none of {', '.join(sorted(_LOG_BINARIES - {''}))}.")


async def list_hosts(call: Call) -> Reply:
    """List the hosts of the parts that are enabled."""
    zone = call.query.get("zone")
    here = zone in (None, "", call.deps.settings.api.availability_zone)
    found = [part for part in await service.list_parts(call.deps) if here and not part.disabled]
    return Reply({"hosts": [host_view(call, part) for part in found]})


async def get_host(call: Call) -> Reply:
    """Show what projects have on a host."""
    host = call.path["host"]
    return Reply({"host": use_view(host, await service.use_of_host(call.deps, host))})


async def put_host(call: Call) -> Reply:
    """Switch a host's backend off or on."""
    body = {name.lower().strip(): value for name, value in json_object(call).items()}
    host, status = call.path["host"], str(body.get("status", "")).lower().strip()
    if set(body) - {"status"} or status not in ("enable", "disable"):
        raise InvalidInput("status", "the body must have it and nothing else, and it is enable or disable.")
    await service.change_part(call.deps, host, VOLUME, disabled=status == "disable", disabled_reason=None)
    return Reply({"host": host, "status": f"{status}d"})


async def get_pools(call: Call) -> Reply:
    """List the pools, as they were when they were last looked at."""
    detailed = flag("detail", call.query.get("detail", "false"))
    wanted = call.query.get("name") if call.at_least(_POOL_FILTERS_SINCE) else None
    backends = [name for name in call.deps.backends if wanted in (None, pool_name(name), backend_host(name))]
    volume_type = call.query.get("volume_type") if call.at_least(_POOL_TYPES_SINCE) else None
    if volume_type is not None:
        kept = await service.backends_of_type(call.deps, call.caller, volume_type)
        backends = [name for name in backends if name in kept]
    return Reply({"pools": [pool_view(call.deps, name, detailed=detailed) for name in backends]})


async def get_capabilities(call: Call) -> Reply:
    """Show what a backend can do."""
    host = call.path["host"]
    for backend in call.deps.backends:
        if host in (backend_host(backend), pool_name(backend)):
            return Reply(capabilities_view(call.deps, backend, host))
    if host == HOST:
        return Reply(capabilities_view(call.deps, call.deps.backends[0], host))
    raise NotFound("service", host)


async def list_clusters(call: Call) -> Reply:
    """List the clusters: one process needs none."""
    known = {"name", "binary", "is_up", "disabled", "num_hosts", "num_down_hosts"}
    if call.at_least(26):
        known |= {"replication_status", "frozen", "active_backend_id"}
    unknown = sorted(call.query.keys() - known)
    if unknown:
        raise InvalidInput(unknown[0][:64], "there is no such filter.")
    return Reply({"clusters": []})


async def get_cluster(call: Call) -> Reply:
    """There is no cluster."""
    raise NotFound("cluster", call.path["name"])


class ClusterBody(Struct, forbid_unknown_fields=True):
    """The body of enable and disable of a cluster."""

    name: str
    binary: str | None = None
    disabled_reason: str | None = None


async def put_cluster(call: Call) -> Reply:
    """There is no cluster to switch."""
    name = convert(json_object(call), ClusterBody).name
    if not name:
        raise InvalidInput("name", "it may not be empty.")
    raise NotFound("cluster", name)


class CleanupBody(Struct, forbid_unknown_fields=True):
    """The body of a clean-up."""

    cluster_name: str | None = None
    host: str | None = None
    binary: str | None = None
    service_id: int | str | None = None
    disabled: bool | str | int | None = None
    is_up: bool | str | int | None = None
    resource_id: str | None = None
    resource_type: str | None = None


async def post_cleanup(call: Call) -> Reply:
    """Nothing is ever left to clean up: work that a dead process left is resumed by the next one."""
    body = convert(json_object(call) if call.body else {}, CleanupBody)
    if body.binary not in (None, VOLUME, SCHEDULER):
        raise InvalidInput("binary", f"it must be {VOLUME} or {SCHEDULER}.")
    if body.resource_type is not None and body.resource_type.title() not in ("Volume", "Snapshot"):
        raise InvalidInput("resource_type", "it must be Volume or Snapshot.")
    for name in ("disabled", "is_up"):
        if getattr(body, name) is not None:
            flag(name, getattr(body, name))
    if body.service_id is not None:
        whole_number("service_id", body.service_id)
    if body.resource_id is not None:
        raise HttpRefusal(400, f"There is no resource {body.resource_id[:64]} that waits to be cleaned up.")
    return Reply({"cleaning": [], "unavailable": []})


_route = partial(Route, tag="Service")
_SERVICES: Final = "{project_id}/os-services"
_change = partial(_route, "PUT", policy="volume_extension:services:update")
_HOSTS: Final = "{project_id}/os-hosts"
_host = partial(_route, policy="volume_extension:hosts")
_CLUSTERS: Final = "{project_id}/clusters"
_cluster = partial(_route, apis=("v3",), since=7)

ROUTES = [
    _route("GET", _SERVICES, list_services, 200, "List the parts of the service",
           policy="volume_extension:services:index", query=("host", "binary"), reply=PartList),
    _change(_SERVICES + "/enable", put_enable, 200, "Let a part work again", body=PartBody),
    _change(_SERVICES + "/disable", put_disable, 200, "Let a part take nothing new", body=PartBody),
    _change(_SERVICES + "/disable-log-reason", put_disable_log_reason, 200,
            "Let a part take nothing new, with a reason", body=PartDisableBody),
    _change(_SERVICES + "/get-log", put_get_log, 200, "Show the levels of the log",
            body=LogQueryBody, apis=("v3",), since=32),
    _change(_SERVICES + "/set-log", put_set_log, 202, "Refused: a setting", body=LogChangeBody, apis=("v3",), since=32),
    _route("PUT", _SERVICES + "/freeze", put_freeze, 200, "Freeze a backend",
           policy="volume:freeze_host", body=BackendBody),
    _route("PUT", _SERVICES + "/thaw", put_thaw, 200, "Thaw a backend", policy="volume:thaw_host", body=BackendBody),
    *(_route("PUT", f"{_SERVICES}/{name}", put_failover, 202, "Refused: nothing is replicated",
             policy="volume:failover_host", body=FailoverBody) for name in ("failover_host", "failover")),
    _host("GET", _HOSTS, list_hosts, 200, "List hosts", query=("zone",)),
    _host("GET", _HOSTS + "/{host}", get_host, 200, "Show what is on a host"),
    _host("PUT", _HOSTS + "/{host}", put_host, 200, "Switch a host off or on", body=HostBody),
    _route("GET", "{project_id}/scheduler-stats/get_pools", get_pools, 200, "List the pools",
           policy="scheduler_extension:scheduler_stats:get_pools", query=("detail", "name", "volume_type"),
           reply=PoolList),
    _route("GET", "{project_id}/capabilities/{host}", get_capabilities, 200, "Show what a backend can do",
           policy="volume_extension:capabilities"),
    _cluster("GET", _CLUSTERS, list_clusters, 200, "List clusters", policy="clusters:get_all"),
    _cluster("GET", _CLUSTERS + "/detail", list_clusters, 200, "List clusters in detail", policy="clusters:get_all"),
    _cluster("GET", _CLUSTERS + "/{name}", get_cluster, 200, "Show a cluster", policy="clusters:get"),
    _cluster("PUT", _CLUSTERS + "/enable", put_cluster, 200, "Enable a cluster",
             policy="clusters:update", body=ClusterBody),
    _cluster("PUT", _CLUSTERS + "/disable", put_cluster, 200, "Disable a cluster",
             policy="clusters:update", body=ClusterBody),
    _route("POST", "{project_id}/workers/cleanup", post_cleanup, 202, "Clean up after dead workers",
           policy="workers:cleanup", apis=("v3",), since=24, body=CleanupBody),
]  # fmt: skip
