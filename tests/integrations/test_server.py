"""The clients of docs/integrations.md against a running ``llara serve``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

pytest.importorskip("llara.serve")

Run = Callable[..., dict[str, Any]]
Same = Callable[..., None]

QUERY = "how do I open a file?"
ADDRESS = "http://127.0.0.1:8000"  # as the page has it


@pytest.fixture(scope="module")
def moved(model_directory: Path) -> Iterator[dict[str, str]]:
    """The page's address -> that of a server for my-model on a free port."""
    command = [sys.executable, "-m", "llara", "serve", "--model", str(model_directory), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()  # said once it answers
        assert url, f"llara serve ended with {process.wait(30)}"
        yield {ADDRESS: url.rstrip("/")}
        process.terminate()
        assert process.wait(30) == 0


def test_openai(run: Run, moved: dict[str, str], assert_same_vectors: Same) -> None:
    pytest.importorskip("openai")
    assert_same_vectors(run("openai", moved))


def test_langchain(run: Run, moved: dict[str, str], assert_same_vectors: Same) -> None:
    pytest.importorskip("langchain_openai")
    assert_same_vectors(run("LangChain's OpenAIEmbeddings", moved))


def test_llamaindex_asks_with_queries(run: Run, moved: dict[str, str], model: SentenceTransformer) -> None:
    pytest.importorskip("llama_index.embeddings.openai_like")
    names = run("LlamaIndex's OpenAILikeEmbedding", moved)
    hits = names["retriever"].retrieve(QUERY)
    for hit in hits:
        expected = float(model.encode_query(QUERY) @ model.encode_document(hit.text))
        assert hit.score == pytest.approx(expected, abs=1e-5)
    assert len(hits) == 2


def test_llamaindex_openai_embedding(run: Run, moved: dict[str, str], model: SentenceTransformer) -> None:
    OpenAIEmbedding = pytest.importorskip("llama_index.embeddings.openai").OpenAIEmbedding
    url = f"{moved[ADDRESS]}/v1"
    embedding = OpenAIEmbedding(model_name="my-model:query", api_base=url, api_key="none")
    vector = embedding.get_query_embedding(QUERY)
    np.testing.assert_allclose(vector, model.encode_query(QUERY), atol=1e-5)


def test_haystack(run: Run, moved: dict[str, str], assert_same_vectors: Same) -> None:
    pytest.importorskip("haystack")
    assert_same_vectors(run("Haystack's OpenAITextEmbedder", moved))
