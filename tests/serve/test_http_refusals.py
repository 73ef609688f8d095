"""A running service, asked by clients without a key, or by what no client should send."""

from __future__ import annotations

import asyncio
import json
import socket
import time

import httpx
import numpy as np
import pytest
from asking import error_of
from served import KEY

# -- keys and browsers


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Bearer {KEY[:-1]}"},
        {"Authorization": f"Bearer {KEY}x"},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": KEY},
        {"Authorization": b"Bearer \xff\xfe"},
    ],
)
def test_without_the_key_nothing_is_given_away(server, headers):
    for method, path in (
        ("POST", "/search"),
        ("POST", "/v1/embeddings"),
        ("GET", "/v1/models"),
        ("GET", "/documents/topic-1"),
        ("GET", "/metrics"),
        ("GET", "/nothing"),
        ("GET", "/page/%2E%2E/metrics"),
        ("GET", "//info"),
    ):
        with httpx.Client() as client:
            request = client.build_request(method, server.url, headers=headers)
            request.url = httpx.URL(server.url).copy_with(raw_path=path.encode())
            answer = client.send(request)
        expected = (404, "not_found") if path.startswith("/page/") else (401, "invalid_api_key")
        assert (answer.status_code, error_of(answer)["code"]) == expected, path
        assert KEY not in answer.text


def test_what_a_page_needs_before_it_has_a_key_is_open(server):
    for path in ("/", "/docs", "/health", "/info", "/openapi.json"):
        assert httpx.get(server.url + path).status_code == 200
    assert httpx.get(f"{server.url}/health").json() == {"status": "ok"}


def test_browsers_are_told_to_run_nothing_from_elsewhere(client):
    for path in ("/health", "/info", "/nothing", "/", "/docs"):
        headers = client.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'self'; ")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


# -- what no client should send


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "invalid_json"),
        (b"{", 400, "invalid_json"),
        (b"\xff\xfe", 400, "invalid_json"),
        (b'{"input": "\xff"}', 400, "invalid_json"),
        (rb'{"input": "\ud800"}', 400, "invalid_json"),
        (rb'{"input": "\udc00 half"}', 400, "invalid_json"),
        (b"[" * 10_000, 400, "invalid_json"),
        (b'{"input": ' + b"[" * 10_000, 400, "invalid_json"),
        (b"[" * 100_000, 413, "too_large"),
        (b'{"input": NaN}', 400, "invalid_value"),
        (b'{"input": ' + b"9" * 5_000 + b"}", 400, "invalid_json"),
        (b"[]", 400, "invalid_value"),
        (b"null", 400, "invalid_value"),
        (b"{}", 400, "invalid_value"),
        (b'{"input": []}', 400, "invalid_value"),
        (b'{"input": [[]]}', 400, "invalid_value"),
        (b'{"input": [-1]}', 400, "invalid_value"),
        (b'{"input": [1.5]}', 400, "invalid_value"),
        (b'{"input": [true]}', 400, "invalid_value"),
        (b'{"input": ["a", null]}', 400, "invalid_value"),
        (b'{"input": ["a", 3]}', 400, "invalid_value"),
        (b'{"input": "a", "dimensions": 0}', 400, "invalid_value"),
        (b'{"input": "a", "dimensions": 1.5}', 400, "invalid_value"),
        (b'{"input": "a", "dimensions": "3"}', 400, "invalid_value"),
        (json.dumps({"input": "a", "user": "u" * 1_001}).encode(), 400, "invalid_value"),
        (b'{"input": "a", "encoding_format": "int8"}', 400, "invalid_value"),
        (b'{"input": "a", "dimension": 3}', 400, "unknown_field"),
        (json.dumps({"input": ["a"] * 10_000}).encode(), 413, "too_large"),
        (json.dumps({"input": "a" * 100_001}).encode(), 413, "too_large"),
        (json.dumps({"input": [5] * 100_001}).encode(), 413, "too_large"),
    ],
)
def test_a_body_that_is_not_as_described_is_refused(client, body, status, code):
    answer = client.post("/v1/embeddings", content=body, headers={"Content-Type": "application/json"})
    error = error_of(answer)
    assert (answer.status_code, error["code"]) == (status, code), error


@pytest.mark.parametrize("text", ["a\u0000b", "\u0000", " \n ", "\U0001f9d1\u200d\U0001f680", "\ufffe"])
def test_any_unicode_is_a_text(client, model, text):
    answer = client.post("/v1/embeddings", json={"input": text}).json()
    np.testing.assert_allclose(answer["data"][0]["embedding"], model.encode_document([text])[0], atol=2e-6)
    assert client.post("/search", json={"query": text, "k": 1}).status_code == 200


@pytest.mark.parametrize("blank", [" ", "\u3000", "\n\t"])
def test_a_blank_text_holds_no_words(client, blank):
    for path, body, name in (
        ("/inspect", {"text": blank}, "text"),
        ("/inspect/pair", {"query": blank, "document": "a wing"}, "query"),
        ("/inspect/pair", {"query": "a wing", "document": blank}, "document"),
    ):
        answer = client.post(path, json=body)
        assert (answer.status_code, error_of(answer)["code"]) == (400, "invalid_value")
        assert error_of(answer)["message"].startswith(f"{name}: it is blank")


def test_a_body_of_10_mb_is_refused_announced_or_not(client):
    body = b" " * 10_000_000
    kind = {"Content-Type": "application/json"}
    announced = client.post("/search", content=body, headers=kind)
    streamed = client.post(
        "/search", content=(body[i : i + 65_536] for i in range(0, len(body), 65_536)), headers=kind
    )
    for answer in (announced, streamed):
        assert (answer.status_code, error_of(answer)["code"]) == (413, "too_large")
    assert client.get("/health").status_code == 200


def test_a_body_that_is_not_said_to_be_json_is_refused(client):
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        answer = client.post("/search", content=b'{"query": "a"}', headers={"Content-Type": kind})
        assert (answer.status_code, error_of(answer)["code"]) == (415, "not_json")


def test_head_is_get_without_the_body(server, client):
    for path in ("/", "/docs", "/page/app.js", "/health", "/openapi.json", "/nothing", "/documents"):
        got, head = client.get(path), client.head(path)
        assert (head.status_code, head.content) == (got.status_code, b"")
        assert {**head.headers, "date": ""} == {**got.headers, "date": ""}
        assert int(head.headers["content-length"]) > 10
    assert client.head("/metrics").headers["content-type"].startswith("text/plain")
    assert httpx.head(f"{server.url}/health").status_code == 200
    assert httpx.head(f"{server.url}/metrics").status_code == 401
    answer = client.head("/search")
    assert (answer.status_code, answer.headers["allow"], answer.content) == (405, "POST", b"")
    assert client.delete("/health").headers["allow"] == "GET, HEAD"
    assert "HEAD /health 200" in server.log.read_text()


def test_paths_and_methods_that_there_are_not_have_the_same_shape(client):
    assert (client.get("/nothing").status_code, error_of(client.get("/nothing"))["code"]) == (
        404,
        "not_found",
    )
    answer = client.request("DELETE", "/search")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert error_of(answer)["code"] == "method_not_allowed"


def talk(server, *parts: bytes, pause_seconds: float = 0.0) -> bytes:
    """All that a raw connection answers until the server closes it."""
    with socket.create_connection(server.address, timeout=20) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause_seconds)
        answer = b""
        try:
            while data := connection.recv(65_536):
                answer += data
        except ConnectionResetError:
            pass
        return answer


def head(*lines: str, key: str = KEY) -> bytes:
    every = ["POST /search HTTP/1.1", "Host: localhost", f"Authorization: Bearer {key}", *lines]
    return "\r\n".join([*every, "", ""]).encode()


JSON = "Content-Type: application/json"


def test_bytes_that_are_not_http_get_the_same_shape_of_error(server):
    answer = talk(server, b"\x16\x03\x01 hello\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "invalid_http"


def test_a_probe_for_websockets_is_answered_and_nobody_is_told_to_install_anything(server):
    probe = head("Upgrade: websocket", "Connection: Upgrade, close").replace(b"POST /search", b"GET /health")
    answer = talk(server, probe)
    assert answer.startswith(b"HTTP/1.1 200")
    log = server.log.read_text()
    assert "GET /health 200" in log
    assert "WebSocket" not in log
    assert "upgrade" not in log


def test_slow_clients_are_let_go(server):
    started = time.monotonic()
    assert talk(server) == b""  # says nothing
    assert talk(server, b"POST /search HT") == b""  # begins, and stops
    slow_body = talk(server, head(JSON, "Content-Length: 20"), b'{"query"')
    assert slow_body.startswith(b"HTTP/1.1 408")
    assert 3 * 2 <= time.monotonic() - started < 3 * 2 + 10
    with server.client() as client:
        assert client.get("/health").status_code == 200


def test_a_body_that_goes_on_after_its_refusal_is_let_go(server):
    answer = talk(server, head(JSON, "Content-Length: 100000000"), b" " * 1000)
    assert answer.startswith(b"HTTP/1.1 413")


def test_a_client_that_leaves_takes_its_texts_out_of_the_queue(server):
    dropped = server.metric("llara_dropped_texts_total")
    texts = [f"{number} " + "words of a long text " * 100 for number in range(256)]
    body = json.dumps({"input": texts}).encode()
    request = head(JSON, f"Content-Length: {len(body)}").replace(b"/search", b"/v1/embeddings") + body
    with socket.create_connection(server.address, timeout=20) as connection:
        connection.sendall(request)
        server.wait_for_metric("llara_queue_texts", 1)
    server.wait_for_metric("llara_dropped_texts_total", dropped + 1)
    deadline = time.monotonic() + 20
    while server.metric("llara_queue_texts") or server.metric("llara_requests_in_flight"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert "POST /v1/embeddings 499" in server.log.read_text()


def test_a_full_queue_says_when_to_come_again(server):
    texts = [f"{number} " + "words of a long text " * 100 for number in range(256)]

    async def ask_all() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=server.url, headers=server.headers, timeout=60) as client:
            tasks = [
                asyncio.ensure_future(client.post("/v1/embeddings", json={"input": texts})) for _ in range(5)
            ]
            while not any(task.done() for task in tasks):
                await asyncio.sleep(0.01)
            found = [task.result() for task in tasks if task.done()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            return found

    for answer in asyncio.run(ask_all()):
        assert (answer.status_code, error_of(answer)["code"]) == (503, "queue_full")
        assert int(answer.headers["retry-after"]) >= 1


def test_no_line_of_the_log_holds_a_text_an_id_or_a_key(server, client):
    client.post("/search?secret=in-the-query-string", json={"query": "secret in a query"})
    client.get("/documents/secret-id")
    client.get("/secret-path", headers={"Authorization": "Bearer secret-key-of-nobody"})
    client.post("/v1/embeddings", content=b'{"secret')
    log = server.log.read_text()
    assert "POST /search 200" in log
    assert "GET /documents/{id} 404" in log
    assert "secret" not in log
    assert KEY not in log
