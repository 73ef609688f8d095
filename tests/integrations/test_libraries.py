"""The snippets of docs/integrations.md: queries are encoded as queries, documents as documents."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

Run = Callable[..., dict[str, Any]]
Same = Callable[..., None]

QUERY = "how do I open a file?"
DOCUMENTS = ["open() returns a file object.", "A list holds items in order."]
ROUNDING = 1e-5  # float32; a query encoded as a document differs by 0.05


def test_sentence_transformers(run: Run, model: SentenceTransformer, assert_same_vectors: Same) -> None:
    names = run("sentence-transformers")
    assert_same_vectors(names)
    np.testing.assert_array_equal(model.encode(QUERY, task="query"), model.encode_query(QUERY))
    np.testing.assert_array_equal(model.encode(DOCUMENTS), model.encode_document(DOCUMENTS))


def test_langchain(run: Run, model: SentenceTransformer, assert_same_vectors: Same) -> None:
    pytest.importorskip("langchain_huggingface")
    names = run("LangChain")
    assert_same_vectors(names)
    (with_blank,) = names["embeddings"].embed_documents(["two\nlines"])
    np.testing.assert_allclose(with_blank, model.encode_document("two lines"), atol=ROUNDING)


def test_llamaindex(run: Run, model: SentenceTransformer, assert_same_vectors: Same) -> None:
    pytest.importorskip("llama_index.embeddings.huggingface")
    names = run("LlamaIndex")
    assert_same_vectors(names)
    plain = names["HuggingFaceEmbedding"]("my-model").get_query_embedding(QUERY)
    np.testing.assert_allclose(plain, model.encode_document(QUERY), atol=ROUNDING)  # hence the subclass


def test_haystack(run: Run, assert_same_vectors: Same) -> None:
    pytest.importorskip("haystack_integrations.components.embedders.sentence_transformers")
    assert_same_vectors(run("Haystack"))


def test_mteb_measures_what_llara_measures(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("mteb")
    from llara.evaluate import evaluate

    write_collection(tmp_path / "collection")
    names = run("MTEB")
    mine = evaluate(models=["my-model"], datasets=["collection"], out=tmp_path / "results")
    ours = mine[0].metrics["nDCG@10"]
    assert 0.2 < ours < 0.95  # neither nothing nor everything is found
    assert names["results"][0].get_score() == pytest.approx(ours, abs=1e-5)  # MTEB rounds to five digits


def write_collection(directory: Path) -> None:
    """Functions of the Python library, each asked for by the first paragraph of its documentation."""
    import statistics
    import string
    import textwrap

    documents, queries, qrels = [], [], ["query-id\tcorpus-id\tscore"]
    for module in (json, shutil, statistics, string, textwrap):
        for name in sorted(module.__all__):
            text = (getattr(module, name).__doc__ or "").strip()
            first, _, rest = text.partition("\n\n")
            if rest:
                documents.append({"_id": name, "title": module.__name__, "text": rest})
                queries.append({"_id": f"q-{name}", "text": first})
                qrels.append(f"q-{name}\t{name}\t1")
    (directory / "qrels").mkdir(parents=True)
    for file, records in (("corpus", documents), ("queries", queries)):
        lines = "".join(json.dumps(record) + "\n" for record in records)
        (directory / f"{file}.jsonl").write_text(lines, encoding="utf-8")
    (directory / "qrels/test.tsv").write_text("\n".join(qrels) + "\n", encoding="utf-8")


def test_onnx(run: Run, model: SentenceTransformer, assert_same_vectors: Same) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    names = run("ONNX")
    assert_same_vectors(names, tolerance=1e-4)
    texts = ["one", "five words are in here", "word " * 300]  # other sizes than in the export
    np.testing.assert_allclose(names["encode"](texts, "query"), model.encode_query(texts), atol=1e-4)


def test_servers_that_tokenize_the_prompt_as_text_get_the_same_ids(
    run: Run, model: SentenceTransformer
) -> None:
    names = run("vLLM and text-embeddings-inference")
    assert names["prompted"](QUERY, "query") == f"{QUERY} The next sentence: </s>"
    for task in ("query", "document"):
        for text in [QUERY, *DOCUMENTS, "  blanks around \n", "a </s> in the text", "中文和 emoji 🙂"]:
            sent = names["tokenizer"](names["prompted"](text, task))["input_ids"]
            assert sent == model.preprocess([text], task=task)["input_ids"][0].tolist()


def test_a_max_seq_length_for_other_servers_changes_nothing(run: Run, model: SentenceTransformer) -> None:
    shutil.copytree("my-model", "other-model")
    path = Path("other-model/sentence_bert_config.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "max_seq_length": 512}))
    other = SentenceTransformer("other-model", device="cpu")
    np.testing.assert_array_equal(other.encode_query(QUERY), model.encode_query(QUERY))
