"""How many requests are answered at once, in all and of one client."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from llara.serve.errors import ApiError
from llara.serve.metrics import Metrics
from llara.serve.settings import Limits

__all__ = ["Admission"]


class Admission:
    """Counts requests with a body; used in the event loop alone.

    Attributes:
        in_flight: requests let in and not yet answered.
    """

    def __init__(self, limits: Limits, metrics: Metrics) -> None:
        self._limits, self._metrics = limits, metrics
        self._of_client: Counter[str] = Counter()
        self._bytes = 0
        self.in_flight = 0

    @contextmanager
    def request(self, client: str) -> Iterator[None]:
        """Let a request in for as long as the block lasts.

        Raises:
            ApiError: there are too many, of this client (429) or in all (503).
        """
        if self._of_client[client] >= self._limits.client_requests:
            raise ApiError(
                429,
                f"{self._limits.client_requests} requests of this client are being answered, which is all "
                "that one may have; wait for some of them",
                "too_many_requests",
                headers={"Retry-After": "1"},
            )
        if self.in_flight >= self._limits.requests:
            raise _busy(f"{self._limits.requests} requests are being answered")
        self._of_client[client] += 1
        self._change(1)
        try:
            yield
        finally:
            self._change(-1)
            self._of_client[client] -= 1
            if not self._of_client[client]:
                del self._of_client[client]

    @contextmanager
    def body(self, num_bytes: int) -> Iterator[None]:
        """Account for a body's bytes as long as the block lasts.

        Raises:
            ApiError: all bodies together are too large.
        """
        if self._bytes + num_bytes > self._limits.bodies_bytes:
            raise _busy("too many large requests are being answered")
        self._bytes += num_bytes
        try:
            yield
        finally:
            self._bytes -= num_bytes

    def _change(self, by: int) -> None:
        self.in_flight += by
        self._metrics.in_flight.set(self.in_flight)


def _busy(why: str) -> ApiError:
    return ApiError(503, f"{why}; try again in 1 s", "busy", headers={"Retry-After": "1"})
