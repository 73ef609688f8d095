"""Measures against values computed by hand, and whole evaluations against brute force."""

import dataclasses
import json
import math

import numpy as np
import pytest

from llara.corpus import Document
from llara.datasets import Collection, write_beir
from llara.errors import ConfigError, InputError, ModelError, OutputError
from llara.evaluate import Asked, Bm25System, DenseSystem, Reading, compare, evaluate, evaluate_run
from llara.evaluate.fusion import tune_weights
from llara.fusion import reciprocal_rank_fusion, weighted_fusion
from llara.search import Bm25, read_run, run_from_hits, write_run

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


def one(model, collection, **settings):
    """One system on one collection."""
    measures = settings.pop("measures", None)
    [found] = evaluate(models=[model], datasets=[collection], measures=measures, asked=Asked(**settings))
    return found


def test_a_model_is_measured_as_by_brute_force(retriever, collection):
    result = one(str(retriever.path), collection, measures=["nDCG@10", "R@100"])
    expected = ranking_by_hand(retriever, collection)
    assert result.metrics["nDCG@10"] == pytest.approx(mean_ndcg_by_hand(expected, collection.qrels, 10))
    assert {query: list(scores) for query, scores in result.run.items()} == expected
    assert result.metrics["R@100"] == 1  # of 40 documents


@pytest.mark.parametrize(("query_role", "document_role"), [("document", "document"), ("query", "query")])
def test_roles_are_settings(retriever, collection, query_role, document_role):
    model = str(retriever.path)
    found = one(model, collection, depth=5, query_role=query_role, document_role=document_role)
    expected = ranking_by_hand(retriever, collection, query_role, document_role)
    assert {query: list(scores) for query, scores in found.run.items()} == {
        query: ids[:5] for query, ids in expected.items()
    }
    assert (found.settings["query_role"], found.settings["document_role"]) == (query_role, document_role)


def test_bm25_is_asked_as_any_system(retriever, collection):
    dense, bm25 = evaluate(models=[str(retriever.path), "bm25"], datasets=[collection])
    assert (dense.name, bm25.name) == (str(retriever.path), "BM25")
    assert one("none", collection) == bm25
    hits = Bm25(collection.corpus.values()).search(list(collection.queries.values()), 100)
    by_hits = run_from_hits(list(collection.queries), hits)
    assert bm25.run == by_hits
    assert evaluate_run(by_hits, collection.qrels)[0] == bm25.metrics


def test_the_result_is_written_whole_and_reads_back(retriever, collection, tmp_path):
    write_beir(tmp_path / "data", {"test": collection})
    out, model = tmp_path / "out", str(retriever.path)
    found = evaluate(models=[model, "bm25"], datasets=[tmp_path / "data"], out=out, measures=MEASURES)
    assert sorted(path.name for path in out.iterdir()) == [
        "data",
        "metrics.json",
        "report.html",
        "settings.json",
        "table.md",
    ]
    content = json.loads((out / "metrics.json").read_text())
    for row, system in zip(content["results"], found, strict=True):
        assert row["metrics"] == system.metrics
        assert (row["dataset"], row["split"], row["queries"]) == ("data", "test", 12)
        low, high = row["intervals"]["nDCG@3"]
        assert low < system.metrics["nDCG@3"] < high
    assert content["results"][0]["settings"]["query_role"] == "query"
    assert f"{found[0].metrics['nDCG@3']:.3f}" in (out / "table.md").read_text()
    files = sorted(path.name for path in (out / "data").iterdir())
    assert [name.rpartition(".")[2] for name in files] == ["json", "trec"] * 2
    run = read_run(out / "data" / "BM25.trec")
    assert run == {query: scores for query, scores in found[1].run.items() if scores}
    kept = json.loads((out / "data" / "BM25.json").read_text())
    assert kept["per_query"] == found[1].per_query


def test_an_evaluation_that_was_stopped_goes_on_without_asking_again(retriever, collection, tmp_path):
    write_beir(tmp_path / "a", {"test": collection})
    write_beir(tmp_path / "b", {"test": collection})
    data, out = [tmp_path / "a", tmp_path / "b"], tmp_path / "out"
    models = [str(retriever.path), "bm25"]
    whole = evaluate(models=models, datasets=data, out=tmp_path / "whole")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Bm25System, "run", stop)
        with pytest.raises(RuntimeError, match="stopped"):
            evaluate(models=models, datasets=data, out=out)
    assert not out.exists()
    with pytest.raises(OutputError, match="--resume"):
        evaluate(models=models, datasets=data, out=out)
    with pytest.raises(ConfigError, match="measures"):
        evaluate(models=models, datasets=data, out=out, measures=["P@5"], resume=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DenseSystem, "run", stop)
        resumed = evaluate(models=models, datasets=data, out=out, resume=True)
    assert resumed == whole
    assert (out / "metrics.json").read_text() == (tmp_path / "whole" / "metrics.json").read_text()
    assert not (tmp_path / "out.partial").exists()
    with pytest.raises(InputError, match="without --resume"):
        evaluate(models=models, datasets=data, out=tmp_path / "never", resume=True)


def stop(*_args, **_settings):
    raise RuntimeError("stopped")


def test_two_systems_are_compared_over_paired_queries(retriever, collection):
    dense, bm25 = evaluate(models=[str(retriever.path), "bm25"], datasets=[collection], measures=MEASURES)
    comparison = compare(dense, bm25, "nDCG@3")
    a, b = dense.per_query["nDCG@3"], bm25.per_query["nDCG@3"]
    differences = np.array([a[query] - b[query] for query in a])
    signs = 1 - 2 * ((np.arange(2**12)[:, None] >> np.arange(12)) & 1)
    expected = np.mean(np.abs(signs @ differences) >= abs(differences.sum()) - 1e-9)
    assert comparison.difference == pytest.approx(differences.mean())
    assert comparison.p_value == pytest.approx(expected)
    assert compare(dense, dense, "RR@10").p_value == 1


def test_the_document_with_the_id_of_the_query_is_left_out_only_when_told(retriever, collection):
    questions = {document.id: document.text for document in list(collection.corpus.values())[:8]}
    same = Collection("same", collection.corpus, questions, {query: {query: 1} for query in questions})
    for model in ("bm25", str(retriever.path)):
        untitled = Reading(title_separator=None)
        kept = one(model, same, depth=5, query_role="document", reading=untitled)
        assert all(query in kept.run[query] for query in questions)
        dropped = one(model, same, depth=5, ignore_identical_ids=True)
        assert all(query not in dropped.run[query] for query in questions)
        assert max(len(scores) for scores in dropped.run.values()) == 5


def test_depth_follows_the_measures_unless_given(collection):
    assert max(len(scores) for scores in one("bm25", collection, depth=2).run.values()) == 2
    assert one("bm25", collection, measures=["R@300"]).settings["depth"] == 300
    assert one("bm25", collection, measures=["R@300"], depth=7).settings["depth"] == 7
    with pytest.raises(ConfigError, match="depth is 0"):
        one("bm25", collection, depth=0)


def test_a_benchmark_is_measured_by_its_own_measures_unless_told(collection):
    streamed = dataclasses.replace(collection.streamed("dev"), benchmark="msmarco-passage/dev")
    found = one("bm25", streamed)
    assert list(found.metrics) == ["RR@10", "R@1000"]
    assert found.settings["depth"] == 1000
    assert list(one("bm25", streamed, measures=["P@1"]).metrics) == ["P@1"]


def test_bad_settings_are_told_before_any_work(collection, tmp_path):
    absent = str(tmp_path / "absent")
    nothing = tmp_path / "nothing"
    with pytest.raises(ConfigError, match="nDGC"):
        evaluate(models=[absent], datasets=[nothing], measures=["nDGC@10"])
    with pytest.raises(ConfigError, match="--tune-split"):
        evaluate(models=["bm25"], datasets=[nothing], hybrid="weighted")
    with pytest.raises(ConfigError, match="another split"):
        evaluate(models=["bm25"], datasets=[nothing], hybrid="weighted", tune_split="test")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").touch()
    with pytest.raises(OutputError, match="--overwrite"):
        evaluate(models=[absent], datasets=[collection], out=tmp_path / "out")
    with pytest.raises(InputError):
        evaluate(models=[absent], datasets=[nothing])
    with pytest.raises(ModelError):
        evaluate(models=[absent], datasets=[collection])
    with pytest.raises(ConfigError, match=f"called '{collection.name}'"):
        evaluate(models=["bm25"], datasets=[collection, collection])


def test_a_collection_that_cannot_be_measured_is_refused(collection, tmp_path):
    with pytest.raises(InputError, match="no judged queries"):
        one("bm25", Collection("empty", collection.corpus, collection.queries, {}))
    with pytest.raises(InputError, match="'q99'"):
        one("bm25", Collection("x", collection.corpus, collection.queries, {"q99": {"d1": 1}}))
    spaced = Collection("x", collection.corpus, {"q 1": "wing"}, {"q 1": {"d1": 1}})
    with pytest.raises(InputError, match="'q 1'"):
        evaluate(models=["bm25"], datasets=[spaced], out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    assert one("bm25", spaced).metrics["R@100"] in (0, 1)


def test_a_run_from_elsewhere_is_a_system(collection, tmp_path):
    bm25 = one("bm25", collection)
    write_run(tmp_path / f"{collection.name}.trec", bm25.run, "other")
    for spec in (f"run:{tmp_path}/{collection.name}.trec", f"run:{tmp_path}/{{dataset}}.trec"):
        assert one(spec, collection).metrics == bm25.metrics
    again = f"run:{tmp_path}/{collection.name}.trec"
    rows = evaluate(models=[again], datasets=[collection], hybrid="rrf")
    assert [row.name for row in rows] == ["BM25", again, f"{again} + BM25"]
    assert rows[2].metrics == bm25.metrics
    (tmp_path / "other.trec").write_text("q99 Q0 d1 1 0.5 x\n")
    with pytest.raises(InputError, match="'q99'"):
        one(f"run:{tmp_path}/other.trec", collection)
    (tmp_path / "nan.trec").write_text("q1 Q0 d1 1 0.5 x\nq1 Q0 d2 2 nan x\n")
    with pytest.raises(InputError, match=r"nan\.trec:2.*'nan'"):
        one(f"run:{tmp_path}/nan.trec", collection)
    with pytest.raises(ConfigError, match="after the colon"):
        one("run:", collection)


def test_a_hybrid_fuses_each_model_with_bm25(retriever, collection):
    model = str(retriever.path)
    dense_first = [model, "bm25"]
    bm25, dense, fused = evaluate(models=[model], datasets=[collection], hybrid="rrf")
    assert [bm25.name, dense.name, fused.name] == ["BM25", model, f"{model} + BM25"]
    assert fused.run == reciprocal_rank_fusion([dense.run, bm25.run], depth=100)
    assert len(evaluate(models=dense_first, datasets=[collection], hybrid="rrf")) == 3


def test_the_weights_of_a_hybrid_come_from_the_other_split(retriever, collection, tmp_path):
    queries = list(collection.queries)

    def part(names):
        kept = {query: collection.queries[query] for query in names}
        judged = {query: collection.qrels[query] for query in names}
        return Collection("data", collection.corpus, kept, judged)

    write_beir(tmp_path / "data", {"train": part(queries[:6]), "test": part(queries[6:])})
    bm25, dense, fused = evaluate(
        models=[str(retriever.path)],
        datasets=[tmp_path / "data"],
        hybrid="weighted",
        tune_split="train",
        measures=["nDCG@3"],
    )
    assert set(fused.run) == set(dense.run) == set(queries[6:])
    train = [one(model, part(queries[:6]), measures=["nDCG@3"]).run for model in (dense.name, "bm25")]
    weights = tune_weights(train, part(queries[:6]).qrels, "nDCG@3")
    assert fused.settings["weights"] == list(weights)
    assert fused.run == weighted_fusion([dense.run, bm25.run], weights, depth=100)


def test_sentence_pairs_among_the_data_sets_are_a_similarity_task(retriever, collection, tmp_path):
    pairs = [("wing flow", "wing shear", 3.0), ("heat slab", "heat slab", 5.0), ("nozzle of", "the a", 0.5)]
    lines = "".join(f"{a}\t{b}\t{score}\n" for a, b, score in pairs)
    (tmp_path / "pairs.tsv").write_text(f"sentence1\tsentence2\tscore\n{lines}")
    model = str(retriever.path)
    out = tmp_path / "out"
    found = evaluate(models=[model, "bm25"], datasets=[collection, tmp_path / "pairs.tsv"], out=out)
    assert [(each.name, next(iter(each.metrics))) for each in found] == [
        (model, "nDCG@10"),
        (model, "Spearman"),
        ("BM25", "nDCG@10"),
    ]
    sides = [retriever.expected([pair[n] for pair in pairs], "document") for n in (0, 1)]
    order = np.argsort(np.argsort((sides[0] * sides[1]).sum(axis=1)))
    wanted = np.corrcoef(order, [1, 2, 0])[0, 1]
    assert found[1].metrics["Spearman"] == pytest.approx(wanted)
    assert "Spearman" in (out / "table.md").read_text()
