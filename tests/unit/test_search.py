"""Dense and lexical search against values computed by hand; run files that round-trip."""

import json
import logging
import math

import numpy as np
import pytest

from llara.corpus import Document
from llara.encode import encode_file
from llara.errors import ConfigError, InputError, ModelError
from llara.indexes import build_index
from llara.search import Bm25, Searcher, read_run, run_from_hits, write_run

TEXTS = {"d1": "wing slipstream", "d2": "heat of the slab", "d3": "shear flow", "d4": "heat of the slab"}


@pytest.fixture
def index(retriever, tmp_path):
    path = tmp_path / "corpus.jsonl"
    rows = [
        {"id": id_, "title": "nozzle" if id_ == "d1" else "", "text": text} for id_, text in TEXTS.items()
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    encode_file(str(retriever.path), path, tmp_path / "vectors", role="document")
    return build_index(tmp_path / "vectors", tmp_path / "index")


def test_dense_hits_are_the_cosines_computed_by_hand_with_their_texts(retriever, index):
    documents = retriever.expected(["nozzle wing slipstream", *list(TEXTS.values())[1:]], "document")
    queries = ["wing", "shear of a slab"]
    cosines = retriever.expected(queries, "query") @ documents.T
    results = Searcher.open(index).search(queries, k=10)
    for hits, row in zip(results, cosines, strict=True):
        by_id = dict(zip(TEXTS, row, strict=True))
        assert [hit.rank for hit in hits] == [1, 2, 3, 4]
        for hit in hits:
            assert hit.score == pytest.approx(by_id[hit.id], abs=1e-6)  # float32
            assert (hit.title, hit.text) == ("nozzle" if hit.id == "d1" else "", TEXTS[hit.id])
        assert [by_id[hit.id] for hit in hits] == sorted(row, reverse=True)


def test_equal_scores_are_ordered_as_trec_eval_orders_them(index):
    (hits,) = Searcher.open(index).search(["heat of slab"], k=2)
    assert [hit.id for hit in hits] == ["d4", "d2"]
    assert hits[0].score == hits[1].score


def test_the_role_of_queries_is_a_setting(retriever, index):
    (hits,) = Searcher.open(index, query_role="document").search(["shear flow"], k=1)
    assert hits[0].id == "d3"
    assert hits[0].score == pytest.approx(1, abs=1e-6)


def test_documents_cut_to_fewer_dimensions_are_searched_with_queries_cut_alike(retriever, index, tmp_path):
    size = 8
    encode_file(
        str(retriever.path), index.parent / "corpus.jsonl", tmp_path / "v8", role="document", dimensions=size
    )
    searcher = Searcher.open(build_index(tmp_path / "v8", tmp_path / "i8"))
    [hits] = searcher.search(["wing"], k=4)

    def cut(vectors):
        return vectors[:, :size] / np.linalg.norm(vectors[:, :size], axis=1, keepdims=True)

    documents = cut(retriever.expected(["nozzle wing slipstream", *list(TEXTS.values())[1:]], "document"))
    cosines = dict(zip(TEXTS, documents @ cut(retriever.expected(["wing"], "query"))[0], strict=True))
    assert {hit.id: hit.score for hit in hits} == pytest.approx(cosines, abs=1e-6)


def test_no_queries_and_a_k_of_zero(index):
    searcher = Searcher.open(index)
    assert searcher.search([]) == []
    with pytest.raises(ConfigError, match="k is 0"):
        searcher.search(["wing"], k=0)


def test_an_index_of_another_model_is_refused_with_the_way_out(other_retriever, retriever, index):
    with pytest.raises(ModelError) as caught:
        Searcher.open(index, model=str(other_retriever.path))
    message = str(caught.value)
    assert str(retriever.path) in message
    assert str(other_retriever.path) in message
    assert "encode the documents" in message


def test_a_model_that_changed_in_place_is_refused(retriever, index, tmp_path):
    manifest = json.loads((index / "manifest.json").read_text())
    manifest["fingerprint"] = "0" * 64
    (index / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match="has changed since"):
        Searcher.open(index)


def test_a_model_that_has_moved_is_asked_for_and_found(retriever, index, tmp_path):
    manifest = json.loads((index / "manifest.json").read_text())
    manifest["model"] = str(tmp_path / "gone")
    (index / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match=r"gone.*--model"):
        Searcher.open(index)
    assert Searcher.open(index, model=str(retriever.path)).search(["wing"], k=1)[0][0].id == "d1"


def bm25_by_hand(documents, query, k1, b):
    """Lucene's formula over ready terms: idf = ln(1 + (N - n + .5) / (n + .5)), no (k1 + 1) factor."""
    average = sum(map(len, documents)) / len(documents)
    scores = []
    for terms in documents:
        score = 0.0
        for term in query:
            num_with = sum(term in other for other in documents)
            frequency = terms.count(term)
            idf = math.log(1 + (len(documents) - num_with + 0.5) / (num_with + 0.5))
            score += idf * frequency / (frequency + k1 * (1 - b + b * len(terms) / average))
        scores.append(score)
    return scores


def documents_of(*texts):
    return [Document(id=f"d{number}", text=text) for number, text in enumerate(texts)]


@pytest.mark.parametrize(("k1", "b"), [(1.2, 0.75), (0.9, 0.4)])
def test_bm25_scores_equal_lucenes_formula(k1, b):
    documents = documents_of("wing wing flow", "flow", "heat slab wing flow heat", "nozzle")
    expected = bm25_by_hand(
        [document.text.split() for document in documents], ["wing", "heat", "wing"], k1, b
    )
    (hits,) = Bm25(documents, k1=k1, b=b).search(["wing heat wing absent"], k=4)
    assert {hit.id: hit.score for hit in hits} == pytest.approx(
        {f"d{n}": score for n, score in enumerate(expected) if score}, rel=1e-6
    )
    assert [hit.rank for hit in hits] == [1, 2]


def test_bm25_stems_words_and_drops_stop_words_case_and_punctuation():
    bm25 = Bm25(documents_of("The wings, of THE aircraft", "a flow"))
    assert [hit.id for hit in bm25.search(["Wing!"])[0]] == ["d0"]
    assert [hit.id for hit in bm25.search(["flowing"])[0]] == ["d1"]
    assert bm25.search(["of the a", "", "?"]) == [[], [], []]


def test_bm25_takes_chinese_as_pairs_of_characters_among_other_words():
    documents = documents_of("梵语的学术研究", "学习BERT模型", "研究", "文", "的研")
    bm25 = Bm25(documents)
    assert {hit.id for hit in bm25.search(["研究"])[0]} == {"d0", "d2"}
    assert {hit.id for hit in bm25.search(["bert"])[0]} == {"d1"}
    assert {hit.id for hit in bm25.search(["文"])[0]} == {"d3"}
    assert {hit.id for hit in bm25.search(["学研"])[0]} == set()


def test_bm25_searches_titles_unless_told_not_to():
    documents = [Document(id="a", title="wing", text="flow"), Document(id="b", text="heat")]
    assert [hit.id for hit in Bm25(documents).search(["wing"])[0]] == ["a"]
    assert Bm25(documents, title_separator=None).search(["wing"]) == [[]]


def test_bm25_orders_equal_scores_by_id_and_keeps_the_first_at_the_cut():
    bm25 = Bm25(documents_of(*["wing flow"] * 40, "heat"))
    (hits,) = bm25.search(["wing"], k=3)
    assert [hit.id for hit in hits] == ["d2", "d1", "d0"]


def test_bm25_refuses_a_corpus_without_words():
    with pytest.raises(InputError, match="0 documents"):
        Bm25([])
    with pytest.raises(InputError, match="no word in 3 documents"):
        Bm25(documents_of("", "?!", "the"))
    with pytest.raises(ConfigError, match="b = 2"):
        Bm25(documents_of("wing"), b=2)


def test_bm25_says_nothing(capfd, caplog):
    with caplog.at_level(logging.DEBUG):
        Bm25(documents_of("wing flow", "heat")).search(["wing"])
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_a_run_reads_back_as_it_was_written(tmp_path):
    run = {"q1": {"a": float(np.float32(0.1)), "b": 0.30000000000000004, "c": -1e-9}, "q2": {"b": 2.0}}
    write_run(tmp_path / "run.trec", run, tag="llara")
    assert read_run(tmp_path / "run.trec") == run


def test_a_run_file_is_ranked_with_the_greater_id_first_among_equals(tmp_path):
    write_run(tmp_path / "run.trec", {"q": {"a": 1.0, "c": 0.5, "b": 1.0}}, tag="llara")
    assert (tmp_path / "run.trec").read_text() == (
        "q Q0 b 1 1.0 llara\nq Q0 a 2 1.0 llara\nq Q0 c 3 0.5 llara\n"
    )


@pytest.mark.parametrize("run", [{"q 1": {"a": 1.0}}, {"q": {"a\tb": 1.0}}, {"q": {"": 1.0}}])
def test_ids_that_a_run_file_cannot_hold_are_refused(tmp_path, run):
    with pytest.raises(InputError, match="white space"):
        write_run(tmp_path / "run.trec", run, tag="llara")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "line", ["q Q0 d 1 0.5", "q Q0 d 1 x tag", "q Q0 d 1 nan tag", "q Q0 a 2 0.1 tag"], ids=str
)
def test_a_bad_line_of_a_run_is_named(tmp_path, line):
    (tmp_path / "run.trec").write_text(f"q Q0 a 1 0.9 tag\n{line}\n")
    with pytest.raises(InputError, match=r"run.trec:2"):
        read_run(tmp_path / "run.trec")


def test_hits_make_a_run(index):
    results = Searcher.open(index).search(["shear flow", "wing"], k=2)
    run = run_from_hits(["q1", "q2"], results)
    assert run == {
        "q1": {hit.id: hit.score for hit in results[0]},
        "q2": {hit.id: hit.score for hit in results[1]},
    }
