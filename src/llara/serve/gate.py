"""Around every request: who may ask, how many at once, one shape of error, headers, one line of log.

The log has method, route, status and time; never a query, a text, an id or a key.
"""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Callable
from typing import Any

from llara.serve.admission import Admission
from llara.serve.errors import ApiError, unexpected
from llara.serve.intake import App, ClientLeftError, Intake, Message, Receive, Send
from llara.serve.listening import LOGGER
from llara.serve.metrics import Metrics
from llara.serve.protocol import TAKEN
from llara.serve.security import HEADERS, Security, header
from llara.serve.settings import ServeSettings

__all__ = ["Gate"]

_CLIENT_LEFT = 499  # nginx's number for it; nobody sees it but the log
_NO_ROUTE = "-"
_LARGE = "/documents"


class _Exchange:
    """One response on its way: its status, and whether it has begun; to HEAD without its body.

    Attributes:
        hold: told the size of a response before it is sent; the ApiError that it raises is sent instead.
    """

    def __init__(self, send: Send, *, bodiless: bool) -> None:
        self._send, self._bodiless = send, bodiless
        self.status = 500
        self.started = False
        self.finished: float | None = None  # when the last of it was sent
        self.hold: Callable[[int], None] = lambda _: None
        self._refused = False

    async def send(self, message: Message) -> None:
        """Send a part of the response, or in its place that it is too much."""
        if message["type"] == "http.response.start":
            try:
                self.hold(int(header(message, b"content-length") or 0))
            except ApiError as error:
                self._refused = True
                await self.fail(error)
        if not self._refused:
            await self._pass_on(message)

    async def _pass_on(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self.status = message["status"]
            own = message.get("headers", [])
            named = {name.lower() for name, _ in own}
            message = {**message, "headers": [*own, *(one for one in HEADERS if one[0] not in named)]}
        elif self._bodiless:
            message = {**message, "body": b""}
        await self._send(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self.finished = time.perf_counter()

    async def fail(self, error: ApiError) -> None:
        """Send an error; too late if the response has begun."""
        if self.started:
            return
        body = error.body
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        headers += [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
        start = {"type": "http.response.start", "status": error.status, "headers": headers}
        await self._pass_on(start)
        await self._pass_on({"type": "http.response.body", "body": body})


class Gate:
    """The application, guarded."""

    def __init__(self, app: App, settings: ServeSettings, metrics: Metrics, admission: Admission) -> None:
        self._app, self._settings, self._metrics, self._admission = app, settings, metrics, admission
        self._security = Security(settings)
        self._intake = Intake(app, settings.limits, admission)

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer one request; raises nothing."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        method = scope["method"]
        exchange = _Exchange(send, bodiless=method == "HEAD")
        if method == "HEAD":
            scope = {**scope, "method": "GET"}
        try:
            await self._pass(scope, receive, exchange)
        except ApiError as error:
            await exchange.fail(error)
        except ClientLeftError:
            exchange.status = _CLIENT_LEFT
        except asyncio.CancelledError:
            ending = ApiError(503, "the server is ending; try again", "ending", headers={"Retry-After": "1"})
            await exchange.fail(ending)
        except Exception as error:  # noqa: BLE001 - nothing of it may reach the client
            _log_unexpected(error)
            await exchange.fail(unexpected())
        finally:
            seconds = (exchange.finished or time.perf_counter()) - started
            self._note(method, _route(scope), exchange.status, seconds)

    async def _pass(self, scope: Any, receive: Receive, exchange: _Exchange) -> None:
        client = self._security.client(scope)
        has_body = scope["method"] not in ("GET", "OPTIONS")
        if not has_body and not scope["path"].startswith(_LARGE):
            await self._app(scope, receive, exchange.send)
            return
        with self._admission.request(client), self._admission.answer(client) as exchange.hold:
            if has_body:
                await self._intake(scope, receive, exchange.send, client)
            else:
                await self._app(scope, receive, exchange.send)
            if TAKEN in scope:
                await scope[TAKEN]()  # till then its answer is in memory

    def _note(self, method: str, path: str, status: int, seconds: float) -> None:
        self._metrics.observe_request(method, path, status, seconds)
        if self._settings.access_log:
            LOGGER.info("%s %s %d %.1f ms", _printable(method), path, status, 1000 * seconds)


def _route(scope: Any) -> str:
    """The route that was taken, ``/documents/{id}``; ``-`` if there is none."""
    path: str = getattr(scope.get("route"), "path_format", _NO_ROUTE)
    return "/openapi.json" if path == _NO_ROUTE and scope["path"] == "/openapi.json" else path


def _printable(method: str) -> str:
    return method if method.isalpha() and len(method) <= 10 else "?"


def _log_unexpected(error: BaseException) -> None:
    """Where an error came from, without its message: that may hold a client's text."""
    places = "".join(traceback.format_tb(error.__traceback__))
    LOGGER.error("%s, at\n%s", type(error).__name__, places)
