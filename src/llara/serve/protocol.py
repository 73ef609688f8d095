"""One connection, as uvicorn has it, less patient: with clients that send their request's first lines, or
take its answer, a byte at a time. (Bodies have their time in ``intake``.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from llara.serve.errors import error_body
from llara.serve.settings import Limits

__all__ = ["TAKEN", "patient_protocol"]

TAKEN = "llara.taken"  # in a request's scope: waits until its client has taken what was sent so far
_LEAST_RATE = 16_384  # bytes of an answer that a client takes in a second, over all its time
_DRAIN_SECONDS = 0.25  # for a request that was on its way when the service was told to end


def patient_protocol(limits: Limits) -> type[H11Protocol]:
    """The protocol with its patience limited."""

    class Protocol(_Protocol):
        pass

    Protocol.limits = limits
    return Protocol


class _Protocol(H11Protocol):
    limits: Limits
    _sending: asyncio.TimerHandle | None = None
    _reading: asyncio.TimerHandle | None = None
    _draining = False
    _idle_since = 0.0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.app = _telling_when_taken(self.app, self.flow.drain)
        self._idle_since = self.loop.time()
        if len(self.connections) > self.limits.connections and not self._take_anothers_place():
            transport.abort()
            return
        self._await_request()

    def _take_anothers_place(self) -> bool:
        """Close the connection that longest asked for nothing: first one that never did."""
        others = [other for other in self.connections if isinstance(other, _Protocol) and other is not self]
        idle = [other for other in others if other._asks_nothing()]
        if not idle:
            return False
        min(idle, key=lambda other: (other.cycle is not None, other._idle_since)).transport.abort()
        return True

    def _asks_nothing(self) -> bool:
        """Whether no request is being answered, nor an answer on its way."""
        answering = self.cycle is not None and not self.cycle.response_complete
        busy = answering or self.transport.get_write_buffer_size() > 0
        return not busy and not self.transport.is_closing()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._sending, self._reading):
            if timer is not None:
                timer.cancel()
        self._sending = self._reading = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._await_request()
        if self._draining and self.cycle is not None:
            self.cycle.keep_alive = False

    def _await_request(self) -> None:
        """Start the clock where the client owes bytes and no request is being answered; else stop it.

        A body that is still sent after its answer (it was too large) is on the same clock.
        """
        answering = self.cycle is not None and not self.cycle.response_complete
        if answering or self.transport.is_closing():
            if self._sending is not None:
                self._sending.cancel()
                self._sending = None
        elif self._sending is None:
            self._sending = self.loop.call_later(self.limits.head_seconds, self._give_up)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._idle_since = self.loop.time()
        if self.conn.their_state is h11.SEND_BODY:  # the answer was early: the body was too large
            self._await_request()

    def _give_up(self) -> None:
        self._sending = None
        answering = self.cycle is not None and not self.cycle.response_complete
        if answering:
            return
        if self.timeout_keep_alive_task is None or self.conn.their_state is not h11.IDLE:
            self.transport.abort()  # in the midst of a request; an idle connection has its own clock

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._reading is None:
            self._await_reading(self.loop.time(), 0)

    def _await_reading(self, since: float, taken: int) -> None:
        left = self.transport.get_write_buffer_size()
        self._reading = self.loop.call_later(
            self.limits.write_seconds, self._check_reading, since, taken, left
        )

    def _check_reading(self, since: float, taken: int, left: int) -> None:
        """Go on as long as the client takes some of the answer, and enough of it in all the time."""
        more = left - self.transport.get_write_buffer_size()
        if more > 0 and taken + more >= _LEAST_RATE * (self.loop.time() - since):
            self._await_reading(since, taken + more)
        else:
            self.transport.abort()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def shutdown(self) -> None:
        """Close after the request that is being answered, or that is on its way."""
        self._draining = True
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(_DRAIN_SECONDS, self._close_if_idle)
        else:
            super().shutdown()

    def _close_if_idle(self) -> None:
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            super().shutdown()

    def send_400_response(self, msg: str) -> None:
        """The same body for bytes that are not HTTP as for everything else."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):  # the request has been answered already
            self.transport.close()
            return
        headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
        body = error_body(400, msg, "invalid_http")
        for event in (
            h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


def _telling_when_taken(app: Any, taken: Callable[[], Awaitable[None]]) -> Any:
    """The application, with ``taken`` in each request's scope.

    uvicorn's ``send`` returns while the end of an answer, or all of it, is in memory yet.
    """

    async def told(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, TAKEN: taken}, receive, send)

    return told
