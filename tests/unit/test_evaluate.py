"""Measures against values computed by hand, and whole evaluations against brute force."""

import json
import math

import numpy as np
import pytest

from llara.corpus import Document
from llara.datasets import Collection, write_beir
from llara.errors import ConfigError, InputError, ModelError, OutputError
from llara.evaluate import bm25_run, compare, dense_run, evaluate, evaluate_run
from llara.search import Bm25, read_run

MEASURES = ("nDCG@3", "RR@10", "R@1")


def test_ndcg_is_that_computed_by_hand():
    run = {"q": {"x": 9.0, "a": 8.0, "b": 7.0}}
    qrels = {"q": {"a": 2, "b": 1, "c": 0}}
    found = 2 / math.log2(3) + 1 / math.log2(4)
    ideal = 2 / math.log2(2) + 1 / math.log2(3)
    metrics, per_query = evaluate_run(run, qrels, ["nDCG@10", "nDCG@2"])
    assert metrics["nDCG@10"] == pytest.approx(found / ideal)
    assert per_query["nDCG@2"] == {"q": pytest.approx(2 / math.log2(3) / ideal)}


def test_a_query_without_hits_counts_zero_and_one_without_judgements_not_at_all():
    qrels = {"found": {"a": 1}, "empty": {"a": 1}, "absent": {"a": 1}, "nothing relevant": {"a": 0}}
    run = {"found": {"b": 2.0, "a": 1.0}, "empty": {}, "nothing relevant": {"a": 1.0}, "unjudged": {"a": 1.0}}
    metrics, per_query = evaluate_run(run, qrels, ["RR@10", "R@1", "AP"])
    assert per_query["RR@10"] == {"found": 0.5, "empty": 0, "absent": 0, "nothing relevant": 0}
    assert metrics == {"RR@10": 0.5 / 4, "R@1": 0, "AP": 0.5 / 4}


def test_every_measure_ranks_equal_scores_with_the_greater_id_first():
    # RR and nDCG come from different programs behind ir_measures.
    for run in ({"a": 1.0, "b": 1.0}, {"b": 1.0, "a": 1.0}):
        metrics, _ = evaluate_run({"q": run}, {"q": {"a": 1}}, ["RR@10", "nDCG@10", "P@1"])
        assert metrics == {"RR@10": 0.5, "nDCG@10": pytest.approx(1 / math.log2(3)), "P@1": 0}


def test_measures_keep_the_spelling_they_were_asked_in():
    metrics, per_query = evaluate_run({"q": {"b": 2.0, "a": 1.0}}, {"q": {"a": 1}}, ["MRR@10", "RR@10"])
    assert metrics == {"MRR@10": 0.5, "RR@10": 0.5}
    assert list(per_query) == ["MRR@10", "RR@10"]


def test_all_bad_measures_are_named_at_once():
    with pytest.raises(ConfigError) as caught:
        evaluate_run({}, {"q": {"a": 1}}, ["nDCG@10", "nDGC@10", "R", "P@ten", "RR(x=3)", "a b"])
    for name in ("nDGC@10", "R", "P@ten", "RR(x=3)", "a b"):
        assert repr(name) in str(caught.value)
    assert "'nDCG@10'" not in str(caught.value)
    with pytest.raises(ConfigError, match="empty"):
        evaluate_run({}, {"q": {"a": 1}}, [])
    with pytest.raises(InputError, match="no judgements"):
        evaluate_run({}, {})


@pytest.fixture(scope="module")
def collection(retriever):
    """Forty documents, half of them titled, no two of the same words, and twelve queries."""
    generator = np.random.default_rng(6)
    words = retriever.words[2:]

    def text():
        return " ".join(generator.choice(words, size=generator.integers(2, 6), replace=False))

    corpus: dict[str, Document] = {}
    bags = set()
    while len(corpus) < 40:
        id_ = f"d{len(corpus)}"
        document = Document(id=id_, text=text(), title=words[0] if len(corpus) % 2 else "")
        bag = tuple(sorted([*document.title.split(), *document.text.split()]))
        if bag not in bags:
            bags.add(bag)
            corpus[id_] = document
    queries = {f"q{n}": text() for n in range(12)}
    qrels = {
        query: {f"d{n}": int(generator.integers(0, 3)) for n in generator.choice(40, 6, replace=False)}
        for query in queries
    }
    return Collection(name="words", corpus=corpus, queries=queries, qrels=qrels)


def ranking_by_hand(retriever, collection, query_role="query", document_role="document"):
    """Query id -> document ids by float64 cosine."""
    texts = [f"{d.title} {d.text}".strip() for d in collection.corpus.values()]
    queries = list(collection.queries.values())
    cosines = retriever.expected(queries, query_role) @ retriever.expected(texts, document_role).T
    ids = np.array(list(collection.corpus))
    return {
        query: ids[np.argsort(-row)].tolist() for query, row in zip(collection.queries, cosines, strict=True)
    }


def mean_ndcg_by_hand(rankings, qrels, cutoff):
    values = []
    for query, judged in qrels.items():
        gains = [judged.get(document, 0) for document in rankings[query][:cutoff]]
        ideal = sorted(judged.values(), reverse=True)[:cutoff]
        dcg, best = (sum(g / math.log2(r + 2) for r, g in enumerate(each)) for each in (gains, ideal))
        values.append(dcg / best if best else 0)
    return sum(values) / len(values)


def test_a_model_is_measured_as_by_brute_force(retriever, collection):
    result = evaluate(model=str(retriever.path), dataset=collection, measures=["nDCG@10", "R@100"])
    expected = ranking_by_hand(retriever, collection)
    assert result.metrics["nDCG@10"] == pytest.approx(mean_ndcg_by_hand(expected, collection.qrels, 10))
    assert {query: list(scores)[:5] for query, scores in result.run.items()} == {
        query: ids[:5] for query, ids in expected.items()
    }
    assert result.metrics["R@100"] == 1  # of 40 documents


@pytest.mark.parametrize(("query_role", "document_role"), [("document", "document"), ("query", "query")])
def test_roles_are_settings(retriever, collection, query_role, document_role):
    run = dense_run(
        retriever.model,
        list(collection.corpus.values()),
        collection.queries,
        depth=5,
        query_role=query_role,
        document_role=document_role,
    )
    expected = ranking_by_hand(retriever, collection, query_role, document_role)
    assert {query: list(scores) for query, scores in run.items()} == {
        q: ids[:5] for q, ids in expected.items()
    }


def test_bm25_stands_beside_the_model_and_alone(retriever, collection):
    beside = evaluate(model=str(retriever.path), dataset=collection).baseline
    alone = evaluate(model="none", dataset=collection)
    assert alone == beside == evaluate(model=None, dataset=collection)
    assert alone.name == "BM25"
    assert alone.baseline is None
    run = bm25_run(Bm25(collection.corpus.values()), collection.queries)
    assert evaluate_run(run, collection.qrels)[0] == alone.metrics
    assert evaluate(model=str(retriever.path), dataset=collection, baseline=False).baseline is None


def test_the_result_is_written_whole_and_reads_back(retriever, collection, tmp_path):
    write_beir(tmp_path / "data", {"test": collection})
    result = evaluate(
        model=str(retriever.path), dataset=tmp_path / "data", out=tmp_path / "out", measures=MEASURES
    )
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "bm25.trec",
        "metrics.json",
        "per_query.jsonl",
        "run.trec",
    ]
    assert result.baseline is not None
    content = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert content["metrics"] == result.metrics
    assert content["baseline"]["metrics"] == result.baseline.metrics
    assert content["settings"]["query_role"] == "query"
    assert content["settings"]["title_separator"] == " "
    assert content["collection"] == {
        "name": "data",
        "split": "test",
        "num_documents": 40,
        "num_queries": 12,
        "num_judgements": 72,
    }
    low, high = content["intervals"]["nDCG@3"]
    assert low < result.metrics["nDCG@3"] < high
    for name, system in (("run.trec", result), ("bm25.trec", result.baseline)):
        run = read_run(tmp_path / "out" / name)
        assert run == {query: scores for query, scores in system.run.items() if scores}
        assert evaluate_run(run, collection.qrels, MEASURES)[0] == system.metrics
    lines = [json.loads(line) for line in (tmp_path / "out" / "per_query.jsonl").read_text().splitlines()]
    assert [line["query_id"] for line in lines] == list(collection.qrels)
    for system in (result, result.baseline):
        mean = np.mean([line["values"][system.name]["nDCG@3"] for line in lines])
        assert mean == pytest.approx(system.metrics["nDCG@3"])


def test_two_systems_are_compared_over_paired_queries(retriever, collection):
    result = evaluate(model=str(retriever.path), dataset=collection, measures=MEASURES)
    assert result.baseline is not None
    comparison = compare(result, result.baseline, "nDCG@3")
    a, b = result.per_query["nDCG@3"], result.baseline.per_query["nDCG@3"]
    differences = np.array([a[query] - b[query] for query in a])
    signs = 1 - 2 * ((np.arange(2**12)[:, None] >> np.arange(12)) & 1)
    expected = np.mean(np.abs(signs @ differences) >= abs(differences.sum()) - 1e-9)
    assert comparison.difference == pytest.approx(differences.mean())
    assert comparison.p_value == pytest.approx(expected)
    assert compare(result, result, "RR@10").p_value == 1


def test_the_document_with_the_id_of_the_query_is_left_out_only_when_told(retriever, collection):
    questions = {document.id: document.text for document in list(collection.corpus.values())[:8]}
    same = Collection("same", collection.corpus, questions, {query: {query: 1} for query in questions})
    for model in (None, str(retriever.path)):
        kept = evaluate(model=model, dataset=same, depth=5, query_role="document", title_separator=None)
        assert all(query in kept.run[query] for query in questions)
        dropped = evaluate(model=model, dataset=same, depth=5, ignore_identical_ids=True)
        assert all(query not in dropped.run[query] for query in questions)
        assert max(len(scores) for scores in dropped.run.values()) == 5


def test_depth_follows_the_measures_unless_given(collection):
    bm25 = Bm25(collection.corpus.values())
    assert max(len(scores) for scores in bm25_run(bm25, collection.queries, depth=2).values()) == 2
    assert evaluate(model=None, dataset=collection, measures=["R@300"]).settings["depth"] == 300
    assert evaluate(model=None, dataset=collection, measures=["R@300"], depth=7).settings["depth"] == 7
    with pytest.raises(ConfigError, match="depth is 0"):
        evaluate(model=None, dataset=collection, depth=0)


def test_bad_settings_are_told_before_any_work(collection, tmp_path):
    absent = str(tmp_path / "absent")
    with pytest.raises(ConfigError, match="nDGC"):
        evaluate(model=absent, dataset=tmp_path / "nothing", measures=["nDGC@10"])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").touch()
    with pytest.raises(OutputError, match="--overwrite"):
        evaluate(model=absent, dataset=tmp_path / "nothing", out=tmp_path / "out")
    with pytest.raises(InputError):
        evaluate(model=absent, dataset=tmp_path / "nothing")
    with pytest.raises(ModelError):
        evaluate(model=absent, dataset=collection)


def test_a_collection_that_cannot_be_measured_is_refused(collection, tmp_path):
    with pytest.raises(InputError, match="no judged queries"):
        evaluate(model=None, dataset=Collection("empty", collection.corpus, collection.queries, {}))
    with pytest.raises(InputError, match="'q99'"):
        evaluate(
            model=None, dataset=Collection("x", collection.corpus, collection.queries, {"q99": {"d1": 1}})
        )
    spaced = Collection("x", collection.corpus, {"q 1": "wing"}, {"q 1": {"d1": 1}})
    with pytest.raises(InputError, match="'q 1'"):
        evaluate(model=None, dataset=spaced, out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    assert evaluate(model=None, dataset=spaced).metrics["R@100"] in (0, 1)
