"""One request's body, read whole before anything parses it; then its answer, as long as its client waits.

uvicorn bounds neither a body's size nor the time it takes, and tells nobody that a client has left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from llara.serve.admission import Admission
from llara.serve.errors import ApiError
from llara.serve.security import header
from llara.serve.settings import Limits

__all__ = ["ClientLeftError", "Intake"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Receive, Send], Awaitable[None]]


class ClientLeftError(Exception):
    """The client closed the connection before it was answered."""


class Intake:
    """Reads bodies and runs the application on them."""

    def __init__(self, app: App, limits: Limits, admission: Admission) -> None:
        self._app, self._limits, self._admission = app, limits, admission

    async def __call__(self, scope: Any, receive: Receive, send: Send, client: str) -> None:
        """Answer one request of ``client``.

        Raises:
            ApiError: the body is too large or too slow, or the answer is.
            ClientLeftError: nobody waits for the answer.
        """
        announced = header(scope, b"content-length")
        if announced is not None and announced.isdigit() and int(announced) > self._limits.body_bytes:
            raise self._too_large()
        with self._admission.body(client) as grow:
            body = await self._read(receive, grow)
            if body is None:
                raise ClientLeftError
            await self._answer(scope, body, receive, send)

    def _too_large(self) -> ApiError:
        return ApiError(
            413, f"the body is over {self._limits.body_bytes} bytes, the most that is taken", "too_large"
        )

    async def _read(self, receive: Receive, grow: Callable[[int], None]) -> bytes | None:
        """The body; None if the client leaves before its end."""
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    part = message.get("body", b"")
                    if len(body) + len(part) > self._limits.body_bytes:
                        raise self._too_large()
                    grow(len(part))
                    body += part
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError as error:
            raise ApiError(
                408,
                f"the body did not come within {self._limits.body_seconds:g} s",
                "body_timeout",
                headers={"Connection": "close"},
            ) from error

    async def _answer(self, scope: Any, body: bytes, receive: Receive, send: Send) -> None:
        """Run the application; it is cancelled when the client leaves or its time is over."""

        async def replay() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        sent = False

        async def watched(message: Message) -> None:
            nonlocal sent
            sent = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        answering = asyncio.ensure_future(self._app(scope, replay, watched))
        leaving = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait(
                {answering, leaving},
                timeout=self._limits.request_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if answering.done() or sent:
                await answering
            elif leaving.done():
                raise ClientLeftError
            else:
                raise ApiError(
                    504, f"there was no answer within {self._limits.request_seconds:g} s", "timeout"
                )
        finally:
            for task in (answering, leaving):
                task.cancel()
            await asyncio.gather(answering, leaving, return_exceptions=True)


async def _left(receive: Receive) -> None:
    """Return when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
