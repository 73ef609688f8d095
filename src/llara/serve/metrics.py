"""What is counted, in Prometheus' format. Nothing of a request's content is a label.

With several processes each writes its numbers into files of its own (prometheus_client's multiprocess mode,
switched on by the variable PROMETHEUS_MULTIPROC_DIR before prometheus_client is imported), and whichever
answers ``/metrics`` adds them up.
"""

from __future__ import annotations

import os
from typing import Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
    multiprocess,
)

__all__ = ["CONTENT_TYPE", "MULTIPROCESS", "Metrics"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_Mode = Literal["livesum", "livemax"]
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """The service's numbers; one object a process."""

    def __init__(self) -> None:
        disable_created_metrics()  # a second number beside each, which nobody reads
        self._registry = CollectorRegistry()
        if MULTIPROCESS not in os.environ:
            ProcessCollector(registry=self._registry)
            PlatformCollector(registry=self._registry)
        self.requests = self._counter("requests", "Requests answered", "method", "path", "status")
        self.request_seconds = self._histogram("request_seconds", "Time to answer", _SECONDS, "path")
        self.in_flight = self._gauge(
            "requests_in_flight", "Requests with a body, or for a document, under way"
        )
        self.queue_texts = self._gauge("queue_texts", "Texts that wait for the model")
        self.dropped_texts = self._counter(
            "dropped_texts", "Texts not computed because their client had left"
        )
        self.index_replaced = self._gauge(
            "index_replaced", "Whether another index stands where this one was opened", "livemax"
        )
        self.texts = self._counter("texts", "Texts turned into vectors", "role")
        self.tokens = self._counter("tokens", "Tokens of those, prompts included", "role")
        sizes = tuple(2**power for power in range(13))
        self.batch_texts = self._histogram("batch_texts", "Texts computed at once", sizes)
        self.batch_requests = self._histogram("batch_requests", "Requests that those belong to", sizes)
        self.batch_seconds = self._histogram("batch_seconds", "Time of the model for a batch", _SECONDS)

    def observe_request(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count one request; ``path`` is a route, never what the client sent."""
        method = method if method in _METHODS else "other"
        self.requests.labels(method, path, str(status)).inc()
        self.request_seconds.labels(path).observe(seconds)

    def exposition(self) -> bytes:
        """All numbers, over all processes."""
        if MULTIPROCESS not in os.environ:
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(f"llara_{name}", about, labels, registry=self._registry)

    def _histogram(self, name: str, about: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"llara_{name}", about, labels, buckets=buckets, registry=self._registry)

    def _gauge(self, name: str, about: str, over_processes: _Mode = "livesum") -> Gauge:
        return Gauge(f"llara_{name}", about, registry=self._registry, multiprocess_mode=over_processes)
