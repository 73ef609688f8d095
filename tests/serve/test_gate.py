"""What stands around every request, with a small application in the middle."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from llara.serve.admission import Admission
from llara.serve.errors import ApiError
from llara.serve.gate import Gate
from llara.serve.metrics import Metrics
from llara.serve.settings import Limits, ServeSettings

LIMITS = Limits(
    body_bytes=1_024, body_seconds=0.2, request_seconds=0.5, requests=4, client_requests=2, bodies_bytes=2_500
)


class Inner:
    """Waits until it is told to answer; says what became of it."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.running = 0
        self.cancelled = 0
        self.error: Exception | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.running += 1
        try:
            message = await receive()
            if self.error is not None:
                raise self.error
            await self.go.wait()
            body = str(len(message["body"])).encode()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": body})
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1


def gate(inner: Inner, **more: Any) -> Gate:
    settings = ServeSettings(model="m", limits=LIMITS, **more)
    metrics = Metrics()
    return Gate(inner, settings, metrics, Admission(LIMITS, metrics))


def client_of(app: Gate, *, address: str = "1.2.3.4", host: str = "localhost") -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, client=(address, 1))
    return httpx.AsyncClient(transport=transport, base_url=f"http://{host}")


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


def test_one_client_may_not_take_all_the_places():
    async def play() -> None:
        inner = Inner()
        app = gate(inner)
        async with client_of(app) as one, client_of(app, address="5.6.7.8") as other:
            waiting = [asyncio.ensure_future(one.post("/", content=b"x")) for _ in range(2)]
            await until(lambda: inner.running == 2)
            refused = await one.post("/", content=b"x")
            assert code_of(refused) == (429, "too_many_requests")
            assert refused.headers["retry-after"] == "1"
            waiting += [asyncio.ensure_future(other.post("/", content=b"x")) for _ in range(2)]
            await until(lambda: inner.running == 4)
            async with client_of(app, address="9.9.9.9") as third:
                assert code_of(await third.post("/", content=b"x")) == (503, "busy")
                inner.go.set()
                assert [answer.status_code for answer in await asyncio.gather(*waiting)] == [200] * 4
                assert (await third.post("/", content=b"x")).status_code == 200

    asyncio.run(play())


def test_a_client_is_known_by_its_key_wherever_it_comes_from():
    async def play() -> None:
        inner = Inner()
        app = gate(inner, keys=("first-key", "other-key"))

        async def post(key: str, address: str) -> httpx.Response:
            async with client_of(app, address=address) as client:
                headers = {"Authorization": f"bearer {key}"}
                return await client.post("/search", content=b"x", headers=headers)

        waiting = [asyncio.ensure_future(post("first-key", f"1.1.1.{i}")) for i in range(2)]
        await until(lambda: inner.running == 2)
        assert code_of(await post("first-key", "2.2.2.2")) == (429, "too_many_requests")
        waiting.append(asyncio.ensure_future(post("other-key", "1.1.1.1")))
        await until(lambda: inner.running == 3)
        inner.go.set()
        assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {200}
        assert code_of(await post("first-ke", "1.1.1.1")) == (401, "invalid_api_key")

    asyncio.run(play())


def test_a_body_has_a_size_and_a_time():
    async def play() -> None:
        inner = Inner()
        inner.go.set()

        async def pieces(*, pause_seconds: float, count: int) -> AsyncIterator[bytes]:
            for _ in range(count):
                yield b"x" * 512
                await asyncio.sleep(pause_seconds)

        async with client_of(gate(inner)) as client:
            assert (await client.post("/", content=b"x" * 1_024)).text == "1024"
            assert code_of(await client.post("/", content=b"x" * 1_025)) == (413, "too_large")
            fast = await client.post("/", content=pieces(pause_seconds=0, count=3))
            assert code_of(fast) == (413, "too_large")
            slow = await client.post("/", content=pieces(pause_seconds=0.15, count=2))
            assert code_of(slow) == (408, "body_timeout")
            assert slow.headers["connection"] == "close"

    asyncio.run(play())


def test_all_bodies_together_have_a_size():
    async def play() -> None:
        inner = Inner()
        app = gate(inner)
        clients = [client_of(app, address=f"1.1.1.{i}") for i in range(3)]
        waiting = [asyncio.ensure_future(client.post("/", content=b"x" * 1_024)) for client in clients[:2]]
        await until(lambda: inner.running == 2)
        assert code_of(await clients[2].post("/", content=b"x" * 1_024)) == (503, "busy")
        inner.go.set()
        assert [answer.status_code for answer in await asyncio.gather(*waiting)] == [200, 200]
        assert (await clients[2].post("/", content=b"x" * 1_024)).status_code == 200

    asyncio.run(play())


def test_one_clients_bodies_are_a_part_of_all():
    async def play() -> None:
        inner = Inner()
        app = gate(inner)
        async with client_of(app) as one, client_of(app, address="5.6.7.8") as other:
            waiting = asyncio.ensure_future(one.post("/", content=b"x" * 1_000))
            await until(lambda: inner.running == 1)
            assert code_of(await one.post("/", content=b"x" * 100)) == (429, "too_many_requests")
            inner.go.set()
            assert (await other.post("/", content=b"x" * 1_000)).status_code == 200
            assert (await waiting).status_code == 200

    asyncio.run(play())


def test_what_is_announced_and_not_sent_takes_no_room():
    async def play() -> None:
        inner = Inner()
        inner.go.set()
        app = gate(inner)

        async def nothing() -> Any:
            await asyncio.sleep(0.1)
            yield b""

        async with client_of(app) as one, client_of(app, address="5.6.7.8") as other:
            announced = {"Content-Length": "1000"}
            waiting = [
                asyncio.ensure_future(one.post("/", content=nothing(), headers=announced)) for _ in range(2)
            ]
            await asyncio.sleep(0.01)
            assert (await other.post("/", content=b"x" * 1_000)).status_code == 200
            await asyncio.gather(*waiting)

    asyncio.run(play())


def test_only_reading_what_is_open_needs_no_key():
    async def play() -> None:
        inner = Inner()
        inner.go.set()
        async with client_of(gate(inner, keys=("k" * 20,))) as client:
            for path in ("/", "/info", "/health", "/page/app.js"):
                assert code_of(await client.post(path, content=b"x")) == (401, "invalid_api_key")
        assert inner.running == 0

    asyncio.run(play())


def test_an_answer_that_takes_too_long_is_given_up():
    async def play() -> None:
        inner = Inner()
        async with client_of(gate(inner)) as client:
            assert code_of(await client.post("/", content=b"x")) == (504, "timeout")
        assert (inner.running, inner.cancelled) == (0, 1)

    asyncio.run(play())


def test_work_for_a_client_that_has_left_is_cancelled(caplog):
    async def play() -> None:
        inner = Inner()
        left = asyncio.Event()
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            if inner.running:
                await left.wait()
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": b"x", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "client": ("1.1.1.1", 1)}
        request = asyncio.ensure_future(gate(inner)(scope, receive, send))
        await until(lambda: inner.running)
        left.set()
        await request
        assert (inner.running, inner.cancelled, sent) == (0, 1, [])

    with caplog.at_level(logging.INFO, "llara.serve"):
        asyncio.run(play())
    assert "POST - 499" in caplog.text


def test_an_error_of_ours_tells_the_client_nothing_and_the_log_no_text(caplog):
    async def play() -> httpx.Response:
        inner = Inner()
        inner.error = RuntimeError("a secret text")
        async with client_of(gate(inner)) as client:
            return await client.post("/", content=b"x")

    with caplog.at_level(logging.INFO, "llara.serve"):
        answer = asyncio.run(play())
    assert code_of(answer) == (500, "internal")
    assert "secret" not in answer.text
    assert "secret" not in caplog.text
    assert "RuntimeError, at" in caplog.text
    assert "test_gate.py" in caplog.text


def test_a_request_that_the_end_of_the_server_cuts_off_is_told_so():
    async def play() -> None:
        inner = Inner()
        async with client_of(gate(inner)) as client:
            request = asyncio.ensure_future(client.post("/", content=b"x"))
            await until(lambda: inner.running)
            request.cancel()  # as uvicorn does when its time to finish is over
            with contextlib.suppress(asyncio.CancelledError):
                assert code_of(await request) == (503, "ending")
        assert inner.cancelled == 1

    asyncio.run(play())


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8000", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:8000", 200),
        ("search.example", 200),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example:8000", 403),
        ("[fe80::1]", 403),
        ("", 403),
    ],
)
def test_without_a_key_only_known_host_names_are_answered(host, status):
    async def play() -> httpx.Response:
        inner = Inner()
        inner.go.set()
        async with client_of(gate(inner, hosts=("search.example",))) as client:
            return await client.post("/", content=b"x", headers={"Host": host})

    assert asyncio.run(play()).status_code == status


def test_with_a_key_or_on_other_addresses_any_host_name_is_answered():
    async def play(**more: Any) -> int:
        inner = Inner()
        inner.go.set()
        async with client_of(gate(inner, **more), host="search.example") as client:
            headers = {"Authorization": "Bearer some-key-of-ours"}
            return (await client.post("/", content=b"x", headers=headers)).status_code

    assert asyncio.run(play(keys=("some-key-of-ours",))) == 200
    assert asyncio.run(play(host="0.0.0.0")) == 200


def test_every_error_has_the_shape_of_openais():
    async def play() -> httpx.Response:
        async with client_of(gate(Inner(), keys=("some-key-of-ours",))) as client:
            return await client.get("/search")

    answer = asyncio.run(play())
    assert json.loads(answer.content) == {
        "error": {
            "message": "this server wants a key, as the header Authorization: Bearer KEY",
            "type": "authentication_error",
            "code": "invalid_api_key",
        }
    }
    assert answer.headers["www-authenticate"] == "Bearer"


def test_answers_of_all_clients_have_a_size_together_and_one_may_be_larger():
    limits = Limits(answers_bytes=1_000_000)
    admission = Admission(limits, Metrics())
    with admission.answer("one") as hold:
        hold(2_000_000)
        with admission.answer("other") as hold_other, pytest.raises(ApiError) as refused:
            hold_other(100_000)
        assert refused.value.status == 503
        with admission.answer("other") as hold_other:
            hold_other(10_000)
        with admission.answer("one") as hold_more, pytest.raises(ApiError) as refused:
            hold_more(100_000)
        assert refused.value.status == 429
    with admission.answer("other") as hold_other:
        hold_other(100_000)
