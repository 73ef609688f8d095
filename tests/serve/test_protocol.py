"""Connections of slow and of odd clients, on a server with a small application."""

from __future__ import annotations

import logging
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import SimpleNamespace
from typing import Any, cast

import pytest
import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl

from llara.serve import server as serving
from llara.serve.admission import Admission
from llara.serve.gate import Gate
from llara.serve.metrics import Metrics
from llara.serve.protocol import patient_protocol
from llara.serve.settings import Limits, ServeSettings

LARGE = 24 * 2**20


async def answer_much_or_refuse(scope: Any, receive: Any, send: Any) -> None:
    status, size = (200, LARGE) if scope["method"] == "GET" else (401, 2)
    headers = [(b"content-length", b"%d" % size)]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"x" * size})


@contextmanager
def running(app: Any, limits: Limits) -> Iterator[tuple[str, int]]:
    """The address of a server with that application."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, http=patient_protocol(limits), lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield listening.getsockname()
    server.should_exit = True
    thread.join(10)


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    with running(answer_much_or_refuse, Limits(write_seconds=0.4)) as found:
        yield found


def connect(address: tuple[str, int], request: bytes) -> socket.socket:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    connection.settimeout(10)
    connection.connect(address)
    connection.sendall(request)
    return connection


def test_a_client_that_reads_steadily_gets_the_whole_answer_however_long_it_takes(address):
    started = time.monotonic()
    with connect(address, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n") as connection:
        size = 0
        while data := connection.recv(2**19):
            size += len(data)
            time.sleep(0.02 * len(data) / 2**18)
    assert time.monotonic() - started > 3 * 0.4
    assert size > LARGE


def test_a_client_that_takes_nothing_is_let_go(address):
    with connect(address, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") as connection:
        time.sleep(1.5)
        size = 0
        with suppress(ConnectionResetError):
            while data := connection.recv(2**20):
                size += len(data)
        assert size < LARGE


def test_a_client_that_takes_a_little_now_and_then_is_let_go(monkeypatch):
    protocol: Any = object.__new__(patient_protocol(Limits(write_seconds=10)))
    left, aborted, timers, now = 2**20, [], [], 0.0
    transport = SimpleNamespace(get_write_buffer_size=lambda: left, abort=lambda: aborted.append(now))
    monkeypatch.setattr(protocol, "transport", transport, raising=False)
    protocol.flow = FlowControl(cast("Any", transport))
    protocol.loop = SimpleNamespace(
        time=lambda: now, call_later=lambda seconds, *call: timers.append((seconds, *call))
    )
    protocol.pause_writing()
    for taken in (300_000, 40_000, 140_000):  # on average enough, till it is not
        assert not aborted
        seconds, check, *arguments = timers.pop()
        left, now = left - taken, now + seconds
        check(*arguments)
    assert aborted == [30.0]
    assert not timers


@pytest.mark.parametrize("method", [b"POST /", b"GET /documents/a"])
def test_an_answer_that_was_not_taken_yet_counts_as_one_under_way(method):
    async def answer_much(_: Any, __: Any, send: Any) -> None:
        await answer_much_or_refuse({"method": "GET"}, __, send)

    limits = Limits(client_requests=1)
    settings, metrics = ServeSettings(model="m", limits=limits), Metrics()
    gate = Gate(answer_much, settings, metrics, Admission(limits, metrics))
    request = method + b" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    with running(gate, limits) as address, connect(address, request) as first:
        assert first.recv(12) == b"HTTP/1.1 200"
        with connect(address, request) as second:
            assert second.recv(12) == b"HTTP/1.1 429"
        while first.recv(2**20):
            pass
        with connect(address, request) as third:
            assert third.recv(12) == b"HTTP/1.1 200"


def test_answers_that_were_not_taken_yet_have_a_size_together():
    async def answer_much(_: Any, __: Any, send: Any) -> None:
        await answer_much_or_refuse({"method": "GET"}, __, send)

    limits = Limits(answers_bytes=4 * LARGE)
    settings, metrics = ServeSettings(model="m", limits=limits), Metrics()
    gate = Gate(answer_much, settings, metrics, Admission(limits, metrics))
    request = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    with running(gate, limits) as address, connect(address, request) as first:
        assert first.recv(12) == b"HTTP/1.1 200"
        with connect(address, request) as second:
            answer = second.makefile("rb").read()
            assert answer.startswith(b"HTTP/1.1 429")
            assert b"has not taken answers" in answer
        while first.recv(2**20):
            pass
        with connect(address, request) as third:
            assert third.recv(12) == b"HTTP/1.1 200"


def test_a_new_connection_takes_the_place_of_one_that_asks_nothing():
    ask = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    with running(answer_much_or_refuse, Limits(connections=3)) as address, ExitStack() as stack:
        answered = stack.enter_context(connect(address, b"POST" + ask[3:]))
        assert answered.recv(1_000).startswith(b"HTTP/1.1 401")
        idle = [stack.enter_context(connect(address, b"GET / HT")) for _ in range(2)]
        for closed in (*idle, answered):
            asking = stack.enter_context(connect(address, ask))  # and does not take its answer
            assert asking.recv(12) == b"HTTP/1.1 200"
            with suppress(ConnectionResetError):
                while closed.recv(1_000):
                    pass
        with connect(address, b"") as refused, suppress(ConnectionResetError):  # nobody is idle any more
            assert refused.recv(12) == b""


def test_a_broken_body_behind_its_answer_ends_the_connection_and_leaves_no_traceback(address, caplog):
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    with caplog.at_level(logging.WARNING), connect(address, head) as connection:
        assert connection.recv(1000).startswith(b"HTTP/1.1 401")
        connection.sendall(b"no size of a chunk\r\n")
        while connection.recv(1000):
            pass
    time.sleep(0.1)
    assert "Traceback" not in caplog.text
    assert not any(record.levelno >= logging.ERROR for record in caplog.records)


@pytest.mark.parametrize(
    ("soft", "hard", "raised_to", "connections"),
    [(100, 2_000, 756, 500), (100, 300, 300, 150), (1_000, 1_000, None, 500)],
)
def test_as_many_connections_are_taken_as_files_may_be_open(soft, hard, raised_to, connections, monkeypatch):
    calls: list[tuple[int, int]] = []
    fake = SimpleNamespace(
        RLIMIT_NOFILE=7,
        RLIM_INFINITY=-1,
        getrlimit=lambda _: (soft, hard),
        setrlimit=lambda _, limits: calls.append(limits),
    )
    monkeypatch.setitem(sys.modules, "resource", fake)
    assert vars(serving)["_affordable"](500) == connections
    assert calls == ([] if raised_to is None else [(raised_to, hard)])
