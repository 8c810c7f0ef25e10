"""Metrics, for Prometheus. Each application has a registry of its own, so that tests can have many."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from openevs.observe.timings import Timings

_FAST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


class Metrics:
    """Everything that is counted. Its methods, and those of the timings, are the callbacks that the parts are given."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Timings(
            "openevs_http_request_seconds",
            "Requests by method, route and status.",
            ["method", "route", "status"],
            _FAST,
            self.registry,
        )
        self.transactions = Timings(
            "openevs_transaction_seconds", "Transactions by name and mode.", ["name", "mode"], _FAST, self.registry
        )
        self._engine_calls = Histogram(
            "openevs_engine_call_seconds",
            "Engine calls by method and outcome.",
            ["method", "outcome"],
            buckets=_FAST,
            registry=self.registry,
        )
        self._operations = Histogram(
            "openevs_operation_seconds",
            "Operations that ended, from request to end, by kind and outcome.",
            ["kind", "outcome"],
            registry=self.registry,
        )
        self._stall = Histogram(
            "openevs_snapshot_stall_milliseconds",
            "How long a snapshot's cut held up a client's request.",
            buckets=(0.5, 1, 2, 5, 10, 20, 50, 100, 500),
            registry=self.registry,
        )
        self._oldest = Gauge(
            "openevs_oldest_open_operation_seconds",
            "Age of the oldest operation that has not ended; 0 if there is none.",
            registry=self.registry,
        )
        self._orphans = Gauge(
            "openevs_orphans", "Objects on storage that no row knows, at the last sweep.", registry=self.registry
        )
        self._sweeps = Counter("openevs_sweeps_total", "Sweeps by outcome.", ["outcome"], registry=self.registry)

    def engine_call(self, method: str, outcome: str, seconds: float) -> None:
        """Count an engine call."""
        self._engine_calls.labels(method, outcome).observe(seconds)

    def operation(self, kind: str, outcome: str, seconds: float, facts: Mapping[str, object]) -> None:
        """Count an operation that ended, and what it found out of how long a cut held up a client."""
        self._operations.labels(kind, outcome).observe(seconds)
        stall_ms = facts.get("stall_ms")
        if isinstance(stall_ms, float):
            self._stall.observe(stall_ms)

    def sweep(self, outcome: str, orphans: int) -> None:
        """Count a sweep."""
        self._sweeps.labels(outcome).inc()
        self._orphans.set(orphans)

    def oldest_operation(self, seconds: float) -> None:
        """Note the age of the oldest open operation."""
        self._oldest.set(seconds)

    def render(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)
