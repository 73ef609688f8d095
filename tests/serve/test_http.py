"""A running service, asked by the clients that people use, and by some that nobody should."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

import httpx
import numpy as np
import openai
import pytest
from served import KEY, STRANGE_IDS

HERE = Path(__file__).parent
EXAMPLES = 5  # schemathesis makes up for each operation, beside those that cover its description
TEXTS = ["how do I open a file", "a list keeps its items in order", "", "巴黎在法国", "x" * 5_000]


@pytest.fixture(scope="module")
def model():
    """The model as sentence-transformers alone loads it: what every vector is compared with."""
    import torch
    from sentence_transformers import SentenceTransformer

    from llara.model import resolve

    numbers = {"dtype": torch.float32}  # its files hold bfloat16
    return SentenceTransformer(resolve("llara-mini"), device="cpu", model_kwargs=numbers)


@pytest.fixture
def gpt(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=0) as client:
        yield client


def vectors_of(answer: openai.types.CreateEmbeddingResponse) -> np.ndarray:
    assert [item.index for item in answer.data] == list(range(len(answer.data)))
    return np.array([item.embedding for item in answer.data], dtype=np.float32)


def error_of(answer: httpx.Response) -> dict[str, str]:
    """The error, in the one shape that there is."""
    assert answer.headers["content-type"] == "application/json"
    content = answer.json()
    assert list(content) == ["error"]
    assert list(content["error"]) == ["message", "type", "code"]
    assert "Traceback" not in answer.text
    error: dict[str, str] = content["error"]
    return error


# -- embeddings, as OpenAI's own package asks for them


@pytest.mark.parametrize("form", ["float", "base64"])
def test_openais_client_gets_the_vectors_of_sentence_transformers(gpt, model, form):
    answer = gpt.embeddings.create(model="llara-mini", input=TEXTS, encoding_format=form)
    found = answer.data
    if form == "base64":
        vectors = np.stack([np.frombuffer(base64.b64decode(item.embedding), "<f4") for item in found])
    else:
        vectors = vectors_of(answer)
    np.testing.assert_allclose(vectors, model.encode_document(TEXTS), atol=2e-6)


def test_without_a_format_openais_client_asks_for_base64_and_decodes_it(gpt, model):
    answer = gpt.embeddings.create(model="llara-mini", input="how do I open a file")
    np.testing.assert_allclose(vectors_of(answer), model.encode_document([TEXTS[0]]), atol=2e-6)


def test_a_role_is_said_by_the_models_name_or_by_input_type(gpt, model):
    by_name = gpt.embeddings.create(model="llara-mini:query", input=TEXTS[:2])
    by_field = gpt.embeddings.create(model="llara-mini", input=TEXTS[:2], extra_body={"input_type": "query"})
    expected = model.encode_query(TEXTS[:2])
    np.testing.assert_allclose(vectors_of(by_name), expected, atol=2e-6)
    np.testing.assert_allclose(vectors_of(by_field), expected, atol=2e-6)
    assert np.abs(expected - model.encode_document(TEXTS[:2])).max() > 0.01
    both = gpt.embeddings.create(
        model="llara-mini:document", input=TEXTS[:2], extra_body={"input_type": "query"}
    )
    np.testing.assert_allclose(vectors_of(both), expected, atol=2e-6)


def test_fewer_dimensions_are_the_first_at_length_one_again(gpt, model):
    answer = gpt.embeddings.create(model="llara-mini", input=TEXTS[:2], dimensions=64)
    first = model.encode_document(TEXTS[:2])[:, :64]
    expected = first / np.linalg.norm(first, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors_of(answer), expected, atol=2e-6)
    with pytest.raises(openai.BadRequestError, match="dimensions: Input should be less than or equal to 384"):
        gpt.embeddings.create(model="llara-mini", input="a", dimensions=385)


def test_usage_counts_the_tokens_that_the_model_sees(gpt, model):
    tokens = model.preprocess(TEXTS, task="document")["attention_mask"].sum(dim=1).tolist()
    assert max(tokens) == 512  # the last text is cut
    usage = gpt.embeddings.create(model="llara-mini", input=TEXTS).usage
    assert (usage.prompt_tokens, usage.total_tokens) == (sum(tokens), sum(tokens))


def test_token_ids_are_read_by_the_models_own_tokenizer(gpt, model):
    ids = [model.tokenizer(text, add_special_tokens=False)["input_ids"] for text in TEXTS[:2]]
    expected = model.encode_document(TEXTS[:2])
    several = gpt.embeddings.create(model="llara-mini", input=ids)
    np.testing.assert_allclose(vectors_of(several), expected, atol=2e-6)
    one = gpt.embeddings.create(model="llara-mini", input=ids[1])
    np.testing.assert_allclose(vectors_of(one), expected[1:], atol=2e-6)


def test_ids_of_another_tokenizer_are_refused(gpt):
    with pytest.raises(
        openai.BadRequestError, match=r"input\.1\.0: Input should be less than or equal to 8191"
    ):
        gpt.embeddings.create(model="llara-mini", input=[[5], [100_257]])


def test_models_are_listed_and_found(gpt):
    names = ["llara-mini", "llara-mini:query", "llara-mini:document"]
    assert [model.id for model in gpt.models.list()] == names
    assert gpt.models.retrieve("llara-mini:query").owned_by == "llara"
    with pytest.raises(openai.NotFoundError):
        gpt.models.retrieve("gpt-7")
    with pytest.raises(openai.NotFoundError) as refused:
        gpt.embeddings.create(model="text-embedding-3-small", input="a")
    assert refused.value.code == "model_not_found"


# -- batching


def test_requests_of_many_clients_are_computed_together_and_equal_those_computed_alone(server, model):
    texts = [f"{TEXTS[number % 2]}, question {number}" for number in range(64)]
    before = server.metric("llara_batch_texts_count"), server.metric("llara_texts_total")

    async def ask_all() -> list[list[float]]:
        async with httpx.AsyncClient(base_url=server.url, headers=server.headers, timeout=60) as client:

            async def ask(text: str) -> list[float]:
                answer = await client.post("/v1/embeddings", json={"input": text})
                vector: list[float] = answer.json()["data"][0]["embedding"]
                return vector

            return await asyncio.gather(*map(ask, texts))

    vectors = np.array(asyncio.run(ask_all()), dtype=np.float32)
    alone = np.concatenate([model.encode_document([text]) for text in texts])
    np.testing.assert_allclose(vectors, alone, atol=2e-6)
    batches = server.metric("llara_batch_texts_count") - before[0]
    assert server.metric("llara_texts_total") - before[1] == 64
    assert batches <= 32


# -- search and documents


def test_search_finds_the_nearest_documents_by_brute_force(client, model, documents):
    query = "how are exceptions handled"
    answer = client.post("/search", json={"query": query, "k": 5}).json()
    vectors = model.encode_document([f"{each['title']} {each['text']}" for each in documents])
    scores = vectors @ model.encode_query([query])[0]
    best = np.argsort(-scores)[:5]
    assert [hit["id"] for hit in answer["hits"]] == [documents[i]["id"] for i in best]
    assert [hit["rank"] for hit in answer["hits"]] == [1, 2, 3, 4, 5]
    np.testing.assert_allclose([hit["score"] for hit in answer["hits"]], scores[best], atol=2e-6)
    first = documents[best[0]]
    assert answer["hits"][0] | {"score": 0} == {
        "rank": 1,
        "id": first["id"],
        "score": 0,
        "title": first["title"],
        "text": first["text"],
        "metadata": {"year": first["year"]},
        "highlights": None,
    }
    assert (answer["query"], answer["mode"]) == (query, "dense")


def test_a_filter_holds_and_a_wrong_one_is_the_clients_fault(client):
    hits = client.post("/search", json={"query": "a", "k": 100, "where": "year == 1995"}).json()["hits"]
    assert len(hits) == 7
    assert {hit["metadata"]["year"] for hit in hits} == {1995}
    answer = client.post("/search", json={"query": "a", "where": "year >"})
    assert answer.status_code == 400
    assert error_of(answer)["message"].startswith("the filter 'year >' has")


@pytest.mark.parametrize("id_", STRANGE_IDS)
def test_a_document_is_found_by_its_id_whatever_that_holds(client, documents, id_):
    found = client.get(f"/documents/{quote(id_, safe='')}")
    (expected,) = [each for each in documents if each["id"] == id_]
    assert found.json() == {
        "id": id_,
        "title": expected["title"],
        "text": expected["text"],
        "metadata": {"year": expected["year"]},
    }


def test_a_document_that_is_not_there_is_404(client):
    for path in ("/documents/", "/documents/none", "/documents/%00", "/documents/%FF"):
        answer = client.get(path)
        assert (answer.status_code, error_of(answer)["code"]) == (404, "no_document")


def test_words_and_both_are_searched_as_from_python(client, index):
    from llara.search import Searcher

    searcher = Searcher.open(index)
    for mode in ("bm25", "hybrid"):
        (expected,) = searcher.search(["raise an exception"], 5, mode=mode, where="year < 2010")
        asked = {"query": "raise an exception", "k": 5, "mode": mode, "where": "year < 2010"}
        hits = client.post("/search", json=asked).json()["hits"]
        assert [hit["id"] for hit in hits] == [hit.id for hit in expected]
        np.testing.assert_allclose([hit["score"] for hit in hits], [hit.score for hit in expected], atol=2e-6)
    answer = client.post("/search", json={"query": "a", "mode": "lexical"})
    assert error_of(answer)["message"] == "mode: Input should be 'dense', 'bm25' or 'hybrid'"


def test_searches_at_once_keep_their_own_filters(server):
    years = [1990 + number % 30 for number in range(90)]

    async def ask_all() -> list[set[int]]:
        async with httpx.AsyncClient(base_url=server.url, headers=server.headers, timeout=60) as client:

            async def ask(year: int) -> set[int]:
                asked = {"query": "a", "mode": "bm25", "where": f"year == {year}", "k": 100}
                hits = (await client.post("/search", json=asked | {"query": "the"})).json()["hits"]
                return {hit["metadata"]["year"] for hit in hits}

            return await asyncio.gather(*map(ask, years))

    assert [found - {year} for year, found in zip(years, asyncio.run(ask_all()), strict=True)] == [set()] * 90


# -- what vectors hold


def test_what_vectors_hold_is_told_as_in_python(client, index, documents):
    from llara.inspect import Inspector
    from llara.search import Searcher

    inspector = Inspector.of(Searcher.open(index))
    text = "The decimal module holds exact numbers."
    found = client.post("/inspect", json={"text": text, "top": 5}).json()
    assert found == json.loads(json.dumps(inspector.inspect(text, top=5).to_dict()))
    assert len(found["roles"]["next"]["words"]) == 5
    document = documents[10]
    whole = f"{document['title']} {document['text']}"
    by_id = {"query": "how to raise an exception", "document_id": document["id"], "top": 5}
    by_text = {"query": "how to raise an exception", "document": whole, "top": 5}
    answers = [client.post("/inspect/pair", json=asked).json() for asked in (by_id, by_text)]
    expected = inspector.pair("how to raise an exception", whole, top=5).to_dict()
    for answer in answers:
        assert answer["similarity"] == pytest.approx(expected["similarity"], abs=2e-6)
        shares = [word["share"] for word in answer["document_words"]]
        assert shares == pytest.approx([word["share"] for word in expected["document_words"]], abs=2e-4)
        assert [word["word"] for word in answer["shared"]] == [word["word"] for word in expected["shared"]]
    missing = client.post("/inspect/pair", json={"query": "a", "document_id": "none"})
    assert (missing.status_code, error_of(missing)["code"]) == (404, "no_document")
    neither = client.post("/inspect/pair", json={"query": "a"})
    assert neither.status_code == 400


@pytest.mark.parametrize("mode", ["dense", "bm25"])
def test_highlights_are_words_of_the_hits(client, mode):
    asked = {"query": "raise an exception", "k": 5, "mode": mode, "highlight": True}
    hits = client.post("/search", json=asked).json()["hits"]
    words = set()
    for hit in hits:
        for part in ("title", "text"):
            for start, end, weight in hit["highlights"][part]:
                words.add(hit[part][start:end].lower())
                assert 0 < weight <= 1
    assert words & {"exception", "exceptions", "raise", "raised", "raises", "raising"}
    assert all(word.isalnum() for word in words)


# -- what is told of the service


def test_info_says_what_is_served(server, index):
    facts = httpx.get(f"{server.url}/info").json()
    assert facts["model"] | {"fingerprint": None} == {
        "name": "llara-mini",
        "fingerprint": None,
        "dimension": 384,
        "max_tokens": 512,
        "preset": "paper",
        "parameters": facts["model"]["parameters"],
    }
    size = sum(path.stat().st_size for path in index.iterdir())
    assert facts["index"] == {
        "documents": 200,
        "kind": "exact",
        "backend": "faiss",
        "bytes": size,
        "settings": {},
        "role": "document",
    }
    assert (facts["needs_key"], facts["limits"]["inputs"]) == (True, 256)
    assert facts["modes"] == ["dense", "bm25", "hybrid"]


def test_metrics_are_prometheus_text(client):
    from prometheus_client.parser import text_string_to_metric_families

    client.get("/documents/none")
    answer = client.get("/metrics")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    labels = [sample.labels for sample in families["llara_requests"].samples]
    assert {"method": "GET", "path": "/documents/{id}", "status": "404"} in labels
    assert families["process_resident_memory_bytes"].samples[0].value > 0


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
        ("GET", "/openapi.json"),
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
    for path in ("/health", "/info"):
        assert httpx.get(server.url + path).status_code == 200
    assert httpx.get(f"{server.url}/health").json() == {"status": "ok"}


def test_browsers_are_told_to_run_nothing_from_elsewhere(client):
    for path in ("/health", "/info", "/nothing", "/"):
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
        (b"[" * 100_000, 400, "invalid_json"),
        (b'{"input": ' + b"[" * 100_000, 400, "invalid_json"),
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


# -- the description


def test_schemathesis_finds_nothing(server, tmp_path):
    """It makes up requests, right and wrong ones, and compares the answers with what is described."""
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        f"--config-file={HERE / 'schemathesis.toml'}",
        *("run", f"{server.url}/openapi.json", "--seed=1", f"--max-examples={EXAMPLES}"),
        f"--header=Authorization: Bearer {server.key}",
    ]
    found = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])},
        check=False,
    )
    assert found.returncode == 0, found.stdout[-6_000:] + found.stderr[-2_000:]
    assert "No issues found" in found.stdout


def test_every_operation_is_described_with_its_errors(server):
    document = httpx.get(f"{server.url}/openapi.json", headers=server.headers).json()
    operations = {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert set(operations) >= {
        "GET /health",
        "GET /info",
        "GET /metrics",
        "GET /v1/models",
        "GET /v1/models/{model}",
        "POST /v1/embeddings",
        "POST /search",
        "GET /documents/{id}",
        "POST /inspect",
        "POST /inspect/pair",
    }
    for name, operation in operations.items():
        errors = {status for status in operation["responses"] if status != "200"}
        assert errors >= {"401", "500"}, name
        for status in errors:
            schema = operation["responses"][status]["content"]["application/json"]["schema"]
            assert schema == {"$ref": "#/components/schemas/ErrorAnswer"}, (name, status)
        assert bool(operation.get("security")) == (name not in ("GET /health", "GET /info")), name
    taken = document["paths"]["/v1/embeddings"]["post"]["requestBody"]["content"]["application/json"][
        "schema"
    ]
    assert taken["properties"]["dimensions"]["anyOf"][0]["maximum"] == 384
