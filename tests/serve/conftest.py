"""An index of real texts, and a server over it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from pydoc_data import topics

import httpx
import openai
import pytest
from filelock import FileLock
from served import KEY, STRANGE_IDS, Server, start


@pytest.fixture(scope="session")
def documents() -> list[dict[str, object]]:
    """Two hundred passages of Python's language reference, some with ids that are hard to put in a path."""
    texts = [
        " ".join(part.split())
        for text in topics.topics.values()
        for part in text.split("\n\n")
        if 100 < len(part) < 400 and "+--" not in part
    ]
    ids = [*STRANGE_IDS, *(f"topic-{number}" for number in range(200 - len(STRANGE_IDS)))]
    return [
        {"id": id_, "title": text.split(".")[0][:60], "text": text, "year": 1990 + number % 30}
        for number, (id_, text) in enumerate(zip(ids, texts, strict=False))
    ]


@pytest.fixture(scope="session")
def index(
    tmp_path_factory: pytest.TempPathFactory, documents: list[dict[str, object]], worker_id: str
) -> Path:
    """An exact index of them with BM25 beside; built once, whichever of pytest's processes comes first."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "served"
    with FileLock(f"{folder}.lock"):
        if not (folder / "index").exists():
            folder.mkdir()
            _build(folder, documents)
    return folder / "index"


def _build(folder: Path, documents: list[dict[str, object]]) -> None:
    from llara.encode import encode_file
    from llara.indexes import build_index

    source = folder / "docs.jsonl"
    source.write_text("".join(json.dumps(document) + "\n" for document in documents), encoding="utf-8")
    encode_file("llara-mini", [str(source)], folder / "vectors", role="document")
    build_index(folder / "vectors", folder / "index", words=("bm25",))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, index: Path) -> Iterator[Server]:
    """One server for all tests that leave it running; impatient, with a key."""
    limits = ["head_seconds=2", "body_seconds=2", "inputs=256", "queue_texts=512"]
    options = [part for limit in limits for part in ("--limit", limit)]
    running = start(tmp_path_factory.mktemp("server"), "--index", index, *options, key=KEY)
    yield running
    assert running.end() == 0
    log = running.log.read_text()
    assert KEY not in log
    assert "Traceback" not in log, log


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


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
