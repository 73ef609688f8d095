"""Vectors against those computed by hand; vectors directories that are whole, streamed, or refused."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize

from llara.corpus import Document, Fields, Skipped
from llara.encode import VectorsManifest, document_text, encode_file, encode_texts
from llara.errors import ConfigError, InputError, ModelError, OutputError

TEXTS = ["wing slipstream", "heat of the slab", "flow", "shear flow of a wing nozzle", "unknown words"]
# float32 sums of up to seven numbers near 1.
TOLERANCE = 1e-6


@pytest.mark.parametrize("role", ["query", "document"])
def test_vectors_are_those_computed_by_hand_for_each_role(retriever, role):
    vectors = encode_texts(retriever.model, TEXTS, role=role, batch_size=2)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, retriever.expected(TEXTS, role), atol=TOLERANCE)


def test_order_is_kept_across_blocks(retriever):
    texts = [TEXTS[number % 5] for number in range(101)]  # four blocks of 32 batches of one text
    vectors = encode_texts(retriever.model, texts, role="document", batch_size=1)
    np.testing.assert_allclose(vectors, retriever.expected(texts, "document"), atol=TOLERANCE)


def test_no_texts_make_no_vectors_of_the_models_dimension(retriever):
    assert encode_texts(retriever.model, [], role="query").shape == (0, 16)


def test_a_vector_that_is_not_finite_is_refused_with_its_text(other_retriever):
    with torch.no_grad():
        other_retriever.model[0].embedding.weight[other_retriever.words.index("heat")] = float("nan")
    with pytest.raises(ModelError, match=r"not finite.*'heat of the slab'"):
        encode_texts(other_retriever.model, TEXTS, role="document")


@pytest.mark.parametrize(("similarity", "message"), [("dot", "Normalize"), ("euclidean", "euclidean")])
def test_a_model_that_does_not_compare_by_cosine_is_refused(other_retriever, similarity, message):
    other_retriever.model.similarity_fn_name = similarity
    with pytest.raises(ModelError, match=message):
        encode_texts(other_retriever.model, TEXTS, role="document")


def test_dot_product_of_unit_vectors_is_cosine(other_retriever):
    model = SentenceTransformer(modules=[*other_retriever.model, Normalize()], device="cpu")
    model.similarity_fn_name = "dot"
    vectors = encode_texts(model, TEXTS, role="document")
    np.testing.assert_allclose(vectors, other_retriever.expected(TEXTS, "document"), atol=TOLERANCE)


@pytest.mark.parametrize(("role", "batch_size"), [("passage", 1), ("query", 0)])
def test_wrong_settings_are_refused(retriever, role, batch_size):
    with pytest.raises(ConfigError):
        encode_texts(retriever.model, TEXTS, role=role, batch_size=batch_size)


def test_the_separator_between_title_and_text_is_a_setting():
    document = Document(id="1", title="Wing", text="It flies.")
    assert document_text(document, ". ") == "Wing. It flies."
    assert document_text(document, None) == "It flies."


@pytest.fixture
def corpus(tmp_path):
    """Five documents, two with a title."""
    path = tmp_path / "corpus.jsonl"
    rows = [{"id": f"d{n}", "title": "nozzle" if n > 2 else "", "text": text} for n, text in enumerate(TEXTS)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read_back(directory):
    manifest = VectorsManifest.read(directory)
    vectors = np.concatenate([np.load(directory / shard.vectors) for shard in manifest.shards])
    rows = [row for shard in manifest.shards for row in pq.read_table(directory / shard.texts).to_pylist()]
    return manifest, vectors, rows


@pytest.mark.parametrize(("separator", "prefix"), [(" ", "nozzle "), (None, "")])
def test_a_corpus_becomes_shards_with_texts_beside_the_vectors(
    retriever, corpus, tmp_path, separator, prefix
):
    encode_file(
        str(retriever.path),
        corpus,
        tmp_path / "out",
        role="document",
        title_separator=separator,
        shard_size=2,
    )
    manifest, vectors, rows = read_back(tmp_path / "out")
    seen = [*TEXTS[:3], *(prefix + text for text in TEXTS[3:])]
    np.testing.assert_allclose(vectors, retriever.expected(seen, "document"), atol=TOLERANCE)
    assert [row["text"] for row in rows] == TEXTS
    assert [row["id"] for row in rows] == ["d0", "d1", "d2", "d3", "d4"]
    assert [shard.count for shard in manifest.shards] == [2, 2, 1]
    assert (manifest.count, manifest.dimension, manifest.dtype) == (5, 16, "float32")
    assert (manifest.role, manifest.title_separator) == ("document", separator)
    assert manifest.max_tokens is None  # this model cuts nothing off
    assert manifest.model == str(retriever.path)
    assert len(manifest.fingerprint) == 64


def test_queries_are_read_from_plain_lines(retriever, tmp_path):
    (tmp_path / "queries.txt").write_text("wing of a slab\nheat\n")
    encode_file(str(retriever.path), tmp_path / "queries.txt", tmp_path / "out", role="query")
    manifest, vectors, rows = read_back(tmp_path / "out")
    np.testing.assert_allclose(
        vectors, retriever.expected(["wing of a slab", "heat"], "query"), atol=TOLERANCE
    )
    assert [(row["id"], row["text"]) for row in rows] == [("1", "wing of a slab"), ("2", "heat")]
    assert (manifest.role, manifest.title_separator) == ("query", None)


def test_fields_are_chosen_by_name_and_bad_lines_counted(retriever, tmp_path):
    (tmp_path / "c.jsonl").write_text(
        '{"key": "a", "body": "wing"}\nnot json\n{"key": "b", "body": "flow"}\n'
    )
    skipped = Skipped()
    manifest = encode_file(
        str(retriever.path),
        tmp_path / "c.jsonl",
        tmp_path / "out",
        role="document",
        fields=Fields(id="key", text="body"),
        skipped=skipped,
    )
    assert (manifest.count, skipped.count) == (2, 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "corpus"),
        ('{"id": "a", "text": "wing"}\nnot json\n', ":2"),
        (
            '{"id": "a", "text": "wing"}\n{"id": "b", "text": "w"}\n{"id": "a", "text": "flow"}\n',
            "'a' occurs twice",
        ),
    ],
)
def test_bad_input_is_an_input_error_and_leaves_nothing(retriever, tmp_path, content, message):
    (tmp_path / "corpus.jsonl").write_text(content)
    with pytest.raises(InputError, match=message):
        encode_file(
            str(retriever.path), tmp_path / "corpus.jsonl", tmp_path / "out", role="document", shard_size=2
        )
    assert [path.name for path in tmp_path.iterdir()] == ["corpus.jsonl"]


def test_a_missing_model_is_a_model_error_and_leaves_nothing(corpus, tmp_path):
    with pytest.raises(ModelError):
        encode_file(str(tmp_path / "absent"), corpus, tmp_path / "out", role="document")
    assert [path.name for path in tmp_path.iterdir()] == ["corpus.jsonl"]


def test_vectors_are_not_overwritten_unless_told(retriever, corpus, tmp_path):
    out = tmp_path / "out"
    encode_file(str(retriever.path), corpus, out, role="document")
    with pytest.raises(OutputError, match="--overwrite"):
        encode_file(str(retriever.path), corpus, out, role="document")
    encode_file(str(retriever.path), corpus, out, role="document", overwrite=True)
    assert VectorsManifest.read(out).count == 5


def test_a_model_given_by_a_relative_path_is_recorded_with_its_full_path(
    retriever, corpus, tmp_path, monkeypatch
):
    monkeypatch.chdir(retriever.path.parent)
    manifest = encode_file(retriever.path.name, corpus, tmp_path / "out", role="document")
    assert manifest.model == str(retriever.path)


def test_nothing_is_written_to_a_pipe(retriever, corpus, tmp_path, capfd):
    encode_file(str(retriever.path), corpus, tmp_path / "out", role="document", progress=True)
    assert capfd.readouterr() == ("", "")
