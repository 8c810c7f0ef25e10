"""For those who run OpenEVS: is it alive, is it ready, what does it do. Nobody needs a token for these."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from openevs.api.call import Call, Reply, Route

PLAIN: Final = {"Content-Type": "text/plain; charset=utf-8"}
PROMETHEUS: Final = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}


def health_routes(not_ready: Callable[[], Awaitable[str | None]], metrics: Callable[[], bytes]) -> list[Route]:
    """Return the routes. `not_ready` says why requests cannot be served now, or None; `metrics` renders them."""

    async def get_health(call: Call) -> Reply:
        return Reply(b"ok\n", headers=PLAIN)

    async def get_ready(call: Call) -> Reply:
        reason = await not_ready()
        if reason is None:
            return Reply(b"ready\n", headers=PLAIN)
        return Reply(f"not ready: {reason}\n".encode(), 503, PLAIN)

    async def get_metrics(call: Call) -> Reply:
        return Reply(metrics(), headers=PROMETHEUS)

    show = partial(Route, "GET", apis=("",), policy="none", tag="Operation")
    return [
        show("/healthz", get_health, 200, "Say that the process is alive"),
        show("/readyz", get_ready, 200, "Say whether requests can be served"),
        show("/metrics", get_metrics, 200, "Metrics for Prometheus"),
    ]
