"""Connections of slow and of odd clients, on a server with a small application."""

from __future__ import annotations

import logging
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn

from llara.serve import server as serving
from llara.serve.protocol import patient_protocol
from llara.serve.settings import Limits

LARGE = 24 * 2**20


async def answer_much_or_refuse(scope: Any, receive: Any, send: Any) -> None:
    status, size = (200, LARGE) if scope["method"] == "GET" else (401, 2)
    headers = [(b"content-length", b"%d" % size)]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"x" * size})


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        answer_much_or_refuse,
        http=patient_protocol(Limits(write_seconds=0.4)),
        lifespan="off",
        log_config=None,
    )
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    yield listening.getsockname()
    running.should_exit = True
    thread.join(10)


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
