"""A running service, asked by the clients that people use; and its own description."""

from __future__ import annotations

import asyncio
import base64
import os
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import openai
import pytest
from asking import TEXTS, vectors_of

HERE = Path(__file__).parent
EXAMPLES = 5  # schemathesis makes up for each operation, beside those that cover its description


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


def test_token_ids_of_a_text_that_is_too_long_are_refused_as_it_is(client, model):
    known = range(len(model.tokenizer))
    longest = max(known, key=lambda id_: len(model.tokenizer.decode([id_], skip_special_tokens=True)))
    for input_ in ([longest] * 20_000, [[5], [longest] * 20_000]):
        answer = client.post("/v1/embeddings", json={"input": input_})
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
    assert client.post("/v1/embeddings", json={"input": [longest] * 100}).status_code == 200


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
        "GET /documents",
        "GET /documents/{id}",
        "POST /inspect",
        "POST /inspect/pair",
    }
    for name in ("GET /documents", "GET /documents/{id}"):  # they wait for a place, too
        assert {"429", "503"} <= set(operations[name]["responses"])
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
