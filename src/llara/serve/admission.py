"""How many requests are answered at once, in all and of one client."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from llara.serve.errors import ApiError
from llara.serve.metrics import Metrics
from llara.serve.settings import Limits

__all__ = ["Admission"]

_SHARE = 4  # of all bodies' bytes, and of all answers', one client may have one part in so many
_SMALL_BYTES = 65_536  # of an answer: as much of any may wait in its connection


class Admission:
    """Counts requests with a body, and those for documents; used in the event loop alone.

    Attributes:
        in_flight: requests let in, whose clients have not taken all of the answer yet.
    """

    def __init__(self, limits: Limits, metrics: Metrics) -> None:
        self._limits, self._metrics = limits, metrics
        self._of_client: Counter[str] = Counter()
        self._bytes_of: Counter[str] = Counter()
        self._untaken_of: Counter[str] = Counter()
        self._most_bytes = max(limits.body_bytes, limits.bodies_bytes // _SHARE)
        self.in_flight = 0

    @contextmanager
    def request(self, client: str) -> Iterator[None]:
        """Let a request in for as long as the block lasts.

        Raises:
            ApiError: there are too many, of this client (429) or in all (503).
        """
        if self._of_client[client] >= self._limits.client_requests:
            raise _too_many(f"{self._limits.client_requests} requests of this client are being answered")
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
    def body(self, client: str) -> Iterator[Callable[[int], None]]:
        """Account for a body as long as the block lasts; it yields ``grow(num_bytes)``, called as they come.

        ``grow`` raises ApiError: this client's bodies are too large together (429), or everybody's (503).
        """
        size = 0

        def grow(num_bytes: int) -> None:
            nonlocal size
            if self._bytes_of[client] + num_bytes > self._most_bytes:
                raise _too_many(f"the bodies of this client's requests have over {self._most_bytes} bytes")
            if self._bytes_of.total() + num_bytes > self._limits.bodies_bytes:
                raise _busy("too many large requests are being answered")
            self._bytes_of[client] += num_bytes
            size += num_bytes

        try:
            yield grow
        finally:
            self._bytes_of[client] -= size
            if not self._bytes_of[client]:
                del self._bytes_of[client]

    @contextmanager
    def answer(self, client: str) -> Iterator[Callable[[int], None]]:
        """Account for an answer till its client has taken it; it yields ``hold(num_bytes)``, called once.

        ``hold`` raises ApiError: this client has not taken others that are too large together (429), or
        everybody has not (503). Small answers always go out, and so does the only one that is not taken.
        """
        size = 0

        def hold(num_bytes: int) -> None:
            nonlocal size
            if num_bytes <= _SMALL_BYTES:
                return
            most, of_client = self._limits.answers_bytes, self._untaken_of[client]
            if of_client and of_client + num_bytes > most // _SHARE:
                raise _too_many(f"this client has not taken answers of {most // _SHARE} bytes")
            if of_client < self._untaken_of.total() and self._untaken_of.total() + num_bytes > most:
                raise _busy("too many large answers are waiting to be taken")
            self._untaken_of[client] += num_bytes
            size = num_bytes

        try:
            yield hold
        finally:
            self._untaken_of[client] -= size
            if not self._untaken_of[client]:
                del self._untaken_of[client]

    def _change(self, by: int) -> None:
        self.in_flight += by
        self._metrics.in_flight.set(self.in_flight)


def _too_many(why: str) -> ApiError:
    return ApiError(
        429,
        f"{why}, which is all that one may have; wait for some of them",
        "too_many_requests",
        headers={"Retry-After": "1"},
    )


def _busy(why: str) -> ApiError:
    return ApiError(503, f"{why}; try again in 1 s", "busy", headers={"Retry-After": "1"})
