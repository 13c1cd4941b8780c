"""Metrics for Prometheus: counts, times and sizes of requests, never their content."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import Scope

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds


class Meters:
    """Counters of one server."""

    def __init__(self, waiting: Callable[[], int], generation: Callable[[], int]) -> None:
        """Start at zero.

        Args:
            waiting: returns the number of waiting questions.
            generation: returns the generation that answers.
        """
        self._registry = CollectorRegistry()
        labels = ("route", "status")
        self._requests = Counter(
            "hashlens_requests", "Requests by route and status.", labels, registry=self._registry
        )
        self._seconds = Histogram(
            "hashlens_request_seconds",
            "Time from a request's head to its answer.",
            ("route",),
            buckets=BOUNDS,
            registry=self._registry,
        )
        for name, what, value in (
            ("hashlens_waiting", "Questions that wait.", waiting),
            ("hashlens_generation", "Generation of the index that answers.", generation),
        ):
            Gauge(name, what, registry=self._registry).set_function(value)

    def count_request(self, scope: Scope, status: int, seconds: float) -> None:
        """Count one request; all paths without a route count as one route."""
        route = getattr(scope.get("route"), "path", "other")
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)
